// graph_runner MODEL IN OUT: runs an ONNX file on the training executor. IN and OUT are safetensors
// files with tensors by the names of the model's inputs and outputs.
#include <cstdio>

#include "ATen/ATen.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "executor/graph_module.h"
#include "graph/onnx/onnx.h"

namespace ds {
namespace {

absl::Status Run(const char* model, const char* in, const char* out) {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(model));
  DS_ASSIGN_OR_RETURN(const TensorMap fed, ReadSafetensors(in));
  DS_ASSIGN_OR_RETURN(const auto module, GraphModule::Create(std::move(graph)));
  std::vector<at::Tensor> inputs;
  for (const ValueId id : module->graph().inputs())
    inputs.push_back(ToTorch(fed.at(module->graph().value(id).name)));
  DS_ASSIGN_OR_RETURN(const auto outputs, module->Forward(inputs));
  TensorMap results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = module->graph().value(module->graph().outputs()[i]).name;
    DS_ASSIGN_OR_RETURN(results[name], FromTorch(outputs[i]));
  }
  return WriteSafetensors(out, results);
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: graph_runner MODEL IN OUT\n");
    return 2;
  }
  const absl::Status status = ds::Run(argv[1], argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
