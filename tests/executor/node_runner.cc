// node_runner SPEC IN RESULTS OUT: for onnx_node_test.py. SPEC is a JSON list of cases (name,
// model, exported: paths of an ONNX file and of the one to write; inputs: names in the safetensors
// file IN). Each model is imported, run, exported at opset 17 or the least that holds it, imported
// again and run again. RESULTS gets a JSON line a case as soon as it is done, {"name", "stage",
// "error", "outputs"}; OUT the outputs as "<case>.<output>" and "<case>.again.<output>".
#include <cstdio>
#include <fstream>

#include "ATen/ATen.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "executor/graph_module.h"
#include "graph/onnx/onnx.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

absl::StatusOr<std::vector<at::Tensor>> RunGraph(Graph graph, const Json& inputs,
                                                 const TensorMap& tensors) {
  std::vector<at::Tensor> operands;
  for (const Json& name : inputs) {
    const auto found = tensors.find(name.get<std::string>());
    if (found == tensors.end()) return absl::NotFoundError("the case has no data for an input");
    operands.push_back(ToTorch(found->second.Clone()));
  }
  DS_ASSIGN_OR_RETURN(const auto module, GraphModule::Create(std::move(graph)));
  return module->Forward(operands);
}

absl::Status Keep(const std::vector<at::Tensor>& outputs, const std::string& prefix,
                  TensorMap& results) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    DS_ASSIGN_OR_RETURN(results[prefix + std::to_string(i)], FromTorch(outputs[i]));
  }
  return absl::OkStatus();
}

// `stage` is where an error arose.
absl::Status RunCase(const Json& test, const TensorMap& tensors, TensorMap& results,
                     std::string& stage, size_t& outputs) {
  const std::string name = test.at("name");
  const std::string exported = test.at("exported");
  stage = "import";
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(test.at("model")));
  outputs = graph.outputs().size();
  stage = "run";
  DS_ASSIGN_OR_RETURN(const auto first, RunGraph(graph, test.at("inputs"), tensors));
  DS_RETURN_IF_ERROR(Keep(first, name + ".", results));
  stage = "export";
  DS_RETURN_IF_ERROR(ExportOnnx(graph, exported));
  stage = "import of what was exported";
  DS_ASSIGN_OR_RETURN(const Graph again, ImportOnnx(exported));
  stage = "run of what was exported";
  DS_ASSIGN_OR_RETURN(const auto second, RunGraph(again, test.at("inputs"), tensors));
  DS_RETURN_IF_ERROR(Keep(second, name + ".again.", results));
  stage = "done";
  return absl::OkStatus();
}

absl::Status RunAll(char** paths) {
  std::ifstream file(paths[0]);
  const Json spec = Json::parse(file);
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(paths[1]));
  std::ofstream lines(paths[2]);
  TensorMap results;
  for (const Json& test : spec) {
    std::string stage;
    size_t outputs = 0;
    const absl::Status status = RunCase(test, tensors, results, stage, outputs);
    const Json line = {{"name", test.at("name")},
                       {"stage", stage},
                       {"error", std::string(status.message())},
                       {"outputs", outputs}};
    lines << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  return WriteSafetensors(paths[3], results);
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: node_runner SPEC IN RESULTS OUT\n");
    return 2;
  }
  const absl::Status status = ds::RunAll(argv + 1);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
