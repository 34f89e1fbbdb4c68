#include "jobs/quantize/agreement.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace ds {

Agreement::Agreement(const Graph& graph) {
  for (const ValueId id : graph.outputs()) sums_.push_back({.name = graph.value(id).name});
}

absl::Status Agreement::Add(const std::vector<at::Tensor>& exact,
                            const std::vector<at::Tensor>& other) {
  if (exact.size() != sums_.size() || other.size() != sums_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("outputs to compare are ", exact.size(), " and ",
                                                   other.size(), ", not ", sums_.size()));
  }
  for (size_t i = 0; i < sums_.size(); ++i) {
    Sums& sums = sums_[i];
    const at::Tensor &a = exact[i], &b = other[i];
    if (a.sizes() != b.sizes() || a.is_floating_point() != b.is_floating_point()) {
      return absl::InvalidArgumentError(
          absl::StrCat("output '", sums.name, "' is ", c10::toString(a.scalar_type()), " ",
                       c10::str(a.sizes()), " in one model and ", c10::toString(b.scalar_type()),
                       " ", c10::str(b.sizes()), " in the other"));
    }
    if (a.numel() == 0) continue;
    if (!a.is_floating_point()) {
      sums.of_classes = true;
      sums.same += a.to(at::kLong).eq(b.to(at::kLong)).sum().item<double>();
      sums.rows += static_cast<double>(a.numel());
      continue;
    }
    sums.of_numbers = true;
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    // Masked scores are -Inf in both, and no signal.
    const at::Tensor masked = x.eq(y).logical_and(x.isinf());
    const at::Tensor signal = x.masked_fill(masked, 0), noise = signal - y.masked_fill(masked, 0);
    sums.power += signal.square().sum().item<double>();
    sums.noise += noise.square().sum().item<double>();
    const int64_t axis = a.dim() >= 4 ? 1 : a.dim() - 1;
    if (a.dim() < 2 || a.size(axis) < 2) continue;
    const at::Tensor same = x.argmax(axis).eq(y.argmax(axis));
    sums.of_classes = true;
    sums.same += same.sum().item<double>();
    sums.rows += static_cast<double>(same.numel());
  }
  return absl::OkStatus();
}

std::vector<OutputAgreement> Agreement::Report() const {
  std::vector<OutputAgreement> report;
  for (const Sums& sums : sums_) {
    OutputAgreement one{.output = sums.name};
    if (sums.of_numbers) {
      // NaN in either is no agreement at all.
      const double ratio = sums.noise == 0 ? HUGE_VAL : sums.power / sums.noise;
      one.snr_db = ratio > 0 ? std::min(kMostDecibels, 10 * std::log10(ratio)) : -kMostDecibels;
    }
    if (sums.of_classes && sums.rows > 0) one.same_share = sums.same / sums.rows;
    report.push_back(one);
  }
  return report;
}

}  // namespace ds
