// Buffers that are placed one after another, each in a gap that those before it leave.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "deploy/engine/compile/plan/plan.h"

namespace ds::engine::compile {

enum class Gap { kLowest, kSmallest };

class Placing {
 public:
  explicit Placing(const std::vector<PlanBuffer>& buffers);

  // The arena's bytes; offsets are left in offsets().
  int64_t Place(const std::vector<int>& order, Gap gap);
  const std::vector<int64_t>& offsets() const { return offsets_; }
  // Those that live at one step with it, itself left out.
  const std::vector<int>& Meeting(int buffer) const {
    return meeting_[static_cast<size_t>(buffer)];
  }

 private:
  int64_t FindGap(int buffer, Gap gap);

  const std::vector<PlanBuffer>& buffers_;
  std::vector<std::vector<int>> meeting_;
  std::vector<int64_t> offsets_;                    // -1: not placed yet
  std::vector<std::pair<int64_t, int64_t>> taken_;  // begin, end
};

// Changes the order that gave `plan` as long as that takes no more bytes, until the bound or the
// end of its patience. `order` and `gap` are those that `plan` was placed with.
void Improve(const std::vector<PlanBuffer>& buffers, Placing& placing, std::vector<int> order,
             Gap gap, ArenaPlan& plan);

// All plans that could be better, within a budget: `plan` is the least then, or as it was.
void Search(const std::vector<PlanBuffer>& buffers, ArenaPlan& plan);

}  // namespace ds::engine::compile
