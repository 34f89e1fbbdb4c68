// Where a plan's outputs lie: in the arena, where nothing lies that is read or written after them,
// or behind it. They are the caller's until the next run, which may write over them.
#pragma once

#include <cstdint>
#include <vector>

#include "deploy/engine/runtime/file_view.h"

namespace ds::engine {

struct OutputPlaces {
  std::vector<int64_t> offsets;  // in the arena, of each output; multiples of 64
  int64_t arena_bytes = 0;       // with them: at least the plan's
};

// Of a plan that CheckPlan() has let through.
OutputPlaces PlaceOutputs(const FileView& view);

}  // namespace ds::engine
