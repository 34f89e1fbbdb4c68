// `precision: auto`: what is fastest here and safe. CPU: times a short probe of the module itself
// (forward and backward, same batch) in fp32 and, where the CPU has bf16 instructions, bf16; takes
// bf16 only if it is at least 3% faster. GPU: bf16 where the device has it, else fp16. fp16 on CPU
// is never chosen.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/optim/loss.h"

namespace ds {

struct PrecisionChoice {
  Precision precision = Precision::kFloat32;
  std::string reason;  // "bf16 41.2 ms, fp32 78.9 ms a step (probe of 4)"
};

// mode: fp32 | bf16 | fp16 | auto. InvalidArgument for others. The probe leaves parameters,
// buffers, gradients and the precision as they were, and training off. Call it before hooks are put
// on the parameters: it runs them. Timing differs between ranks: let rank 0 choose and broadcast.
absl::StatusOr<PrecisionChoice> ChoosePrecision(const std::string& mode, GraphModule& module,
                                                const Loss& loss,
                                                const std::vector<at::Tensor>& inputs,
                                                const at::Tensor& labels);
// "fp32", "bf16", "fp16".
std::string PrecisionName(Precision precision);

}  // namespace ds
