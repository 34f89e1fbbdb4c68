#include "trainer/optim/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr float kTiny = std::numeric_limits<float>::min();

// log p, finite for a probability that has become 0.
at::Tensor LogOf(const at::Tensor& probability) {
  return probability.to(at::kFloat).clamp_min(kTiny).log();
}

at::Tensor WeightTensor(const std::vector<double>& weights, const at::Tensor& like) {
  return at::tensor(weights, at::kDouble).to(like.device(), at::kFloat);
}

absl::Status WrongWeights(size_t weights, int64_t classes) {
  return absl::InvalidArgumentError(absl::StrCat("loss.class_weights has ", weights,
                                                 " numbers, the model gives ", classes,
                                                 "; give one each"));
}

}  // namespace

bool Loss::weight_varies() const {
  return ignores() || (kind_ == TargetKind::kClass && !options_.class_weights.empty());
}

at::Tensor Loss::Counts(const at::Tensor& targets) const {
  if (ignores()) return targets.ne(*options_.ignore_index);
  return at::ones_like(targets, at::TensorOptions().dtype(at::kBool));
}

double Loss::Weight(const at::Tensor& targets) const {
  if (kind_ == TargetKind::kClass && targets.is_floating_point()) {
    // Shares: their rows, as torch.nn.CrossEntropyLoss counts them.
    const int64_t axis = targets.dim() >= 4 ? 1 : targets.dim() - 1;
    return static_cast<double>(targets.numel()) /
           static_cast<double>(std::max<int64_t>(1, targets.size(axis)));
  }
  const at::Tensor counts = Counts(targets);
  if (kind_ != TargetKind::kClass || options_.class_weights.empty())
    return counts.sum().item<double>();
  const at::Tensor classes = targets.masked_select(counts);
  const auto most = static_cast<int64_t>(options_.class_weights.size());
  if (classes.numel() == 0 || classes.min().item<int64_t>() < 0 ||
      classes.max().item<int64_t>() >= most) {
    return 0;
  }
  const at::Tensor weights = WeightTensor(options_.class_weights, classes);
  return weights.index_select(0, classes).sum(at::kDouble).item<double>();
}

at::Tensor Loss::Logits(const at::Tensor& output) const {
  if (output_ == OutputKind::kLogits) return output;
  // The logarithms of shares that add up to 1 are logits of these shares.
  if (output_ == OutputKind::kLogProbabilities) return output;
  if (kind_ == TargetKind::kClass) return LogOf(output);
  return LogOf(output) - LogOf(1 - output.to(at::kFloat));
}

absl::Status Loss::CheckClasses(const TargetRows& rows, const at::Tensor& counts) const {
  const int64_t classes = rows.scores.size(1);
  const at::Tensor counted = rows.targets.masked_select(counts);
  if (counted.numel() == 0) return absl::OkStatus();
  const int64_t low = counted.min().item<int64_t>(), high = counted.max().item<int64_t>();
  if (low >= 0 && high < classes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a label is ", low < 0 ? low : high, ", outside 0..", classes - 1, ": the model has ",
      classes,
      " classes, the data more; where it marks what does not count, set loss.ignore_index=",
      low < 0 ? low : high));
}

absl::StatusOr<LossResult> Loss::OfClasses(const TargetRows& rows) const {
  const int64_t classes = rows.scores.size(1);
  std::optional<at::Tensor> weights;
  if (!options_.class_weights.empty()) {
    if (static_cast<int64_t>(options_.class_weights.size()) != classes)
      return WrongWeights(options_.class_weights.size(), classes);
    weights = WeightTensor(options_.class_weights, rows.scores);
  }
  const at::Tensor logits = Logits(rows.scores);
  const at::Tensor best = rows.scores.detach().argmax(1);
  LossResult result;
  if (rows.targets.is_floating_point()) {
    result.count = rows.targets.size(0);
    result.correct = best.eq(rows.targets.argmax(1)).sum();
  } else {
    const at::Tensor counts = Counts(rows.targets);
    DS_RETURN_IF_ERROR(CheckClasses(rows, counts));
    result.count = counts.sum().item<int64_t>();
    result.correct = best.eq(rows.targets).logical_and(counts).sum();
  }
  result.weight = Weight(rows.targets);
  if (result.weight == 0) {
    result.loss = logits.sum() * 0;
    return result;
  }
  result.loss =
      at::cross_entropy_loss(logits, rows.targets, weights, at::Reduction::Mean,
                             options_.ignore_index.value_or(-100), options_.label_smoothing);
  return result;
}

absl::StatusOr<LossResult> Loss::OfLabels(const TargetRows& rows) const {
  std::optional<at::Tensor> positives;
  if (!options_.class_weights.empty()) {
    if (static_cast<int64_t>(options_.class_weights.size()) != rows.scores.size(1))
      return WrongWeights(options_.class_weights.size(), rows.scores.size(1));
    positives = WeightTensor(options_.class_weights, rows.scores);
  }
  const at::Tensor counts = Counts(rows.targets);
  const at::Tensor shares = rows.targets.masked_fill(counts.logical_not(), 0);
  // NaN fails both.
  if (!shares.ge(0).logical_and(shares.le(1)).all().item<bool>()) {
    return absl::InvalidArgumentError(
        "a target of bce lies outside 0..1; where it marks what does not count, set "
        "loss.ignore_index");
  }
  const at::Tensor logits = Logits(rows.scores);
  LossResult result;
  result.count = counts.sum().item<int64_t>();
  result.weight = static_cast<double>(result.count);
  result.correct = logits.detach().gt(0).eq(shares.gt(0.5)).logical_and(counts).sum();
  if (result.count == 0) {
    result.loss = logits.sum() * 0;
    return result;
  }
  const double smoothing = options_.label_smoothing;
  const at::Tensor wanted = smoothing > 0 ? shares * (1 - smoothing) + smoothing / 2 : shares;
  const at::Tensor each =
      at::binary_cross_entropy_with_logits(logits, wanted, {}, positives, at::Reduction::None);
  result.loss = each.masked_fill(counts.logical_not(), 0).sum() / result.weight;
  return result;
}

absl::StatusOr<LossResult> Loss::OfValues(const TargetRows& rows) const {
  if (!rows.targets.isfinite().all().item<bool>())
    return absl::InvalidArgumentError("a target is NaN or Inf: leave such samples out of the data");
  LossResult result;
  result.count = rows.targets.numel();
  result.weight = static_cast<double>(result.count);
  result.correct = at::zeros({}, at::TensorOptions().dtype(at::kLong));
  if (options_.name == "mse") {
    result.loss = at::mse_loss(rows.scores, rows.targets);
  } else if (options_.name == "l1") {
    result.loss = at::l1_loss(rows.scores, rows.targets);
  } else {
    result.loss =
        at::huber_loss(rows.scores, rows.targets, at::Reduction::Mean, options_.huber_delta);
  }
  return result;
}

absl::StatusOr<LossResult> Loss::operator()(const at::Tensor& output,
                                            const at::Tensor& targets) const {
  try {
    DS_ASSIGN_OR_RETURN(const TargetRows rows, AlignTargets(kind_, output, targets));
    switch (kind_) {
      case TargetKind::kClass:
        return OfClasses(rows);
      case TargetKind::kLabels:
        return OfLabels(rows);
      case TargetKind::kValues:
        return OfValues(rows);
    }
    return absl::InternalError("a loss without a kind");
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("loss: ", error.what_without_backtrace()));
  }
}

absl::StatusOr<TargetRows> Loss::RowsThatCount(const at::Tensor& output,
                                               const at::Tensor& targets) const {
  DS_ASSIGN_OR_RETURN(TargetRows rows, AlignTargets(kind_, output, targets));
  rows.scores = Logits(rows.scores);
  if (!ignores() || rows.targets.dim() != 1) return rows;
  const at::Tensor kept = Counts(rows.targets).nonzero().reshape({-1});
  return TargetRows{rows.scores.index_select(0, kept), rows.targets.index_select(0, kept)};
}

}  // namespace ds
