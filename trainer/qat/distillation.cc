#include "trainer/qat/distillation.h"

#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

at::Tensor SoftTargetLoss(const at::Tensor& student, const at::Tensor& teacher,
                          double temperature) {
  const int64_t classes = student.size(-1);
  const at::Tensor learned =
      at::log_softmax(student.to(at::kFloat).reshape({-1, classes}) / temperature, 1);
  const at::Tensor wanted =
      at::log_softmax(teacher.detach().to(at::kFloat).reshape({-1, classes}) / temperature, 1);
  return (wanted.exp() * (wanted - learned)).sum(1).mean() * (temperature * temperature);
}

Distillation::Distillation(GraphModule& teacher, const DistillationOptions& options)
    : teacher_(teacher), options_(options) {
  teacher_.set_training(false);
}

absl::StatusOr<at::Tensor> Distillation::operator()(const std::vector<at::Tensor>& inputs,
                                                    const at::Tensor& logits,
                                                    const at::Tensor& loss, Precision precision) {
  teacher_.set_precision(precision);
  std::vector<at::Tensor> outputs;
  {
    const at::NoGradGuard no_grad;
    DS_ASSIGN_OR_RETURN(outputs, teacher_.Forward(inputs));
  }
  if (outputs[0].sizes() != logits.sizes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("distillation: the teacher's outputs are ", c10::str(outputs[0].sizes()),
                     ", the student's ", c10::str(logits.sizes()), "; they must be alike"));
  }
  return loss * (1 - options_.weight) +
         SoftTargetLoss(logits, outputs[0], options_.temperature) * options_.weight;
}

}  // namespace ds
