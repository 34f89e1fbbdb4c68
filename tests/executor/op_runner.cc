// op_runner SPEC IN OUT: runs one-node graphs for op_forward_test.py. SPEC is a JSON list of cases,
// each with its node (op, attributes, inputs by name in the safetensors file IN, or null) and
// number of outputs; results go to OUT as "<case>.<output>".
#include <cstdio>
#include <fstream>

#include "ATen/ATen.h"
#include "base/status.h"
#include "base/tensor/int_tensor.h"
#include "base/tensor/safetensors.h"
#include "executor/graph_module.h"
#include "graph/schema/schema.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Attribute> ReadAttribute(const Json& value, const TensorMap& tensors) {
  const std::string kind = value.at(0);
  const Json& content = value.at(1);
  if (kind == "i") return content.get<int64_t>();
  if (kind == "f") return content.get<float>();
  if (kind == "s") return content.get<std::string>();
  if (kind == "is") return content.get<std::vector<int64_t>>();
  if (kind == "ss") return content.get<std::vector<std::string>>();
  if (kind == "t") return tensors.at(content.get<std::string>());
  return absl::InvalidArgumentError("attribute kind " + kind);
}

absl::StatusOr<std::vector<at::Tensor>> Run(const Json& test, const TensorMap& tensors) {
  Graph graph;
  Node node;
  node.name = test.at("name");
  node.op = test.at("op");
  for (const auto& [key, value] : test.at("attributes").items()) {
    DS_ASSIGN_OR_RETURN(node.attributes[key], ReadAttribute(value, tensors));
  }
  std::vector<at::Tensor> inputs;
  for (const Json& operand : test.at("inputs")) {
    if (operand.is_null()) {
      node.inputs.push_back(kNoValue);
      continue;
    }
    const std::string name = operand.at("tensor");
    Tensor tensor = tensors.at(name);
    if (operand.contains("dtype")) {  // smaller than what a safetensors file holds
      DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromName(operand.at("dtype").get<std::string>()));
      DS_ASSIGN_OR_RETURN(const std::vector<int32_t> values, IntValues(tensor));
      DS_ASSIGN_OR_RETURN(tensor, IntTensor(dtype, tensor.shape(), values));
    }
    if (operand.at("constant")) {
      node.inputs.push_back(graph.AddInitializer(name, tensor, false));
    } else {
      node.inputs.push_back(graph.AddInput(name, tensor.dtype(), tensor.shape()));
      inputs.push_back(ToTorch(tensor));
    }
  }
  for (int i = 0; i < test.at("outputs"); ++i) {
    node.outputs.push_back(graph.AddValue("out" + std::to_string(i)));
    graph.MarkOutput(node.outputs.back());
  }
  graph.AddNode(std::move(node));
  DS_RETURN_IF_ERROR(InferShapes(graph));  // wide unsigned results are told by their type
  DS_ASSIGN_OR_RETURN(const auto module, GraphModule::Create(std::move(graph)));
  return module->Forward(inputs);
}

absl::Status RunAll(const char* spec_path, const char* in_path, const char* out_path) {
  std::ifstream file(spec_path);
  const Json spec = Json::parse(file);
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(in_path));
  TensorMap results;
  for (const Json& test : spec) {
    const std::string name = test.at("name");
    const auto outputs = Run(test, tensors);
    if (!outputs.ok()) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), outputs.status().ToString().c_str());
      continue;  // its missing result is the script's failure
    }
    for (size_t i = 0; i < outputs->size(); ++i) {
      DS_ASSIGN_OR_RETURN(results[name + "." + std::to_string(i)], FromTorch((*outputs)[i]));
    }
  }
  return WriteSafetensors(out_path, results);
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: op_runner SPEC IN OUT\n");
    return 2;
  }
  const absl::Status status = ds::RunAll(argv[1], argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
