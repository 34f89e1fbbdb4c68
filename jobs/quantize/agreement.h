// How far one model's outputs are from another's on the same inputs: the measure that needs neither
// labels nor classes.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

struct OutputAgreement {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string output;  // its name
  // 10 log10 of the exact values' power over the differences', over all samples, at most
  // kMostDecibels; numbers that both have as Inf of one sign count as equal. Integers: kNone.
  double snr_db = kNone;
  // Share of rows (last axis; pixels: axis 1) in which the same entry is the highest, for outputs
  // that may be classes: two axes or more, and two entries or more. Integers: share of equal ones.
  double same_share = kNone;

  bool operator==(const OutputAgreement&) const = default;
};

constexpr double kMostDecibels = 200;  // nothing differs
constexpr double kFewDecibels = 10;    // an output below it earns a warning

class Agreement {
 public:
  explicit Agreement(const Graph& graph);
  // Outputs of one batch, in the graph's order. InvalidArgument where the two differ in number,
  // shape or kind.
  absl::Status Add(const std::vector<at::Tensor>& exact, const std::vector<at::Tensor>& other);
  // In the graph's order.
  std::vector<OutputAgreement> Report() const;

 private:
  struct Sums {
    std::string name;
    bool of_numbers = false, of_classes = false;
    double power = 0, noise = 0;
    double same = 0, rows = 0;
  };
  std::vector<Sums> sums_;
};

}  // namespace ds
