// Learning from the float model's own outputs: Hinton et al., "Distilling the Knowledge in a Neural
// Network" (2015).
#pragma once

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/qat/distillation_options.h"

namespace ds {

// (1 - weight) * loss + weight * T^2 * KL(softmax(teacher / T) || softmax(student / T)), the mean
// over samples, fp32. T^2 keeps the gradients' size (section 2).
class Distillation {
 public:
  // The teacher (not owned) runs as in evaluation, without gradients, in the student's precision.
  Distillation(GraphModule& teacher, const DistillationOptions& options);
  // `inputs` as the student had them, its `logits` [N, classes], and its loss on the labels.
  // InvalidArgument where teacher and student have outputs of different shapes.
  absl::StatusOr<at::Tensor> operator()(const std::vector<at::Tensor>& inputs,
                                        const at::Tensor& logits, const at::Tensor& loss,
                                        Precision precision);

 private:
  GraphModule& teacher_;
  DistillationOptions options_;
};

// T^2 * KL(softmax(teacher / T) || softmax(student / T)) over the last axis, the mean over the
// others. Differentiable in `student`.
at::Tensor SoftTargetLoss(const at::Tensor& student, const at::Tensor& teacher, double temperature);

}  // namespace ds
