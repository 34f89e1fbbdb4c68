#include "deploy/qdq/writer.h"

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "base/tensor/int_tensor.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "quant/storage_type.h"

namespace ds::qdq {
namespace {

DType ByteType(const QuantType& type) { return type.is_signed ? DType::kInt8 : DType::kUInt8; }

// Rebuilds the graph's nodes with the quantisation between them.
class Writer {
 public:
  Writer(Graph graph, const QuantPlan& plan, const Placement& placement, const WeightPlan& weights,
         const QdqOptions& options)
      : graph_(std::move(graph)),
        plan_(plan),
        placement_(placement),
        weights_(weights),
        options_(options) {
    for (const Node& node : graph_.nodes()) node_names_.insert(node.name);
  }

  absl::StatusOr<Graph> Run() {
    std::vector<Node> nodes = std::exchange(graph_.mutable_nodes(), {});
    for (const ValueId input : graph_.inputs()) {
      if (!placement_.Quantised(input)) continue;
      const ValueId result = graph_.AddValue(graph_.value(input).name + ".dequantized");
      DS_RETURN_IF_ERROR(AddQdq(input, result, *placement_.values[input], /*clip=*/true));
      for (Node& node : nodes) {
        std::replace(node.inputs.begin(), node.inputs.end(), input, result);
      }
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      DS_RETURN_IF_ERROR(AddNode(std::move(nodes[i]), static_cast<int>(i)));
    }
    return Finish();
  }

 private:
  absl::Status AddNode(Node node, int index) {
    if (!plan_.left_in_float.contains(node.name)) {
      for (const int slot : WeightSlots(node)) DS_RETURN_IF_ERROR(UseWeight(node, slot));
      const auto bias = weights_.biases.find(index);
      if (bias != weights_.biases.end()) DS_RETURN_IF_ERROR(UseBias(node, bias->second));
      DS_RETURN_IF_ERROR(UseConstants(node));
    }
    KeepInFloat(node);
    // A clamp that saturation does already: its input goes where its result would.
    if (placement_.absorbed[index]) {
      const ValueId result = node.outputs[0];
      return AddQdq(node.inputs[0], result, *placement_.values[result], /*clip=*/true);
    }
    if (placement_.Quantised(node.outputs[0])) {
      const QuantParams& params = *placement_.values[node.outputs[0]];
      if (SaturatesAsHardSigmoid(node, params)) return AddHardSigmoid(node, params);
    }
    // The node writes values of new names; the old names are for what is dequantised, so that
    // readers and the graph's outputs stay as they are.
    const std::vector<ValueId> results = node.outputs;
    for (ValueId& id : node.outputs) {
      if (placement_.Quantised(id)) id = graph_.AddValue(graph_.value(id).name + ".real");
    }
    const std::vector<ValueId> reals = node.outputs;
    graph_.AddNode(std::move(node));
    for (size_t i = 0; i < results.size(); ++i) {
      if (reals[i] == results[i]) continue;
      DS_RETURN_IF_ERROR(AddQdq(reals[i], results[i], *placement_.values[results[i]],
                                !placement_.passes_on[index]));
    }
    return absl::OkStatus();
  }

  // ONNX Runtime quantises float weights and biases between codes on its own, to 8 bits, multiplies
  // by blocks only what is no dequantised code, and averages codes slowly. A Clip without bounds,
  // which changes nothing, hides the codes from it.
  void KeepInFloat(Node& node) {
    if (options_.profile != QdqProfile::kOnnxRuntime) return;
    const bool pools = node.op == "AveragePool";
    if (!pools && node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") return;
    const auto dequantize = [this](ValueId id) -> const Node* {
      const int producer = graph_.Producer(id);
      const Node* made = producer < 0 ? nullptr : &graph_.nodes()[producer];
      return made != nullptr && made->op == "DequantizeLinear" ? made : nullptr;
    };
    if (dequantize(node.inputs[0]) == nullptr) return;
    const Node* weight = pools ? nullptr : dequantize(node.inputs[1]);
    const bool in_blocks = weight != nullptr && weight->attributes.contains("block_size");
    if (!pools && !in_blocks && (node.op == "MatMul" || !graph_.IsInitializer(node.inputs[1]))) {
      return;
    }
    node.inputs[0] = Emit("Clip", node.name + ".in_float", {node.inputs[0]});
  }

  // x + beta / alpha, whose codes saturate at 0 and 1 / alpha; read at alpha times the scale, they
  // are the HardSigmoid's.
  absl::Status AddHardSigmoid(const Node& node, const QuantParams& params) {
    const float alpha = node.GetFloat("alpha", 0.2f), beta = node.GetFloat("beta", 0.5f);
    const std::string name = graph_.value(node.outputs[0]).name;
    const DType type = ByteType(params.type);
    const int32_t code = params.type.max();
    DS_ASSIGN_OR_RETURN(const ValueId stored, CodeConstant(type, code));
    DS_ASSIGN_OR_RETURN(const ValueId zero, CodeConstant(type, 0));
    const ValueId shift =
        Emit("DequantizeLinear", name + ".shift",
             {stored, ScaleConstant(beta / alpha / static_cast<float>(code)), zero});
    const ValueId sum = Emit("Add", name + ".shifted", {node.inputs[0], shift});
    return AddQdq(sum, node.outputs[0], params, /*clip=*/true, params.scales[0] / alpha);
  }

  // real -> QuantizeLinear [-> Clip of codes] -> DequantizeLinear -> result. `write_scale`: of the
  // QuantizeLinear, if it is another one.
  absl::Status AddQdq(ValueId real, ValueId result, const QuantParams& params, bool clip,
                      std::optional<float> write_scale = {}) {
    const std::string name = graph_.value(result).name;
    const DType type = ByteType(params.type);
    const ValueId scale = ScaleConstant(params.scales[0]);
    DS_ASSIGN_OR_RETURN(const ValueId zero_point, CodeConstant(type, params.zero_points[0]));
    const ValueId scale_before = write_scale ? ScaleConstant(*write_scale) : scale;
    ValueId codes = Emit("QuantizeLinear", name + ".codes", {real, scale_before, zero_point});
    DS_ASSIGN_OR_RETURN(const IntRange range, RangeOfInts(type));
    if (clip && (params.type.min() != range.min || params.type.max() != range.max)) {
      DS_ASSIGN_OR_RETURN(const ValueId low, CodeConstant(type, params.type.min()));
      DS_ASSIGN_OR_RETURN(const ValueId high, CodeConstant(type, params.type.max()));
      codes = Emit("Clip", name + ".clipped_codes", {codes, low, high});
    }
    graph_.AddNode({.name = NodeName(name + ".dequantize"),
                    .op = "DequantizeLinear",
                    .inputs = {codes, scale, zero_point},
                    .outputs = {result},
                    .attributes = {}});
    return absl::OkStatus();
  }

  // Constants that are added or multiplied.
  absl::Status UseConstants(Node& node) {
    for (ValueId& id : node.inputs) {
      const auto planned =
          id == kNoValue ? plan_.constants.end() : plan_.constants.find(graph_.value(id).name);
      if (planned == plan_.constants.end() || (node.op != "Add" && node.op != "Mul")) continue;
      auto made = constants_.find(id);
      if (made == constants_.end()) {
        DS_ASSIGN_OR_RETURN(const ValueId constant, AddConstant(id, planned->second));
        made = constants_.emplace(id, constant).first;
      }
      id = made->second;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ValueId> AddConstant(ValueId id, const QuantParams& params) {
    const std::string name = graph_.value(id).name;
    const Tensor constant = *graph_.Constant(id);
    std::vector<int32_t> codes(static_cast<size_t>(constant.num_elements()));
    QuantizeValues(constant.span<float>(), constant.shape(), params, absl::MakeSpan(codes));
    const DType type = ByteType(params.type);
    DS_ASSIGN_OR_RETURN(Tensor packed, IntTensor(type, constant.shape(), codes));
    const ValueId stored = graph_.AddInitializer(name + ".codes", std::move(packed), false);
    DS_ASSIGN_OR_RETURN(const ValueId zero_point, CodeConstant(type, params.zero_points[0]));
    return Emit("DequantizeLinear", name + ".dequantized",
                {stored, ScaleConstant(params.scales[0]), zero_point});
  }

  absl::Status UseWeight(Node& node, int slot) {
    const ValueId id = node.inputs[slot];
    const auto planned = weights_.weights.find(id);
    if (planned == weights_.weights.end() || !graph_.IsInitializer(id)) return absl::OkStatus();
    // A convolution and another operator may share a weight, but hardly ever do.
    const auto key = std::make_pair(id, node.op == "Conv");
    auto made = dequantized_.find(key);
    if (made == dequantized_.end()) {
      DS_ASSIGN_OR_RETURN(const ValueId weight, AddWeight(id, planned->second, node.op == "Conv"));
      made = dequantized_.emplace(key, weight).first;
    }
    node.inputs[slot] = made->second;
    return absl::OkStatus();
  }

  // The initialiser that a weight's codes are kept in, and the Cast behind it, if any.
  absl::StatusOr<std::pair<ValueId, DType>> StoreWeight(const std::string& name,
                                                        const Tensor& weight,
                                                        const QuantParams& params, bool of_conv) {
    std::vector<int32_t> codes(static_cast<size_t>(weight.num_elements()));
    QuantizeValues(weight.span<float>(), weight.shape(), params, absl::MakeSpan(codes));
    DType storage = StorageType(params.type);
    if (options_.profile == QdqProfile::kTensorRT && BitWidth(storage) < 8) {
      storage = of_conv ? DType::kInt8 : DType::kInt4;
    }
    DS_ASSIGN_OR_RETURN(Tensor packed, IntTensor(storage, weight.shape(), codes));
    const ValueId stored = graph_.AddInitializer(name + ".codes", std::move(packed), false);
    // Blocks are multiplied as they are stored (MatMulNBits).
    const bool cast = options_.profile == QdqProfile::kOnnxRuntime && BitWidth(storage) < 8 &&
                      options_.small_weights == SmallWeights::kCast && params.group == 0;
    if (!cast) return std::make_pair(stored, storage);
    const DType bytes = ByteType(params.type);
    return std::make_pair(Emit("Cast", name + ".bytes", {stored}, {{"to", OnnxTypeNumber(bytes)}}),
                          bytes);
  }

  // ONNX Runtime wants the zero point of a matrix even where it is 0; that of a convolution is left
  // out then, which in a small network's file of 4 bits shows.
  absl::StatusOr<ValueId> AddWeight(ValueId id, const QuantParams& params, bool of_conv) {
    const std::string name = graph_.value(id).name;
    const Tensor weight = *graph_.Constant(id);
    DS_ASSIGN_OR_RETURN(const auto stored, StoreWeight(name, weight, params, of_conv));
    const Shape shape = ScaleShape(params, weight.shape());
    const ValueId scale =
        graph_.AddInitializer(name + ".scale", Tensor::From<float>(shape, params.scales), false);
    weight_scales_[id] = scale;
    std::vector<ValueId> inputs = {stored.first, scale};
    const auto& zeros = params.zero_points;
    const bool shifted = std::count(zeros.begin(), zeros.end(), 0) != std::ssize(zeros);
    const bool wants_zero =
        !of_conv && params.group == 0 && options_.profile == QdqProfile::kOnnxRuntime;
    if (shifted || wants_zero) {
      DS_ASSIGN_OR_RETURN(const ValueId zero_point, CodeConstant(stored.second, shape, zeros));
      inputs.push_back(zero_point);
    }
    Attributes attributes;
    if (params.axis != QuantParams::kWholeTensor) attributes["axis"] = int64_t{params.axis};
    if (params.group > 0) attributes["block_size"] = params.group;
    return Emit("DequantizeLinear", name + ".dequantized", std::move(inputs), attributes);
  }

  absl::Status UseBias(Node& node, const BiasUse& use) {
    const QuantParams& weight = weights_.weights.at(use.weight);
    const float input_scale = placement_.values[use.input]->scales[0];
    const auto key = std::make_tuple(use.bias, use.weight, std::bit_cast<uint32_t>(input_scale));
    auto made = biases_.find(key);
    if (made == biases_.end()) {
      const std::string name = graph_.value(use.bias).name;
      const auto bias = graph_.Constant(use.bias)->span<float>();
      const std::vector<int32_t> codes = BiasCodes(bias, input_scale, weight.scales);
      DS_ASSIGN_OR_RETURN(const ValueId stored, BiasConstant(name, codes));
      // A product of constants, which every runtime folds: in the file it takes less than the
      // numbers would.
      const ValueId scale =
          Emit("Mul", name + ".scale", {weight_scales_.at(use.weight), ScaleConstant(input_scale)});
      Attributes attributes;
      if (weight.axis != QuantParams::kWholeTensor) attributes["axis"] = int64_t{0};
      const ValueId real =
          Emit("DequantizeLinear", name + ".dequantized", {stored, scale}, attributes);
      made = biases_.emplace(key, real).first;
    }
    node.inputs[2] = made->second;
    return absl::OkStatus();
  }

  // int32; from int16 by a Cast, which is folded like that of small weights, where this takes fewer
  // bytes in a file.
  absl::StatusOr<ValueId> BiasConstant(const std::string& name, const std::vector<int32_t>& codes) {
    const auto fits = [](int32_t code) { return code >= INT16_MIN && code <= INT16_MAX; };
    const bool small = options_.small_weights == SmallWeights::kCast && codes.size() >= 32 &&
                       std::all_of(codes.begin(), codes.end(), fits);
    const Shape shape = {static_cast<int64_t>(codes.size())};
    DS_ASSIGN_OR_RETURN(Tensor tensor,
                        IntTensor(small ? DType::kInt16 : DType::kInt32, shape, codes));
    const ValueId stored = graph_.AddInitializer(name + ".codes", std::move(tensor), false);
    if (!small) return stored;
    return Emit("Cast", name + ".words", {stored}, {{"to", OnnxTypeNumber(DType::kInt32)}});
  }

  absl::StatusOr<Graph> Finish() {
    DS_RETURN_IF_ERROR(graph_.SortTopologically());
    DS_RETURN_IF_ERROR(EliminateDeadNodes(graph_));
    DS_RETURN_IF_ERROR(graph_.Validate());
    DS_RETURN_IF_ERROR(InferShapes(graph_));
    return std::move(graph_);
  }

  ValueId Emit(std::string op, const std::string& name, std::vector<ValueId> inputs,
               Attributes attributes = {}) {
    const ValueId output = graph_.AddValue(name);
    graph_.AddNode({.name = NodeName(graph_.value(output).name),
                    .op = std::move(op),
                    .inputs = std::move(inputs),
                    .outputs = {output},
                    .attributes = std::move(attributes)});
    return output;
  }

  std::string NodeName(std::string name) {
    while (!node_names_.insert(name).second) name += "_";
    return name;
  }

  // Constants are shared: equal scales and zero points are one initialiser.
  ValueId ScaleConstant(float scale) {
    auto [entry, added] = scales_.try_emplace(std::bit_cast<uint32_t>(scale), kNoValue);
    if (added) entry->second = graph_.AddInitializer("scale", Tensor::Scalar(scale), false);
    return entry->second;
  }

  absl::StatusOr<ValueId> CodeConstant(DType type, int32_t code) {
    return CodeConstant(type, {}, {code});
  }
  absl::StatusOr<ValueId> CodeConstant(DType type, const Shape& shape,
                                       const std::vector<int32_t>& codes) {
    auto [entry, added] = codes_.try_emplace({type, shape, codes}, kNoValue);
    if (added) {
      DS_ASSIGN_OR_RETURN(Tensor tensor, IntTensor(type, shape, codes));
      entry->second = graph_.AddInitializer("zero_point", std::move(tensor), false);
    }
    return entry->second;
  }

  Graph graph_;
  const QuantPlan& plan_;
  const Placement& placement_;
  const WeightPlan& weights_;
  const QdqOptions options_;
  absl::flat_hash_set<std::string> node_names_;
  std::map<ValueId, ValueId> constants_;                     // dequantised
  std::map<std::pair<ValueId, bool>, ValueId> dequantized_;  // weight, of a convolution?
  std::map<ValueId, ValueId> weight_scales_;                 // weight -> its scales
  std::map<std::tuple<ValueId, ValueId, uint32_t>, ValueId> biases_;
  std::map<uint32_t, ValueId> scales_;
  std::map<std::tuple<DType, Shape, std::vector<int32_t>>, ValueId> codes_;
};

}  // namespace

absl::StatusOr<Graph> WriteQdq(Graph graph, const QuantPlan& plan, const Placement& placement,
                               const WeightPlan& weights, const QdqOptions& options) {
  return Writer(std::move(graph), plan, placement, weights, options).Run();
}

}  // namespace ds::qdq
