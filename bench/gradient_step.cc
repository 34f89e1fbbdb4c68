// One plain SGD step of an ONNX file in the file's own precision, double too: for
// bench/zoo_step.py.
//
//   gradient_step MODEL LOSS RATE INPUT_FILE OUTPUT_FILE
//
// ds_train's loss, buckets and optimisers are fp32; this is what import, executor and autograd do
// without them. LOSS is cross_entropy (classes along axis 1) or mse. INPUT_FILE (safetensors) holds
// `input` and `labels`; OUTPUT_FILE gets `before` and `after`, the first output in evaluation mode,
// and every parameter and running statistic after the step, by name.
#include <cstdio>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "c10/core/GradMode.h"
#include "executor/graph_module.h"
#include "graph/onnx/onnx.h"

namespace ds {
namespace {

absl::StatusOr<at::Tensor> Evaluate(GraphModule& module, const at::Tensor& input) {
  const c10::NoGradGuard no_grad;
  module.set_training(false);
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, module.Forward({input}));
  return outputs[0];
}

absl::Status Step(GraphModule& module, const std::string& loss, double rate,
                  const at::Tensor& input, const at::Tensor& labels) {
  module.set_training(true);
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, module.Forward({input}));
  const at::Tensor value =
      loss == "mse" ? at::mse_loss(outputs[0], labels) : at::cross_entropy_loss(outputs[0], labels);
  value.backward();
  const c10::NoGradGuard no_grad;
  for (const NamedTensor& parameter : module.parameters()) {
    if (parameter.tensor.grad().defined()) parameter.tensor.sub_(parameter.tensor.grad(), rate);
  }
  return absl::OkStatus();
}

absl::Status Run(char** argv) {
  at::set_num_threads(1);
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(argv[1]));
  DS_ASSIGN_OR_RETURN(const auto module, GraphModule::Create(std::move(graph)));
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(argv[4]));
  const at::Tensor input = ToTorch(tensors.at("input").Clone());
  const at::Tensor labels = ToTorch(tensors.at("labels").Clone());
  TensorMap results;
  DS_ASSIGN_OR_RETURN(const at::Tensor before, Evaluate(*module, input));
  DS_RETURN_IF_ERROR(Step(*module, argv[2], std::stod(argv[3]), input, labels));
  DS_ASSIGN_OR_RETURN(const at::Tensor after, Evaluate(*module, input));
  DS_ASSIGN_OR_RETURN(results["before"], FromTorch(before));
  DS_ASSIGN_OR_RETURN(results["after"], FromTorch(after));
  for (const auto* part : {&module->parameters(), &module->buffers()}) {
    for (const NamedTensor& each : *part) {
      DS_ASSIGN_OR_RETURN(results[each.name], FromTorch(each.tensor.detach()));
    }
  }
  return WriteSafetensors(argv[5], results);
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: gradient_step MODEL LOSS RATE INPUT_FILE OUTPUT_FILE\n");
    return 2;
  }
  const absl::Status status = ds::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
