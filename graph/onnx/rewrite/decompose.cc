#include "graph/onnx/rewrite/decompose.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/float16.h"

namespace ds::onnx_io {
namespace {

// Opsets that brought an operator in, or changed it.
constexpr int kHardSwishOpset = 14;
constexpr int kReduceAxesInputOpset = 18;
constexpr int kSplitNumOutputsOpset = 18;
constexpr int kGeluOpset = 20;
constexpr int kGridSampleModesOpset = 20;

class Decomposer {
 public:
  Decomposer(const Graph& graph, int opset) : graph_(graph), opset_(opset) {}

  absl::StatusOr<Graph> Run() {
    const std::vector<Node> nodes = std::exchange(graph_.mutable_nodes(), {});
    for (const Node& node : nodes) {
      const absl::Status done = Decompose(node);
      if (!done.ok())
        return Annotate(done, absl::StrCat("node \"", node.name, "\" (", node.op, ")"));
    }
    return std::move(graph_);
  }

 private:
  absl::Status Decompose(Node node) {
    if (node.op == "SiLU") return DecomposeGated(node, "Sigmoid", {});
    if (node.op == "HardSwish" && opset_ < kHardSwishOpset) {
      return DecomposeGated(node, "HardSigmoid", {{"alpha", 1.0F / 6.0F}, {"beta", 0.5F}});
    }
    if (node.op == "Gelu" && opset_ < kGeluOpset) return DecomposeGelu(node);
    if (node.op == "Reshape" && node.GetInt("allowzero", 0) == 0)
      node.attributes.erase("allowzero");
    graph_.AddNode(std::move(node));
    return absl::OkStatus();
  }

  // x * gate(x)
  absl::Status DecomposeGated(const Node& node, std::string gate, Attributes attributes) {
    const ValueId x = node.inputs[0];
    const ValueId gated = Emit(node, std::move(gate), {x}, std::move(attributes));
    Finish(node, "Mul", {x, gated});
    return absl::OkStatus();
  }

  // none: x/2 * (1 + erf(x / sqrt 2)); tanh: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
  absl::Status DecomposeGelu(const Node& node) {
    const ValueId x = node.inputs[0];
    ValueId curve = kNoValue;
    DS_ASSIGN_OR_RETURN(const ValueId one, Scalar(node, "one", 1.0));
    DS_ASSIGN_OR_RETURN(const ValueId half, Scalar(node, "half", 0.5));
    if (node.GetString("approximate", "none") == "tanh") {
      DS_ASSIGN_OR_RETURN(const ValueId cubic, Scalar(node, "cubic", 0.044715));
      DS_ASSIGN_OR_RETURN(const ValueId scale, Scalar(node, "scale", std::sqrt(2.0 / M_PI)));
      const ValueId square = Emit(node, "Mul", {x, x});
      const ValueId scaled_square = Emit(node, "Mul", {square, cubic});
      const ValueId factor = Emit(node, "Add", {scaled_square, one});
      const ValueId polynomial = Emit(node, "Mul", {x, factor});
      curve = Emit(node, "Tanh", {Emit(node, "Mul", {polynomial, scale})});
    } else {
      DS_ASSIGN_OR_RETURN(const ValueId root, Scalar(node, "root", std::sqrt(2.0)));
      curve = Emit(node, "Erf", {Emit(node, "Div", {x, root})});
    }
    const ValueId gate = Emit(node, "Add", {curve, one});
    Finish(node, "Mul", {Emit(node, "Mul", {x, gate}), half});
    return absl::OkStatus();
  }

  // A constant of the type of the node's input, since operators do not convert.
  absl::StatusOr<ValueId> Scalar(const Node& node, const std::string& what, double number) {
    const DType dtype = graph_.value(node.inputs[0]).dtype;
    Tensor tensor;
    switch (dtype) {
      case DType::kFloat32:
        tensor = Tensor::Scalar(static_cast<float>(number));
        break;
      case DType::kFloat64:
        tensor = Tensor::Scalar(number);
        break;
      case DType::kFloat16:
      case DType::kBFloat16: {
        tensor = Tensor(dtype, {});
        const uint16_t bits = dtype == DType::kFloat16 ? Float16(static_cast<float>(number)).bits
                                                       : BFloat16(static_cast<float>(number)).bits;
        std::memcpy(tensor.mutable_data(), &bits, sizeof(bits));
        break;
      }
      default:
        return absl::InvalidArgumentError("its input is not a floating-point tensor");
    }
    return graph_.AddInitializer(absl::StrCat(node.name, ".", what), std::move(tensor), false);
  }

  ValueId Emit(const Node& like, std::string op, std::vector<ValueId> inputs,
               Attributes attributes = {}) {
    const ValueId output =
        graph_.AddValue(absl::StrCat(like.name, ".", op), graph_.value(like.outputs[0]).dtype);
    graph_.AddNode({.name = graph_.value(output).name,
                    .op = std::move(op),
                    .inputs = std::move(inputs),
                    .outputs = {output},
                    .attributes = std::move(attributes)});
    return output;
  }

  void Finish(const Node& node, std::string op, std::vector<ValueId> inputs) {
    graph_.AddNode({.name = node.name,
                    .op = std::move(op),
                    .inputs = std::move(inputs),
                    .outputs = node.outputs,
                    .attributes = {}});
  }

  Graph graph_;
  const int opset_;
};

}  // namespace

void UseNewForms(Graph& graph, int opset) {
  for (Node& node : graph.mutable_nodes()) {
    const bool reduces = node.op.starts_with("Reduce") && node.attributes.contains("axes");
    if (reduces && (opset >= kReduceAxesInputOpset || node.op == "ReduceSum")) {
      const std::vector<int64_t> axes = node.GetInts("axes", {});
      node.attributes.erase("axes");
      const Shape shape = {static_cast<int64_t>(axes.size())};
      node.inputs.push_back(graph.AddInitializer(absl::StrCat(node.name, ".axes"),
                                                 Tensor::From<int64_t>(shape, axes), false));
    }
    if (node.op == "GridSample" && opset < kGridSampleModesOpset) {
      const std::string mode = node.GetString("mode", "linear");
      if (mode != "nearest") node.attributes["mode"] = "bi" + mode;
    }
    if (node.op == "Split" && opset >= kSplitNumOutputsOpset && node.inputs.size() < 2) {
      node.attributes["num_outputs"] = static_cast<int64_t>(node.outputs.size());
    }
  }
}

absl::StatusOr<Graph> DecomposeForOpset(const Graph& graph, int opset) {
  if (opset < kOldestExportOpset || opset > kNewestExportOpset) {
    return absl::InvalidArgumentError(absl::StrCat("cannot export opset ", opset,
                                                   "; supported are ", kOldestExportOpset, " to ",
                                                   kNewestExportOpset, ", 17 is the default"));
  }
  return Decomposer(graph, opset).Run();
}

}  // namespace ds::onnx_io
