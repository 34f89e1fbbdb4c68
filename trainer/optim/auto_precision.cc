#include "trainer/optim/auto_precision.h"

#include <algorithm>
#include <limits>

#include "ATen/core/grad_mode.h"
#include "ATen/detail/CUDAHooksInterface.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/cpu/cpu_features.h"
#include "base/status.h"

namespace ds {
namespace {

// bf16 must win by this much: a probe is short, and what it picks must never be slower.
constexpr double kNeededGain = 1.03;
// Rounds after the warm-up: few where a step is long, more where it is short and its time
// uncertain.
constexpr int kLeastRounds = 4, kMostRounds = 20;
constexpr double kProbeMs = 500;

// Parameters' gradients and all state, as they were; put back at the end of the scope.
class Snapshot {
 public:
  explicit Snapshot(GraphModule& module) : module_(module), precision_(module.precision()) {
    for (const NamedTensor& buffer : module.buffers()) buffers_.push_back(buffer.tensor.clone());
    for (const NamedTensor& parameter : module.parameters()) {
      gradients_.push_back(parameter.tensor.grad());
      at::Tensor handle = parameter.tensor;
      handle.mutable_grad() = at::Tensor();
    }
  }
  ~Snapshot() {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < buffers_.size(); ++i) module_.buffers()[i].tensor.copy_(buffers_[i]);
    for (size_t i = 0; i < gradients_.size(); ++i) {
      at::Tensor handle = module_.parameters()[i].tensor;
      handle.mutable_grad() = gradients_[i];
    }
    module_.set_precision(precision_);
    module_.set_training(false);
  }

 private:
  GraphModule& module_;
  Precision precision_;
  std::vector<at::Tensor> buffers_;
  std::vector<at::Tensor> gradients_;
};

absl::StatusOr<double> StepMs(GraphModule& module, const Loss& loss, Precision precision,
                              const std::vector<at::Tensor>& inputs, const at::Tensor& labels) {
  module.set_precision(precision);
  for (const NamedTensor& parameter : module.parameters()) {
    at::Tensor handle = parameter.tensor;
    handle.mutable_grad() = at::Tensor();
  }
  const double start_s = SteadySeconds();
  DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> outputs, module.Forward(inputs));
  DS_ASSIGN_OR_RETURN(const LossResult result, loss(outputs[0], labels));
  try {
    result.loss.backward();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("precision probe: ", error.what_without_backtrace()));
  }
  return 1e3 * (SteadySeconds() - start_s);
}

absl::StatusOr<PrecisionChoice> ProbeCpu(GraphModule& module, const Loss& loss,
                                         const std::vector<at::Tensor>& inputs,
                                         const at::Tensor& labels) {
  Snapshot snapshot(module);
  module.set_training(true);
  double best_fp32 = std::numeric_limits<double>::max(), best_bf16 = best_fp32, total_ms = 0;
  int rounds = 0;
  // The two take turns, so that other load falls on both; the first round warms up.
  for (int round = 0; round <= kLeastRounds || (round <= kMostRounds && total_ms < kProbeMs);
       ++round) {
    DS_ASSIGN_OR_RETURN(const double fp32,
                        StepMs(module, loss, Precision::kFloat32, inputs, labels));
    const absl::StatusOr<double> bf16 = StepMs(module, loss, Precision::kBFloat16, inputs, labels);
    if (!bf16.ok()) {
      return PrecisionChoice{Precision::kFloat32,
                             absl::StrCat("bf16 does not run: ", bf16.status().message())};
    }
    if (round == 0) continue;
    rounds = round;
    total_ms += fp32 + *bf16;
    best_fp32 = std::min(best_fp32, fp32);
    best_bf16 = std::min(best_bf16, *bf16);
  }
  const bool faster = best_bf16 * kNeededGain <= best_fp32;
  return PrecisionChoice{faster ? Precision::kBFloat16 : Precision::kFloat32,
                         absl::StrFormat("bf16 %.1f ms, fp32 %.1f ms a step (probe of %d)",
                                         best_bf16, best_fp32, rounds)};
}

absl::StatusOr<PrecisionChoice> ChooseAutomatically(GraphModule& module, const Loss& loss,
                                                    const std::vector<at::Tensor>& inputs,
                                                    const at::Tensor& labels) {
  if (inputs[0].is_cuda()) {
    if (at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8()) {
      return PrecisionChoice{Precision::kBFloat16, "the GPU has bf16"};
    }
    return PrecisionChoice{Precision::kFloat16, "the GPU has no bf16"};
  }
  if (!Cpu().avx512_bf16 && !Cpu().amx_bf16) {
    return PrecisionChoice{Precision::kFloat32, "this processor has no bf16 instructions"};
  }
  return ProbeCpu(module, loss, inputs, labels);
}

}  // namespace

absl::StatusOr<PrecisionChoice> ChoosePrecision(const std::string& mode, GraphModule& module,
                                                const Loss& loss,
                                                const std::vector<at::Tensor>& inputs,
                                                const at::Tensor& labels) {
  if (mode == "fp32") return PrecisionChoice{Precision::kFloat32, "as configured"};
  if (mode == "bf16") return PrecisionChoice{Precision::kBFloat16, "as configured"};
  if (mode == "fp16") return PrecisionChoice{Precision::kFloat16, "as configured"};
  if (mode == "auto") return ChooseAutomatically(module, loss, inputs, labels);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown precision '", mode, "'; it is one of fp32, bf16, fp16, auto"));
}

std::string PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "fp32";
    case Precision::kBFloat16:
      return "bf16";
    case Precision::kFloat16:
      return "fp16";
  }
  return "?";
}

}  // namespace ds
