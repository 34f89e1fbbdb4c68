// What is minimised and how gradients become steps, as plain values that a run's configuration
// fills. Torch-free. (Loss scaling and schedules, themselves torch-free, have theirs beside them.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

// What it takes and computes is in loss.h.
struct LossOptions {
  // cross_entropy | nll | bce | mse | l1 | huber
  std::string name = "cross_entropy";
  double label_smoothing = 0.0;         // cross_entropy, nll, bce: [0, 1)
  std::optional<int64_t> ignore_index;  // cross_entropy, nll, bce: the target that does not count
  // cross_entropy, nll: how much each class counts; bce: how much a positive of each label counts.
  // > 0; empty: all alike.
  std::vector<double> class_weights;
  double huber_delta = 1.0;  // huber: where the square becomes a line, > 0
  // What evaluations measure (metrics.h); the first decides which epoch was best. Empty: by the
  // loss and the model's output.
  std::vector<std::string> metrics;
};

// Moving average of the weights (ema.h).
struct EmaOptions {
  bool enabled = false;
  double decay = 0.999;  // share kept at each step, [0, 1)
};

}  // namespace ds
