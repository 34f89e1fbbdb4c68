// What is minimised and how gradients become steps, as plain values that a run's configuration
// fills. Torch-free. (Loss scaling and schedules, themselves torch-free, have theirs beside them.)
#pragma once

#include <string>

namespace ds {

struct OptimizerOptions {
  std::string name = "sgd";           // sgd | adamw | lamb
  double learning_rate = 0.1;         // > 0; where there is a schedule, its peak
  double momentum = 0.9;              // sgd, [0, 1)
  bool nesterov = true;               // sgd
  double beta1 = 0.9, beta2 = 0.999;  // adamw, lamb, [0, 1)
  double epsilon = 1e-8;              // adamw, lamb, > 0
  double weight_decay = 5e-4;  // >= 0; coupled (L2) for sgd, decoupled for adamw and lamb; not of
                               // norms and biases
};

struct LossOptions {
  std::string name = "cross_entropy";
  double label_smoothing = 0.0;  // [0, 1)
};

// Moving average of the weights (ema.h).
struct EmaOptions {
  bool enabled = false;
  double decay = 0.999;  // share kept at each step, [0, 1)
};

}  // namespace ds
