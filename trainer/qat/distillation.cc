#include "trainer/qat/distillation.h"

#include <utility>
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

Distillation::Distillation(GraphModule& teacher, const DistillationOptions& options,
                           ToLogits to_logits)
    : teacher_(teacher), options_(options), to_logits_(std::move(to_logits)) {
  teacher_.set_training(false);
  if (!to_logits_) to_logits_ = [](const at::Tensor& output) { return output; };
}

absl::StatusOr<at::Tensor> Distillation::operator()(const std::vector<at::Tensor>& inputs,
                                                    const at::Tensor& output,
                                                    const at::Tensor& loss, Precision precision) {
  teacher_.set_precision(precision);
  std::vector<at::Tensor> outputs;
  {
    const at::NoGradGuard no_grad;
    DS_ASSIGN_OR_RETURN(outputs, teacher_.Forward(inputs));
  }
  if (outputs[0].sizes() != output.sizes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("distillation: the teacher's outputs are ", c10::str(outputs[0].sizes()),
                     ", the student's ", c10::str(output.sizes()), "; they must be alike"));
  }
  const at::Tensor soft =
      SoftTargetLoss(to_logits_(output), to_logits_(outputs[0]), options_.temperature);
  return loss * (1 - options_.weight) + soft * options_.weight;
}

}  // namespace ds
