// rival.py, as the build found it: ds_bench has it with it.
#pragma once

namespace ds::engine {

const char* RivalScript();

}  // namespace ds::engine
