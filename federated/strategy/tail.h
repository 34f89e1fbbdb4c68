// The numbers behind the coordinates of single updates: strategies that choose among updates choose
// among numbers, not among their digits, and sum metrics over all.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/strategy/strategy.h"

namespace ds::federated {

class Tail {
 public:
  static absl::StatusOr<Tail> Read(const CombineRequest& request);

  int64_t Number(size_t update, const DigitSection& section, int64_t index) const;
  // Writes a group's sum behind its coordinates: of each number the updates that `kept` names for
  // it (`numbers[u]` is update u's), of metrics all.
  using Choice = absl::FunctionRef<std::vector<size_t>(absl::Span<const int64_t> numbers)>;
  void Sum(Choice kept, IntegerVector& sum) const;

 private:
  Tail(const UpdateShape& shape, size_t updates) : shape_(&shape), rows_(updates) {}
  void SumMetrics(const DigitSection& section, IntegerVector& sum) const;

  const UpdateShape* shape_;
  int64_t first_ = 0;                        // value that the rows begin with
  std::vector<std::vector<uint16_t>> rows_;  // an update each
};

}  // namespace ds::federated
