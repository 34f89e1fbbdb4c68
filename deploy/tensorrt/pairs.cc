#include "deploy/tensorrt/pairs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/tensor/int_tensor.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/weights.h"

namespace ds::qdq {
namespace {

// The node's scales; none if they are no float32 constant.
absl::Span<const float> ScalesOf(const Graph& graph, const Node& node) {
  const Tensor* scale = graph.Constant(node.inputs[1]);
  if (scale == nullptr || scale->dtype() != DType::kFloat32) return {};
  return scale->span<float>();
}

bool SameScales(const Graph& graph, const Node& a, const Node& b) {
  const absl::Span<const float> scales = ScalesOf(graph, a);
  return !scales.empty() && scales == ScalesOf(graph, b);
}

const char* const kMendZero = "; calibrate symmetrically (profile 'tensorrt')";

std::string First(std::initializer_list<std::string> reasons) {
  for (const std::string& reason : reasons) {
    if (!reason.empty()) return reason;
  }
  return "";
}

}  // namespace

TrtPairs::TrtPairs(const Graph& graph, const Uses& uses)
    : graph_(graph), uses_(uses), readers_(graph.values().size()) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId id : graph.nodes()[i].inputs) {
      if (id != kNoValue) readers_[id].push_back(static_cast<int>(i));
    }
  }
}

const Node* TrtPairs::Maker(ValueId id) const {
  const int producer = uses_.ProducerIndex(id);
  return producer < 0 ? nullptr : &graph_.nodes()[producer];
}

std::string TrtPairs::WhyRefused(const Node& node) const {
  if (node.op == "QuantizeLinear") return Quantise(node);
  if (node.op == "DequantizeLinear") return Dequantise(node);
  const ValueId input = node.inputs.empty() ? kNoValue : node.inputs[0];
  if (input == kNoValue || BitWidth(graph_.value(input).dtype) > 8) return "";
  if (node.op == "Clip" && !IsFloatingPoint(graph_.value(input).dtype)) {
    return "it clips codes: TensorRT's activations have 8 bits, no fewer";
  }
  return "";
}

bool TrtPairs::IsOfConstants(const Node& node) const {
  if (node.op == "DequantizeLinear" || node.inputs.empty()) return false;
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [this](ValueId id) { return id == kNoValue || graph_.IsInitializer(id); });
}

// Positive constants.
std::string TrtPairs::Scales(const Node& node) const {
  const Tensor* scale = graph_.Constant(node.inputs[1]);
  if (scale == nullptr) {
    return absl::StrCat("its scale '", graph_.value(node.inputs[1]).name,
                        "' is computed: it must be a constant");
  }
  if (scale->dtype() != DType::kFloat32) return "its scale is not float32";
  if (scale->num_elements() == 0) return "its scale is empty";
  const auto values = scale->span<float>();
  const bool fit =
      std::all_of(values.begin(), values.end(), [](float s) { return std::isfinite(s) && s > 0; });
  return fit ? "" : "a scale is not positive";
}

std::string TrtPairs::Zeros(const Node& node) const {
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return "";
  const Tensor* zero_point = graph_.Constant(node.inputs[2]);
  if (zero_point == nullptr) return "its zero point is computed: it must be 0, or left out";
  const auto values = IntValues(*zero_point);
  const bool zero =
      values.ok() && std::all_of(values->begin(), values->end(), [](int32_t z) { return z == 0; });
  return zero ? "" : absl::StrCat("its zero point is not 0", kMendZero);
}

std::string TrtPairs::Quantise(const Node& node) const {
  const DType type = graph_.value(node.outputs[0]).dtype;
  if (type != DType::kInt8) {
    return absl::StrCat("its codes are ", Name(type), " instead of int8", kMendZero);
  }
  const Tensor* scale = graph_.Constant(node.inputs[1]);
  const bool many = scale != nullptr && scale->num_elements() > 1;
  if (many && !graph_.IsInitializer(node.inputs[0])) {
    return "scales for channels of an activation: TensorRT has one for the whole tensor";
  }
  return First({Scales(node), Zeros(node)});
}

std::string TrtPairs::Dequantise(const Node& node) const {
  const std::string pair = First({Scales(node), Zeros(node)});
  if (const Tensor* codes = graph_.Constant(node.inputs[0])) {
    const std::string weight = Weight(node, *codes);
    return weight.empty() ? pair : weight;
  }
  const Node* maker = Maker(node.inputs[0]);
  if (maker != nullptr && maker->op == "Cast" && graph_.IsInitializer(maker->inputs[0])) {
    return "a Cast stands between the constant codes and it: store them as int8 or int4";
  }
  if (!pair.empty()) return pair;
  if (maker == nullptr || maker->op != "QuantizeLinear") {
    return "its codes come from no QuantizeLinear";
  }
  if (SameScales(graph_, node, *maker)) return "";
  return "its scale is another one than that of the QuantizeLinear before it";
}

std::string TrtPairs::Weight(const Node& node, const Tensor& codes) const {
  if (codes.dtype() == DType::kInt32) {
    return "it dequantises int32: leave the bias in float, TensorRT rounds it itself";
  }
  if (codes.dtype() != DType::kInt8 && codes.dtype() != DType::kInt4) {
    return absl::StrCat("its codes are ", Name(codes.dtype()), " instead of int8 or int4");
  }
  const Tensor* scale = graph_.Constant(node.inputs[1]);
  if (scale == nullptr) return "";  // Scales says so
  for (const int index : readers_[node.outputs[0]]) {
    const Node& reader = graph_.nodes()[index];
    for (const int slot : WeightSlots(reader)) {
      if (reader.inputs[slot] != node.outputs[0]) continue;
      if (codes.dtype() == DType::kInt4 && reader.op == "Conv") {
        return "int4 weights of a convolution: TensorRT has them for Gemm and MatMul only";
      }
      const int axis = OutputAxis(reader, slot, codes.rank());
      const bool blocked = node.attributes.contains("block_size");
      const int64_t given = node.GetInt("axis", 1);
      const int64_t at = given < 0 ? given + codes.rank() : given;
      if (!blocked && scale->num_elements() > 1 && at != axis) {
        return absl::StrCat("its scales lie along axis ", at, " instead of ", axis,
                            ", where the outputs are");
      }
    }
  }
  return Blocks(node, codes);
}

std::string TrtPairs::Blocks(const Node& node, const Tensor& codes) const {
  const int64_t block = node.GetInt("block_size", 0);
  if (block == 0) return "";
  if (codes.dtype() != DType::kInt4) return "scales for blocks are for int4 weights only";
  const int64_t given = node.GetInt("axis", 1);
  const int64_t axis = given < 0 ? given + codes.rank() : given;
  if (block < 0 || axis < 0 || axis >= codes.rank()) return "its blocks do not fit its codes";
  const int64_t extent = codes.dim(static_cast<int>(axis));
  if (extent % block == 0) return "";
  return absl::StrCat("blocks of ", block, " do not divide ", extent);
}

bool TrtPairs::IsDequantised(ValueId id) const {
  const Node* maker = Maker(id);
  return maker != nullptr && maker->op == "DequantizeLinear" && Dequantise(*maker).empty();
}

bool TrtPairs::IsQuantised(ValueId id) const {
  return std::any_of(readers_[id].begin(), readers_[id].end(), [this](int index) {
    const Node& reader = graph_.nodes()[index];
    return reader.op == "QuantizeLinear" && Quantise(reader).empty();
  });
}

bool TrtPairs::ComesFrom(ValueId id, const char* op) const {
  const Node* dequantise = Maker(id);
  if (dequantise == nullptr || dequantise->op != "DequantizeLinear") return false;
  const Node* quantise = Maker(dequantise->inputs[0]);
  if (quantise == nullptr || quantise->op != "QuantizeLinear") return false;
  const Node* maker = Maker(quantise->inputs[0]);
  return maker != nullptr && maker->op == op;
}

bool TrtPairs::SameScale(ValueId input, ValueId result) const {
  const Node* dequantise = Maker(input);
  if (dequantise == nullptr || dequantise->op != "DequantizeLinear") return false;
  return std::any_of(readers_[result].begin(), readers_[result].end(), [&](int index) {
    const Node& reader = graph_.nodes()[index];
    return reader.op == "QuantizeLinear" && SameScales(graph_, reader, *dequantise);
  });
}

std::optional<DType> TrtPairs::WeightType(ValueId id) const {
  const Node* maker = Maker(id);
  if (maker == nullptr || maker->op != "DequantizeLinear") return std::nullopt;
  const Tensor* codes = graph_.Constant(maker->inputs[0]);
  if (codes == nullptr) return std::nullopt;
  return codes->dtype();
}

}  // namespace ds::qdq
