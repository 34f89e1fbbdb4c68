#include "graph/onnx/rewrite/sequences.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/node_attributes.h"
#include "graph/schema/internal.h"

namespace ds::onnx_io {
namespace {

// Each is a value of the graph, and a file of a few bytes could ask for any number.
constexpr int64_t kMostMembers = 4096;

std::optional<std::vector<int64_t>> ConstantInts(const Emitter& emit, size_t slot) {
  const Tensor* tensor = emit.ConstantIn(slot);
  return tensor == nullptr ? std::nullopt : schema::IntElements(*tensor);
}

absl::Status NotKnown(absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat(what,
                   ", and sequences are supported only where their members are known; "
                   "export the model with fixed sizes there"));
}

}  // namespace

bool Sequences::Knows(absl::string_view op) {
  return op == "SplitToSequence" || op == "SequenceConstruct" || op == "SequenceAt" ||
         op == "SequenceLength" || op == "ConcatFromSequence";
}

absl::StatusOr<bool> Sequences::Expand(const Node& node) {
  if (node.op == "SplitToSequence") return Done(Split(node));
  const bool reads = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [this](ValueId id) { return Contains(id); });
  if (!Knows(node.op)) {
    if (reads) return NotKnown("it reads a sequence as a whole");
    return false;
  }
  DS_RETURN_IF_ERROR(Emitter(graph_, node).Need(1));
  if (node.op == "SequenceConstruct") {
    if (reads) return NotKnown("its members are sequences");
    if (std::count(node.inputs.begin(), node.inputs.end(), kNoValue) > 0)
      return absl::InvalidArgumentError("one of its inputs is absent");
    members_[node.outputs[0]] = node.inputs;
    return true;
  }
  if (!Contains(node.inputs[0])) return NotKnown("its input is made by no operator before it");
  const Members members = members_.at(node.inputs[0]);
  if (node.op == "SequenceAt") return Done(At(node, members));
  if (node.op == "ConcatFromSequence") return Done(Concat(node, members));
  Emitter emit(graph_, node);
  const auto length = static_cast<int64_t>(members.size());
  emit.Finish("Identity", {emit.Constant("length", Tensor::Scalar(length))});
  return true;
}

absl::Status Sequences::Split(const Node& node) {
  Emitter emit(graph_, node);
  DS_RETURN_IF_ERROR(emit.Need(1));
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(int64_t axis, Get<int64_t>(node, "axis", 0));
  DS_ASSIGN_OR_RETURN(axis, InRange(axis, static_cast<int64_t>(shape.size())));
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, Sizes(node, shape[axis]));
  // Without sizes parts are slices, whose axis may go.
  DS_ASSIGN_OR_RETURN(const int64_t keep, Get<int64_t>(node, "keepdims", 1));
  Node split;
  split.name = node.name;
  split.op = "Split";
  split.inputs = {node.inputs[0], emit.Constant("split", Ints(sizes))};
  split.attributes["axis"] = axis;
  for (size_t i = 0; i < sizes.size(); ++i)
    split.outputs.push_back(graph_.AddValue(absl::StrCat(node.name, ".", i)));
  Members members = split.outputs;
  graph_.AddNode(std::move(split));
  if (!emit.Has(1) && keep == 0) {
    const ValueId axes = emit.Constant("axes", Ints({axis}));
    for (ValueId& member : members) member = emit.Op("Squeeze", {member, axes});
  }
  members_[node.outputs[0]] = std::move(members);
  return absl::OkStatus();
}

// Of the parts along an axis of `extent`.
absl::StatusOr<std::vector<int64_t>> Sequences::Sizes(const Node& node, int64_t extent) {
  const Emitter emit(graph_, node);
  const Tensor* given = emit.ConstantIn(1);
  const auto numbers = ConstantInts(emit, 1);
  if (emit.Has(1) && !numbers) return NotKnown("its sizes are no constant integers");
  std::vector<int64_t> sizes = numbers.value_or(std::vector<int64_t>{1});
  if (given == nullptr || given->shape().empty()) {
    const int64_t size = sizes[0];
    if (size < 1) return absl::InvalidArgumentError(absl::StrCat("its parts' size is ", size));
    if (extent == kDynamicDim) return NotKnown("the extent that it splits is not known");
    if (extent / size > kMostMembers) return NotKnown("it has more parts than anyone needs");
    sizes.assign(static_cast<size_t>(extent / size), size);
    if (extent % size != 0) sizes.push_back(extent % size);
  }
  if (sizes.empty() || static_cast<int64_t>(sizes.size()) > kMostMembers)
    return NotKnown(absl::StrCat("it has ", sizes.size(), " parts"));
  return sizes;
}

absl::Status Sequences::At(const Node& node, const Members& members) {
  Emitter emit(graph_, node);
  const auto position = ConstantInts(emit, 1);
  if (!position || position->size() != 1) return NotKnown("its position is no constant integer");
  const auto count = static_cast<int64_t>(members.size());
  const int64_t index = position->front() + (position->front() < 0 ? count : 0);
  if (index < 0 || index >= count) {
    return absl::InvalidArgumentError(
        absl::StrCat("position ", position->front(), " is outside a sequence of ", count));
  }
  emit.Finish("Identity", {members[static_cast<size_t>(index)]});
  return absl::OkStatus();
}

absl::Status Sequences::Concat(const Node& node, const Members& members) {
  Emitter emit(graph_, node);
  if (!node.attributes.contains("axis"))
    return absl::InvalidArgumentError("it lacks its attribute \"axis\"");
  DS_ASSIGN_OR_RETURN(const int64_t axis, Get<int64_t>(node, "axis", 0));
  DS_ASSIGN_OR_RETURN(const int64_t stacks, Get<int64_t>(node, "new_axis", 0));
  Members parts = members;
  if (stacks != 0) {
    const ValueId axes = emit.Constant("axes", Ints({axis}));
    for (ValueId& part : parts) part = emit.Op("Unsqueeze", {part, axes});
  }
  emit.Finish("Concat", parts, {{"axis", axis}});
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
