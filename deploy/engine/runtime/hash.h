// XXH64 (Yann Collet's xxHash, its published specification): a 64-bit hash against damage, not
// against malice.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ds::engine {

uint64_t Hash64(const void* bytes, size_t count, uint64_t seed = 0);

}  // namespace ds::engine
