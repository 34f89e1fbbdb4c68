// A model's output and its targets side by side, whatever layout the two came in: what losses and
// metrics compute on.
#pragma once

#include "ATen/ATen.h"
#include "absl/status/statusor.h"

namespace ds {

// What a target says of its sample (token, pixel).
enum class TargetKind {
  kClass,   // one class of several
  kLabels,  // each of several labels yes or no, or a share between
  kValues,  // numbers
};

struct TargetRows {
  // fp32 [rows, classes]; kLabels, kValues: [rows, labels] or [rows, values].
  at::Tensor scores;
  // kClass: int64 [rows], or shares fp32 [rows, classes]. Otherwise fp32, of the shape of `scores`.
  at::Tensor targets;
};

// kClass: output [N, C] with int64 [N] or shares [N, C]; [N, T, C] or [N, C, T] with [N, T] (the
// first where both fit); [N, C, H, W] or [N, H, W, C] with [N, H, W] (likewise), or with one axis
// more or less before C. Shares as the output itself.
// kLabels, kValues: targets of the output's shape, or of one that differs from it in axes of
// extent 1 alone ([N] with [N, 1]). Rows are samples, from four axes on pixels ([N, K, H, W]),
// from three tokens ([N, T, K]).
// InvalidArgument for other shapes, an empty batch, targets of another type.
absl::StatusOr<TargetRows> AlignTargets(TargetKind kind, const at::Tensor& output,
                                        const at::Tensor& targets);

}  // namespace ds
