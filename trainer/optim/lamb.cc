// LAMB: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
// 2020, algorithm 2, with phi(x) = x. Tensors without weight decay (biases, norms) take the plain
// Adam step, trust ratio 1, as in the paper's experiments.
#include <cmath>
#include <memory>

#include "trainer/optim/gradient_norm.h"
#include "trainer/optim/parameter_group.h"

namespace ds {
namespace {

class Lamb final : public OptimizerBase {
 public:
  Lamb(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options)
      : OptimizerBase(parameters, options, {"exp_avg", "exp_avg_sq"}, /*count_steps=*/true) {}

 private:
  void Apply(const std::vector<int>& members, const std::vector<at::Tensor>& grads,
             double weight_decay) override {
    for (size_t k = 0; k < members.size(); ++k) Update(members[k], grads[k], weight_decay);
  }

  void Update(int i, const at::Tensor& grad, double weight_decay) {
    at::Tensor &parameter = flat_parameters_[i], &average = states_[0].flat[i],
               &square = states_[1].flat[i];
    average.mul_(options_.beta1).add_(grad, 1 - options_.beta1);
    square.mul_(options_.beta2).addcmul_(grad, grad, 1 - options_.beta2);
    const double steps = static_cast<double>(steps_[i]);
    const double correction1 = 1 - std::pow(options_.beta1, steps),
                 correction2 = 1 - std::pow(options_.beta2, steps);
    at::Tensor update = (square / correction2).sqrt_().add_(options_.epsilon);
    at::div_out(update, average / correction1, update);
    if (weight_decay > 0) update.add_(parameter, weight_decay);
    const double ratio = TakesWeightDecay(parameters_[i]) ? TrustRatio(parameter, update) : 1.0;
    parameter.add_(update, -options_.learning_rate * ratio);
  }

  // 1 where a norm is 0: a weight that starts at zero could never leave it otherwise.
  static double TrustRatio(const at::Tensor& parameter, const at::Tensor& update) {
    const double weight_norm = std::sqrt(SumOfSquares(parameter)),
                 update_norm = std::sqrt(SumOfSquares(update));
    return weight_norm > 0 && update_norm > 0 ? weight_norm / update_norm : 1.0;
  }
};

}  // namespace

std::unique_ptr<Optimizer> MakeLamb(const std::vector<NamedTensor>& parameters,
                                    const OptimizerOptions& options) {
  return std::make_unique<Lamb>(parameters, options);
}

}  // namespace ds
