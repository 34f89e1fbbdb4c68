// SGD and AdamW on LibTorch's fused kernels: one pass over memory a parameter.
#include <memory>

#include "trainer/optim/parameter_group.h"

namespace ds {
namespace {

class Sgd final : public OptimizerBase {
 public:
  Sgd(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options)
      : OptimizerBase(parameters, options,
                      options.momentum > 0 ? std::vector<std::string>{"momentum"}
                                           : std::vector<std::string>{},
                      /*count_steps=*/false) {}

 private:
  void Apply(const std::vector<int>& members, const std::vector<at::Tensor>& grads,
             double weight_decay) override {
    std::vector<at::Tensor> parameters = Pick(flat_parameters_, members);
    std::vector<at::Tensor> momenta;
    if (!states_.empty()) momenta = Pick(states_[0].flat, members);
    // A zero buffer and no dampening make the first step an ordinary one: 0 * momentum + gradient.
    // So a parameter whose first gradient comes late needs no special case.
    at::_fused_sgd_(parameters, grads, momenta, weight_decay, options_.momentum,
                    options_.learning_rate,
                    /*dampening=*/0.0, /*nesterov=*/options_.nesterov && options_.momentum > 0,
                    /*maximize=*/false,
                    /*is_first_step=*/false);
  }
};

class AdamW final : public OptimizerBase {
 public:
  AdamW(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options)
      : OptimizerBase(parameters, options, {"exp_avg", "exp_avg_sq"}, /*count_steps=*/true) {
    for (const NamedTensor& parameter : parameters) {
      kernel_steps_.push_back(
          at::zeros({}, at::TensorOptions(parameter.tensor.device()).dtype(at::kFloat)));
    }
  }

 private:
  void Apply(const std::vector<int>& members, const std::vector<at::Tensor>& grads,
             double weight_decay) override {
    // The kernel wants its step counts as float tensors. They are set, not incremented: fp32 stops
    // counting at 2^24.
    for (int i : members) kernel_steps_[i].fill_(static_cast<double>(steps_[i]));
    std::vector<at::Tensor> parameters = Pick(flat_parameters_, members);
    std::vector<at::Tensor> averages = Pick(states_[0].flat, members),
                            squares = Pick(states_[1].flat, members);
    std::vector<at::Tensor> steps = Pick(kernel_steps_, members);
    at::_fused_adamw_(parameters, grads, averages, squares, /*max_exp_avg_sqs=*/{}, steps,
                      options_.learning_rate, options_.beta1, options_.beta2, weight_decay,
                      options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false);
  }

  std::vector<at::Tensor> kernel_steps_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeSgd(const std::vector<NamedTensor>& parameters,
                                   const OptimizerOptions& options) {
  return std::make_unique<Sgd>(parameters, options);
}

std::unique_ptr<Optimizer> MakeAdamW(const std::vector<NamedTensor>& parameters,
                                     const OptimizerOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

}  // namespace ds
