#include "graph/onnx/rewrite/opset.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/tensor/dtype.h"
#include "graph/onnx/rewrite/node_attributes.h"

namespace ds::onnx_io {
namespace {

constexpr int kFourBitOpset = 21;
constexpr int kTwoBitOpset = 25;

// Operators that came after opset 13.
struct OpRow {
  int opset;
  const char* ops;
};
constexpr OpRow kOps[] = {
    {14, "HardSwish Trilu"},
    {16, "GridSample"},
    {17, "LayerNormalization"},
    {18, "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Mish"},
    {20, "Gelu"},
    {21, "GroupNormalization"},  // 18 had a scale a group
    {23, "RMSNormalization"},
};

// Element types that operators took in after opset 13.
struct TypeRow {
  int opset;
  std::vector<DType> types;
  const char* ops;
};

const std::vector<TypeRow>& TypeRows() {
  using enum DType;
  static const auto& rows = *new std::vector<TypeRow>{
      {14, {kInt8, kUInt8, kInt16, kUInt16}, "Add Sub Mul Div"},
      {14, {kInt8, kInt16, kInt32, kInt64}, "Relu"},
      {14, {kFloat16, kBFloat16}, "CumSum"},
      {14, {kBFloat16}, "BatchNormalization"},
      {16, {kBFloat16}, "GreaterOrEqual LessOrEqual LeakyRelu PRelu Where"},
      {19, {kFloat16, kBFloat16}, "QuantizeLinear DequantizeLinear"},
      {20, {kFloat16, kBFloat16}, "IsInf"},
      {20, {kBFloat16}, "ConstantOfShape"},
      {20, {kBool}, "ReduceMax ReduceMin"},
      {21, {kInt16, kUInt16}, "QuantizeLinear DequantizeLinear"},
      {22,
       {kBFloat16},
       "Acos Acosh Asin Asinh Atan Atanh AveragePool Conv ConvTranspose Cos Cosh Elu EyeLike GRU "
       "GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample HardSigmoid HardSwish "
       "InstanceNormalization LSTM LpNormalization LpPool MaxPool Mish RNN RoiAlign Round Selu "
       "Sin Sinh Softplus Softsign Tan ThresholdedRelu"},
      {24, {kBFloat16}, "TopK"},
      {27, {kFloat16, kBFloat16}, "Range"},
      {28, {kFloat64, kFloat16, kBFloat16}, "Celu"},
      {28, {kBFloat16}, "Einsum OneHot"},
  };
  return rows;
}

// What takes integers smaller than a byte, from opset 21 (4 bits) and 25 (2 bits) on.
constexpr char kSubByteOps[] =
    "Cast Constant ConstantOfShape DequantizeLinear Flatten Identity Pad QuantizeLinear Reshape "
    "Shape Size Squeeze Transpose Unsqueeze";

struct OpRules {
  int since = 0;
  std::vector<std::pair<DType, int>> types;
  bool sub_byte = false;
};

const absl::flat_hash_map<std::string, OpRules>& Rules() {
  static const auto& rules = *new auto([] {
    absl::flat_hash_map<std::string, OpRules> made;
    for (const OpRow& row : kOps) {
      for (absl::string_view op : absl::StrSplit(row.ops, ' ')) {
        made[std::string(op)].since = row.opset;
      }
    }
    for (const TypeRow& row : TypeRows()) {
      for (absl::string_view op : absl::StrSplit(row.ops, ' ')) {
        for (const DType type : row.types) {
          made[std::string(op)].types.emplace_back(type, row.opset);
        }
      }
    }
    for (absl::string_view op : absl::StrSplit(kSubByteOps, ' ')) {
      made[std::string(op)].sub_byte = true;
    }
    return made;
  }());
  return rules;
}

bool AnyOtherThan(const std::vector<int64_t>& numbers, int64_t usual) {
  return std::any_of(numbers.begin(), numbers.end(), [usual](int64_t n) { return n != usual; });
}

// Older opsets infer a window that ceil_mode starts in the padding, which nothing computes.
bool DropsLastWindow(const Graph& graph, const Node& node) {
  if (node.GetInt("ceil_mode", 0) == 0 || node.outputs[0] == kNoValue) return false;
  const auto& in = graph.value(node.inputs[0]).shape;
  const auto& out = graph.value(node.outputs[0]).shape;
  const std::vector<int64_t> kernel = node.GetInts("kernel_shape", {});
  const size_t rank = kernel.size();
  const std::vector<int64_t> strides = node.GetInts("strides", std::vector<int64_t>(rank, 1));
  const std::vector<int64_t> dilations = node.GetInts("dilations", std::vector<int64_t>(rank, 1));
  const std::vector<int64_t> pads = node.GetInts("pads", std::vector<int64_t>(2 * rank, 0));
  if (!in.has_value() || !out.has_value() || in->size() != rank + 2) return false;
  for (size_t i = 0; i < rank; ++i) {
    if ((*in)[i + 2] == kDynamicDim || node.GetString("auto_pad", "NOTSET") != "NOTSET") continue;
    const int64_t padded = (*in)[i + 2] + pads[i] + pads[i + rank];
    const int64_t steps = padded - dilations[i] * (kernel[i] - 1) - 1 + strides[i] - 1;
    if ((*out)[i + 2] != steps / strides[i] + 1) return true;
  }
  return false;
}

int NeedsOfPool(const Graph& graph, const Node& node) {
  if (DropsLastWindow(graph, node)) return 22;
  const bool dilated = AnyOtherThan(node.GetInts("dilations", {}), 1);
  if (node.op == "AveragePool" && dilated) return 19;
  if (node.op == "LpPool" && (dilated || node.GetInt("ceil_mode", 0) != 0)) return 18;
  return 0;
}

int NeedsOfResize(const Node& node) {
  if (node.GetString("coordinate_transformation_mode", "") == "half_pixel_symmetric") return 19;
  const bool newer = node.GetInt("antialias", 0) != 0 || node.attributes.contains("axes") ||
                     node.GetString("keep_aspect_ratio_policy", "stretch") != "stretch";
  return newer ? 18 : 0;
}

// The opset of the attributes, or of the number of inputs, that `node` has.
int NeedsOfForm(const Graph& graph, const Node& node) {
  const std::string& op = node.op;
  if (op == "MaxPool" || op == "AveragePool" || op == "LpPool") return NeedsOfPool(graph, node);
  if (op == "Resize") return NeedsOfResize(node);
  if (op == "GridSample" && graph.value(node.inputs[0]).shape.has_value() &&
      graph.value(node.inputs[0]).shape->size() == 5) {
    return 20;
  }
  if (op == "Pad" && node.GetString("mode", "constant") == "wrap") return 19;
  if (op == "Pad" && HasInput(node, 3)) return 18;
  if (op == "Reshape" && node.GetInt("allowzero", 0) != 0) return 14;
  if (op == "Shape" && (node.attributes.contains("start") || node.attributes.contains("end"))) {
    return 15;
  }
  if (node.GetInt("block_size", 0) != 0) return kFourBitOpset;
  if (node.GetInt("layout", 0) != 0) return 14;  // of LSTM, GRU and RNN
  if (op == "RoiAlign" && node.attributes.contains("coordinate_transformation_mode")) return 16;
  if (op.starts_with("Scatter")) {
    const std::string reduction = node.GetString("reduction", "none");
    return reduction == "none" ? 0 : reduction == "max" || reduction == "min" ? 18 : 16;
  }
  if (op.starts_with("Reduce") && op != "ReduceSum") {
    const bool newer = HasInput(node, 1) || node.GetInt("noop_with_empty_axes", 0) != 0;
    return newer ? 18 : 0;
  }
  return 0;
}

absl::StatusOr<int> NeedsOfType(const Node& node, const OpRules& rules, DType type) {
  if (BitWidth(type) < 8) {
    if (rules.sub_byte) return BitWidth(type) < 4 ? kTwoBitOpset : kFourBitOpset;
    return absl::UnimplementedError(absl::StrCat("node \"", node.name, "\" (", node.op,
                                                 "): no opset lets it take ",
                                                 std::string(Name(type)), "; cast to int8 first"));
  }
  for (const auto& [known, opset] : rules.types) {
    if (known == type) return opset;
  }
  return 0;
}

// Constants and inputs are there without a node, too.
int NeedsOfValue(DType type) {
  return BitWidth(type) < 4 ? kTwoBitOpset : BitWidth(type) < 8 ? kFourBitOpset : 0;
}

}  // namespace

absl::StatusOr<int> LeastOpset(const Graph& graph, int opset) {
  static const OpRules no_rules;
  for (const ValueId id : graph.inputs()) {
    opset = std::max(opset, NeedsOfValue(graph.value(id).dtype));
  }
  for (const auto& [id, initializer] : graph.initializers()) {
    opset = std::max(opset, NeedsOfValue(initializer.data.dtype()));
  }
  for (const Node& node : graph.nodes()) {
    const auto found = Rules().find(node.op);
    const OpRules& rules = found == Rules().end() ? no_rules : found->second;
    opset = std::max({opset, rules.since, NeedsOfForm(graph, node)});
    for (const auto* ids : {&node.inputs, &node.outputs}) {
      for (const ValueId id : *ids) {
        if (id == kNoValue) continue;
        DS_ASSIGN_OR_RETURN(const int needs, NeedsOfType(node, rules, graph.value(id).dtype));
        opset = std::max(opset, needs);
      }
    }
  }
  return opset;
}

}  // namespace ds::onnx_io
