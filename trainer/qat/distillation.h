// Learning from the float model's own outputs: Hinton et al., "Distilling the Knowledge in a Neural
// Network" (2015).
#pragma once

#include <functional>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/qat/distillation_options.h"

namespace ds {

// (1 - weight) * loss + weight * T^2 * KL(softmax(teacher / T) || softmax(student / T)), the mean
// over samples, fp32. T^2 keeps the gradients' size (section 2).
class Distillation {
 public:
  // From what a model gives to logits with the classes along the last axis.
  using ToLogits = std::function<at::Tensor(const at::Tensor& output)>;
  // The teacher (not owned) runs as in evaluation, without gradients, in the student's precision.
  // Null: both models give such logits.
  Distillation(GraphModule& teacher, const DistillationOptions& options,
               ToLogits to_logits = nullptr);
  // `inputs` as the student had them, its `output`, and its loss on the labels.
  // InvalidArgument where teacher and student have outputs of different shapes.
  absl::StatusOr<at::Tensor> operator()(const std::vector<at::Tensor>& inputs,
                                        const at::Tensor& output, const at::Tensor& loss,
                                        Precision precision);

 private:
  GraphModule& teacher_;
  DistillationOptions options_;
  ToLogits to_logits_;
};

// T^2 * KL(softmax(teacher / T) || softmax(student / T)) over the last axis, the mean over the
// others. Differentiable in `student`.
at::Tensor SoftTargetLoss(const at::Tensor& student, const at::Tensor& teacher, double temperature);

}  // namespace ds
