#include "trainer/optim/loss.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<Loss> Loss::Create(const LossOptions& options) {
  if (options.name != "cross_entropy") {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown loss '", options.name, "'; it is cross_entropy"));
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("label_smoothing is ", options.label_smoothing, "; it lies in [0, 1)"));
  }
  Loss loss;
  loss.options_ = options;
  return loss;
}

absl::StatusOr<LossResult> Loss::operator()(const at::Tensor& logits,
                                            const at::Tensor& labels) const {
  const bool images = logits.dim() == 2 && labels.dim() == 1;
  const bool text = logits.dim() == 3 && labels.dim() == 2 && logits.size(1) == labels.size(1);
  if ((!images && !text) || logits.size(0) != labels.size(0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the loss got logits ", c10::str(logits.sizes()), " and labels ", c10::str(labels.sizes()),
        "; it takes [N, classes] with [N], or ", "[N, T, classes] with [N, T]"));
  }
  try {
    const int64_t classes = logits.size(-1);
    const at::Tensor flat = logits.reshape({-1, classes}).to(at::kFloat);
    const at::Tensor targets = labels.reshape({-1});
    LossResult result;
    result.count = targets.numel();
    if (result.count == 0 || classes == 0)
      return absl::InvalidArgumentError("the loss of an empty batch has no value");
    if (targets.scalar_type() != at::kLong) {
      return absl::InvalidArgumentError(absl::StrCat(
          "labels are ", c10::toString(targets.scalar_type()), ", the loss takes int64"));
    }
    if (targets.min().item<int64_t>() < 0 || targets.max().item<int64_t>() >= classes) {
      return absl::InvalidArgumentError(absl::StrCat("a label lies outside 0..", classes - 1,
                                                     ": the model has ", classes,
                                                     " classes, the data more"));
    }
    result.loss = at::cross_entropy_loss(flat, targets, {}, at::Reduction::Mean,
                                         /*ignore_index=*/-100, options_.label_smoothing);
    result.correct = flat.detach().argmax(1).eq(targets).sum();
    return result;
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("loss: ", error.what_without_backtrace()));
  }
}

}  // namespace ds
