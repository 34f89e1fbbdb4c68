#include "trainer/optim/target_rows.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

absl::Status DoNotFit(const at::Tensor& output, const at::Tensor& targets, absl::string_view take) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the loss got an output of ", c10::str(output.sizes()), " and targets ",
      c10::str(targets.sizes()), " of type ", c10::toString(targets.scalar_type()), "; ", take));
}

// Whether the output without axis `axis` has the targets' shape.
bool FitsWithout(const at::Tensor& output, int64_t axis, const at::Tensor& targets) {
  std::vector<int64_t> rest = output.sizes().vec();
  rest.erase(rest.begin() + axis);
  return targets.sizes() == at::IntArrayRef(rest);
}

// Tokens have their classes last, pixels behind the sample, as most models give them.
std::optional<int64_t> ClassAxis(const at::Tensor& output, const at::Tensor& targets) {
  const int64_t rank = output.dim();
  if (rank < 2 || targets.dim() != rank - 1) return std::nullopt;
  const int64_t first = rank == 3 ? 2 : 1, second = rank == 3 ? 1 : rank - 1;
  for (const int64_t axis : {first, second}) {
    if (FitsWithout(output, axis, targets)) return axis;
  }
  return std::nullopt;
}

at::Tensor RowsOf(const at::Tensor& values, int64_t axis) {
  return values.movedim(axis, -1).reshape({-1, values.size(axis)}).to(at::kFloat);
}

std::vector<int64_t> WithoutOnes(const at::Tensor& tensor) {
  std::vector<int64_t> extents;
  for (const int64_t extent : tensor.sizes()) {
    if (extent != 1) extents.push_back(extent);
  }
  return extents;
}

absl::StatusOr<TargetRows> AlignClasses(const at::Tensor& output, const at::Tensor& targets) {
  if (targets.is_floating_point()) {
    if (output.dim() < 2 || targets.sizes() != output.sizes()) {
      return DoNotFit(output, targets, "shares of classes have the output's shape");
    }
    const int64_t axis = output.dim() >= 4 ? 1 : output.dim() - 1;
    return TargetRows{RowsOf(output, axis), RowsOf(targets, axis)};
  }
  const std::optional<int64_t> axis = ClassAxis(output, targets);
  if (!axis.has_value()) {
    return DoNotFit(output, targets,
                    "classes are [N, classes] with [N], [N, T, classes] with [N, T], or [N, "
                    "classes, H, W] with [N, H, W]");
  }
  if (targets.scalar_type() != at::kLong)
    return DoNotFit(output, targets, "class numbers are int64");
  return TargetRows{RowsOf(output, *axis), targets.reshape({-1})};
}

absl::StatusOr<TargetRows> AlignElements(const at::Tensor& output, const at::Tensor& targets) {
  if (output.dim() < 1 || targets.dim() < 1 || output.size(0) != targets.size(0) ||
      WithoutOnes(output) != WithoutOnes(targets)) {
    return DoNotFit(output, targets, "it takes as many numbers a sample as the model gives");
  }
  const at::Tensor like = targets.reshape(output.sizes());
  if (output.dim() == 1) {
    return TargetRows{output.unsqueeze(1).to(at::kFloat), like.unsqueeze(1).to(at::kFloat)};
  }
  const int64_t axis = output.dim() >= 4 ? 1 : output.dim() - 1;
  return TargetRows{RowsOf(output, axis), RowsOf(like, axis)};
}

}  // namespace

absl::StatusOr<TargetRows> AlignTargets(TargetKind kind, const at::Tensor& output,
                                        const at::Tensor& targets) {
  if (!output.is_floating_point()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model's first output is ", c10::toString(output.scalar_type()),
                     ": nothing to take a loss of; cut the model before its arg max"));
  }
  absl::StatusOr<TargetRows> rows =
      kind == TargetKind::kClass ? AlignClasses(output, targets) : AlignElements(output, targets);
  if (rows.ok() && rows->scores.numel() == 0)
    return absl::InvalidArgumentError("the loss of an empty batch has no value");
  return rows;
}

}  // namespace ds
