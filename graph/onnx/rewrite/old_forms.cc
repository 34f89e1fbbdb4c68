// What operators looked like in opsets 7 to 12, and LSTM, GRU and RNN of layout 1.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/expand/expand.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

class OldForm {
 public:
  OldForm(Graph& graph, Node& node) : like_(node), emit_(graph, like_), node_(node) {}

  absl::Status Update(int opset) {
    const std::string& op = node_.op;
    if (op == "Scatter") node_.op = "ScatterElements";
    if (opset < 11 && op == "Clip") {
      DS_RETURN_IF_ERROR(FloatToInput("min", 1));
      return FloatToInput("max", 2);
    }
    if (opset < 11 && op == "Pad") {
      IntsToInput("pads", 1);
      return FloatToInput("value", 2);
    }
    if (opset < 10 && op == "Slice") {
      IntsToInput("starts", 1);
      IntsToInput("ends", 2);
      IntsToInput("axes", 3);
    }
    if (opset < 10 && op == "TopK") IntToInput("k", 1);
    if (opset < 11 && op == "Resize") UpdateResize();
    if (opset < 16 && op == "RoiAlign") {  // half a pixel further; the attribute came later
      node_.attributes["coordinate_transformation_mode"] = std::string("output_half_pixel");
    }
    return absl::OkStatus();
  }

 private:
  void SetInput(size_t slot, ValueId value) {
    node_.inputs.resize(std::max(node_.inputs.size(), slot + 1), kNoValue);
    node_.inputs[slot] = value;
  }

  // An attribute of another type is left for the schema to refuse.
  void IntsToInput(const std::string& key, size_t slot) {
    auto it = node_.attributes.find(key);
    if (it == node_.attributes.end()) return;
    const auto* values = std::get_if<std::vector<int64_t>>(&it->second);
    if (values == nullptr) return;
    const Shape shape = {static_cast<int64_t>(values->size())};
    SetInput(slot, emit_.Constant(key, Tensor::From<int64_t>(shape, *values)));
    node_.attributes.erase(it);
  }

  void IntToInput(const std::string& key, size_t slot) {
    auto it = node_.attributes.find(key);
    const auto* value = it == node_.attributes.end() ? nullptr : std::get_if<int64_t>(&it->second);
    if (value == nullptr) return;
    SetInput(slot, emit_.Constant(key, Tensor::From<int64_t>({1}, {*value})));
    node_.attributes.erase(it);
  }

  // In the type of input 0.
  absl::Status FloatToInput(const std::string& key, size_t slot) {
    auto it = node_.attributes.find(key);
    const float* value = it == node_.attributes.end() ? nullptr : std::get_if<float>(&it->second);
    if (value == nullptr) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(const ValueId constant, emit_.Number(key, *value, emit_.In(0)));
    SetInput(slot, constant);
    node_.attributes.erase(it);
    return absl::OkStatus();
  }

  // Opset 10 had inputs X and scales, and one way to compute coordinates. The nearest element was
  // the one before where an axis grows, and the one behind where it shrinks: a node that does both
  // becomes two.
  void UpdateResize() {
    node_.attributes["coordinate_transformation_mode"] = std::string("asymmetric");
    node_.attributes["nearest_mode"] = std::string("floor");
    const auto mode = node_.attributes.find("mode");
    const std::string* named =
        mode == node_.attributes.end() ? nullptr : std::get_if<std::string>(&mode->second);
    const bool nearest = named == nullptr || *named == "nearest";
    const Tensor* scales = node_.inputs.size() == 2 ? emit_.ConstantIn(1) : nullptr;
    if (nearest && scales != nullptr && scales->dtype() == DType::kFloat32) {
      Tensor shrinks = scales->Clone(), grows = scales->Clone();
      for (float& scale : shrinks.mutable_span<float>()) scale = std::min(scale, 1.0F);
      for (float& scale : grows.mutable_span<float>()) scale = std::max(scale, 1.0F);
      const auto any = [](const Tensor& parts) {
        const absl::Span<const float> all = parts.span<float>();
        return std::any_of(all.begin(), all.end(), [](float scale) { return scale != 1.0F; });
      };
      Attributes behind = node_.attributes;
      behind["nearest_mode"] = std::string("ceil");
      if (any(shrinks) && any(grows)) {
        const ValueId by = emit_.Constant("shrinks", std::move(shrinks));
        node_.inputs[0] = emit_.Op("Resize", {node_.inputs[0], kNoValue, by}, std::move(behind));
        node_.inputs[1] = emit_.Constant("grows", std::move(grows));
      } else if (any(shrinks)) {
        node_.attributes = std::move(behind);
      }
    }
    if (node_.inputs.size() == 2) node_.inputs.insert(node_.inputs.begin() + 1, kNoValue);
  }

  const Node like_;
  Emitter emit_;
  Node& node_;
};

bool IsRecurrent(const std::string& op) { return op == "LSTM" || op == "GRU" || op == "RNN"; }

}  // namespace

absl::Status UpdateOldForm(Graph& graph, Node& node, int opset) {
  return OldForm(graph, node).Update(opset);
}

absl::StatusOr<bool> ExpandRecurrent(Graph& graph, const Node& node) {
  auto it = node.attributes.find("layout");
  if (!IsRecurrent(node.op) || it == node.attributes.end()) return false;
  const auto* layout = std::get_if<int64_t>(&it->second);
  if (layout == nullptr || *layout < 0 || *layout > 1) {
    return absl::InvalidArgumentError("attribute \"layout\" must be 0 or 1");
  }
  Node inner = node;
  inner.attributes.erase("layout");
  if (*layout == 0) {
    graph.AddNode(std::move(inner));
    return true;
  }
  Emitter emit(graph, node);
  const std::vector<int64_t> exchanged = {1, 0, 2};
  for (const size_t slot : {0, 5, 6}) {
    if (emit.Has(slot)) {
      inner.inputs[slot] = emit.Op("Transpose", {emit.In(slot)}, {{"perm", exchanged}});
    }
  }
  inner.name = absl::StrCat(node.name, ".steps_first");
  for (size_t i = 0; i < inner.outputs.size(); ++i) {
    inner.outputs[i] = graph.AddValue(absl::StrCat(node.name, ".steps_first"));
  }
  const std::vector<ValueId> results = inner.outputs;
  graph.AddNode(std::move(inner));
  const std::vector<int64_t> batch_first = {2, 0, 1, 3};
  for (size_t i = 0; i < results.size(); ++i) {
    emit.Finish("Transpose", {results[i]}, {{"perm", i == 0 ? batch_first : exchanged}}, i);
  }
  return true;
}

}  // namespace ds::onnx_io
