// How the floats of an update lie in its integers: follows from the layout and the run's options,
// the same at every party. Coordinates are the parameters (scaffold: then the control variates'
// changes), concatenated in the layout's order and padded once at the end; statistics go behind
// them with 16 bits each, or among the coordinates where noise has to cover them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/options/options.h"
#include "federated/update/global_model.h"
#include "federated/update/grid.h"
#include "federated/update/shape.h"
#include "federated/update/site_noise.h"

namespace ds::federated {

// The weight of a fresh update of fedbuff's.
constexpr int64_t kFullWeight = 16;

// Neighbours in the flat vector of floats that share a scale: a slot, or its control variates.
struct Run {
  int64_t from = 0;  // in the delta, whose second half are the control variates
  int64_t count = 0;
  int64_t scale = 0;  // its number: the slot's, or the number of slots and the slot's
  SlotKind kind = SlotKind::kParameter;
  bool control = false;
};

struct UpdatePlan {
  UpdateShape shape;
  Grid grid;
  Grid statistic_grid;
  int64_t block = 1;             // of the rotation
  std::vector<Run> coordinates;  // in order, from coordinate 0 on
  std::vector<Run> statistics;   // in order, from the section's first number on
  int64_t scales = 0;            // scales of a version
  int64_t delta_size = 0;        // floats of an update
  int64_t most = 0;              // the greatest divisor of a sum
  int update_bits = 0;  // of an update's integers: more than a level's where noise is in them
  int modulus_bits = 0;
  SumNoise noise;
  bool weighted = false;       // sites weigh by their samples
  bool public_scales = false;  // they follow from clip_norm alone
  int64_t versions = 1;        // whose scales are kept

  // Coordinates that are some slot's, without the padding.
  int64_t used() const;
};

// InvalidArgument where a sum would need more than 32 bits.
absl::StatusOr<UpdatePlan> MakePlan(const ModelLayout& layout, const RunOptions& options,
                                    int64_t maximum_sites);

// Calls f(const Run&, from, offset, count) for the pieces of `runs` that numbers [first, first +
// count) of their concatenation are: `from` in the delta, `offset` from `first`. Calls must go
// upwards.
class RunCursor {
 public:
  explicit RunCursor(const std::vector<Run>& runs) : runs_(runs) {}
  template <typename Function>
  void ForPieces(int64_t first, int64_t count, const Function& f) {
    const int64_t end = first + count;
    for (int64_t at = first; at < end && index_ < runs_.size();) {
      const Run& run = runs_[index_];
      const int64_t inside = at - start_, now = std::min(end - at, run.count - inside);
      if (now > 0) f(run, run.from + inside, at - first, now);
      at += now;
      if (at == start_ + run.count) {
        start_ = at;
        ++index_;
      }
    }
  }

 private:
  const std::vector<Run>& runs_;
  size_t index_ = 0;
  int64_t start_ = 0;  // number of the run's first
};

}  // namespace ds::federated
