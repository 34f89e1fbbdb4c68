#include "executor/unsigned.h"

#include <utility>

#include "absl/container/flat_hash_set.h"

namespace ds::executor {

namespace {

bool IsWideUnsigned(at::ScalarType type) {
  return type == at::kUInt16 || type == at::kUInt32 || type == at::kUInt64;
}

bool IsWideUnsigned(const Graph& graph, ValueId id) {
  if (id == kNoValue) return false;
  const auto type = TorchType(graph.value(id).dtype);
  return type.ok() && IsWideUnsigned(*type);
}

// What moves elements, or computes modulo 2^64, needs no sign.
bool IgnoresSign(const std::string& op) {
  static const auto& ops = *new absl::flat_hash_set<std::string>({"Add",
                                                                  "Sub",
                                                                  "Mul",
                                                                  "Identity",
                                                                  "Reshape",
                                                                  "Transpose",
                                                                  "Flatten",
                                                                  "Squeeze",
                                                                  "Unsqueeze",
                                                                  "Concat",
                                                                  "Split",
                                                                  "Slice",
                                                                  "Gather",
                                                                  "Expand",
                                                                  "Tile",
                                                                  "Where",
                                                                  "Equal",
                                                                  "DepthToSpace",
                                                                  "SpaceToDepth",
                                                                  "Trilu",
                                                                  "Shape",
                                                                  "Size",
                                                                  "GatherND",
                                                                  "BitwiseOr",
                                                                  "BitwiseAnd",
                                                                  "BitwiseXor",
                                                                  "BitwiseNot",
                                                                  "GatherElements",
                                                                  "ScatterElements",
                                                                  "ScatterND"});
  return ops.contains(op);
}

at::Tensor Widened(const at::Tensor& tensor, bool any_bits) {
  if (!tensor.defined() || !IsWideUnsigned(tensor.scalar_type())) return tensor;
  const at::Tensor wide = tensor.to(at::kLong);
  TORCH_CHECK(
      any_bits || tensor.scalar_type() != at::kUInt64 || !at::lt(wide, 0).any().item<bool>(),
      "an element of uint64 is beyond 2^63 - 1, which this operator cannot compute with");
  return wide;
}

}  // namespace

Kernel ThroughInt64(const NodeView& view, Kernel kernel) {
  const Node& node = view.node;
  bool needed = false;
  for (const auto* ids : {&node.inputs, &node.outputs}) {
    for (const ValueId id : *ids) needed = needed || IsWideUnsigned(view.graph, id);
  }
  if (!needed) return kernel;
  // A table of the node's own: its inputs first, then its outputs.
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<std::optional<at::ScalarType>> narrow;
  for (const ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue ? kNoValue : static_cast<ValueId>(inputs.size()));
  }
  for (const ValueId id : node.outputs) {
    outputs.push_back(static_cast<ValueId>(inputs.size() + outputs.size()));
    const bool wide = IsWideUnsigned(view.graph, id);
    narrow.push_back(wide ? std::optional(*TorchType(view.graph.value(id).dtype)) : std::nullopt);
  }
  return [=, any_bits = IgnoresSign(node.op), kernel = std::move(kernel)](const Call& call) {
    ValueTable table;
    table.full.resize(inputs.size() + outputs.size());
    table.low.resize(table.full.size());
    std::vector<bool> is_weight;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int slot = static_cast<int>(i);
      if (call.Has(slot)) table.full[i] = Widened(call.In(slot), any_bits);
      is_weight.push_back(call.IsWeight(slot));
    }
    kernel(Call(call.run, table, inputs, outputs, is_weight, /*may_overwrite=*/false));
    for (size_t i = 0; i < outputs.size(); ++i) {
      const at::Tensor& result = table.full[inputs.size() + i];
      call.Set(static_cast<int>(i), narrow[i].has_value() ? result.to(*narrow[i]) : result);
    }
  };
}

}  // namespace ds::executor
