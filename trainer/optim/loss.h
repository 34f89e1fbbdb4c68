// Losses, in fp32 whatever the autocast type.
#pragma once

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "trainer/optim/options.h"

namespace ds {

struct LossResult {
  at::Tensor loss;     // fp32 scalar, mean over samples (tokens)
  at::Tensor correct;  // int64 scalar: arg max hits
  int64_t count = 0;   // samples (tokens)
};

class Loss {
 public:
  static absl::StatusOr<Loss> Create(const LossOptions& options);
  // logits of any floating-point type: [N, classes] with labels int64 [N], or [N, T, classes] with
  // [N, T]. InvalidArgument for other shapes, an empty batch, or labels outside 0..classes-1.
  // Smoothing: Szegedy et al. 2016, (1 - s) on the label plus s / classes on every class.
  absl::StatusOr<LossResult> operator()(const at::Tensor& logits, const at::Tensor& labels) const;

 private:
  LossOptions options_;
};

}  // namespace ds
