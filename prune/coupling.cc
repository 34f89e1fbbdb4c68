#include "prune/coupling.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

bool IsElementwise(const std::string& op) {
  static const auto& ops = *new std::set<std::string>{
      "Abs",  "Add",  "Cast", "Clip",      "Div",      "Dropout",    "Equal",
      "Erf",  "Exp",  "Gelu", "HardSwish", "Identity", "LeakyRelu",  "Log",
      "Mul",  "Neg",  "Pow",  "PRelu",     "Relu",     "Reciprocal", "Sigmoid",
      "SiLU", "Sqrt", "Sub",  "Tanh",      "Where",    "HardSigmoid"};
  return ops.contains(op);
}

}  // namespace

absl::Status AxisCoupling::Run() {
  first_.resize(graph_.values().size());
  for (size_t id = 0; id < graph_.values().size(); ++id) {
    const Value& value = graph_.values()[id];
    if (!value.shape.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat("the shape of value '", value.name,
                                                        "' is not known; call InferShapes first"));
    }
    for (const int64_t extent : *value.shape) {
      first_[id].push_back(extent == kDynamicDim ? -1 : static_cast<int64_t>(parent_.size()));
      for (int64_t i = 0; i < extent; ++i) parent_.push_back(static_cast<int64_t>(parent_.size()));
    }
  }
  reason_.assign(parent_.size(), 0);
  for (const ValueId id : graph_.inputs()) {
    reasons_.push_back(absl::StrCat("it is the network's input '", graph_.value(id).name, "'"));
    FixFrom(id, 0);
  }
  for (const ValueId id : graph_.outputs()) {
    reasons_.push_back(absl::StrCat("it is the network's output '", graph_.value(id).name, "'"));
    FixFrom(id, 0);
  }
  for (const auto& [id, initializer] : graph_.initializers()) {
    if (initializer.data.dtype() == DType::kFloat32) continue;
    reasons_.push_back(absl::StrCat("'", graph_.value(id).name, "' is not float32"));
    FixFrom(id, 0);
  }
  for (const Node& node : graph_.nodes()) {
    reasons_.push_back(absl::StrCat("node '", node.name, "' (", node.op, ") needs all of it"));
    Visit(node);
  }
  return absl::OkStatus();
}

int64_t AxisCoupling::Find(ValueId id, int axis, int64_t index) {
  return Root(first_[static_cast<size_t>(id)][static_cast<size_t>(axis)] + index);
}

const std::string& AxisCoupling::Reason(int64_t label) const {
  return reasons_[static_cast<size_t>(reason_[static_cast<size_t>(label)])];
}

int64_t AxisCoupling::Root(int64_t label) {
  while (parent_[static_cast<size_t>(label)] != label) {
    int64_t& parent = parent_[static_cast<size_t>(label)];
    parent = parent_[static_cast<size_t>(parent)];
    label = parent;
  }
  return label;
}

void AxisCoupling::Join(int64_t a, int64_t b) {
  a = Root(a);
  b = Root(b);
  if (a == b) return;
  if (b < a) std::swap(a, b);
  parent_[static_cast<size_t>(b)] = a;
  int& reason = reason_[static_cast<size_t>(a)];
  const int other = reason_[static_cast<size_t>(b)];
  if (reason == 0 || (other != 0 && other < reason)) reason = other;
}

void AxisCoupling::Fix(ValueId id, int axis) {
  const int64_t first = first_[static_cast<size_t>(id)][static_cast<size_t>(axis)];
  if (first < 0) return;
  for (int64_t i = 0; i < Extent(id, axis); ++i) {
    int& reason = reason_[static_cast<size_t>(Root(first + i))];
    if (reason == 0) reason = static_cast<int>(reasons_.size()) - 1;
  }
}

void AxisCoupling::FixFrom(ValueId id, int axis) {
  for (int i = axis; i < rank(id); ++i) Fix(id, i);
}

void AxisCoupling::FixNode(const Node& node) {
  for (const ValueId id : node.inputs) {
    if (id != kNoValue) FixFrom(id, 0);
  }
  for (const ValueId id : node.outputs) {
    if (id != kNoValue) FixFrom(id, 0);
  }
}

void AxisCoupling::TieAt(ValueId a, int axis_a, ValueId b, int axis_b, int64_t offset) {
  const int64_t from = first_[static_cast<size_t>(a)][static_cast<size_t>(axis_a)];
  const int64_t to = first_[static_cast<size_t>(b)][static_cast<size_t>(axis_b)];
  for (int64_t i = 0; i < Extent(a, axis_a); ++i) Join(from + i, to + offset + i);
}

void AxisCoupling::Tie(ValueId a, int axis_a, ValueId b, int axis_b) {
  const int64_t extent = Extent(a, axis_a);
  if (extent == Extent(b, axis_b)) {
    if (extent != kDynamicDim) TieAt(a, axis_a, b, axis_b, 0);
    return;
  }
  Fix(a, axis_a);
  Fix(b, axis_b);
}

void AxisCoupling::TieBroadcast(ValueId a, ValueId b, int skip_last) {
  const int shift = rank(b) - rank(a);
  for (int axis = 0; axis < rank(a) - skip_last; ++axis) {
    if (axis + shift < 0) return Fix(a, axis);
    const int64_t extent = Extent(a, axis);
    if (extent == 1 && Extent(b, axis + shift) != 1) continue;
    Tie(a, axis, b, axis + shift);
  }
}

void AxisCoupling::TieAllBut(ValueId a, ValueId b, int axis) {
  for (int i = 0; i < rank(a); ++i) {
    if (i != axis) Tie(a, i, b, i);
  }
}

void AxisCoupling::Visit(const Node& node) {
  if (IsElementwise(node.op)) {
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) TieBroadcast(id, node.outputs[0]);
    }
  } else if (!VisitLayer(node) && !VisitShape(node)) {
    FixNode(node);
  }
}

bool AxisCoupling::VisitLayer(const Node& node) {
  const std::string& op = node.op;
  const ValueId x = node.inputs.empty() ? kNoValue : node.inputs[0];
  if (op == "Conv") {
    Conv(node);
  } else if (op == "Gemm") {
    Gemm(node);
  } else if (op == "MatMul") {
    MatMul(node);
  } else if (op == "BatchNormalization") {
    TieAllBut(x, node.outputs[0], -1);
    for (size_t i = 1; i <= 4; ++i) Tie(node.inputs[i], 0, x, 1);
  } else if (op == "LayerNormalization") {
    LayerNorm(node);
  } else if (op == "Softmax" || op == "LogSoftmax") {
    const auto axis = static_cast<int>(node.GetInt("axis", -1));
    TieAllBut(x, node.outputs[0], -1);
    Fix(x, axis < 0 ? axis + rank(x) : axis);
  } else if (op == "MaxPool" || op == "AveragePool" || op == "GlobalAveragePool" || op == "Pad" ||
             op == "Resize") {
    Spatial(node);
  } else {
    return false;
  }
  return true;
}

bool AxisCoupling::VisitShape(const Node& node) {
  const std::string& op = node.op;
  if (op == "Concat") {
    Concat(node);
  } else if (op == "Flatten") {
    Flatten(node);
  } else if (op == "ReduceMean" || op == "ReduceSum") {
    Reduce(node);
  } else if (op == "Squeeze" || op == "Unsqueeze") {
    Squeeze(node);
  } else if (op == "Transpose") {
    std::vector<int64_t> perm;
    for (int i = rank(node.inputs[0]) - 1; i >= 0; --i) perm.push_back(i);
    perm = node.GetInts("perm", perm);
    for (size_t i = 0; i < perm.size(); ++i) {
      Tie(node.inputs[0], static_cast<int>(perm[i]), node.outputs[0], static_cast<int>(i));
    }
  } else {
    return false;
  }
  return true;
}

// [N, C, ...] * [M, C / g, ...] -> [N, M, ...]
void AxisCoupling::Conv(const Node& node) {
  const ValueId x = node.inputs[0], weight = node.inputs[1], y = node.outputs[0];
  if (!graph_.IsInitializer(weight) || Extent(x, 1) == kDynamicDim) return FixNode(node);
  Tie(x, 0, y, 0);
  for (const ValueId id : {x, weight, y}) FixFrom(id, 2);
  Tie(weight, 0, y, 1);
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) Tie(node.inputs[2], 0, y, 1);
  if (node.GetInt("group", 1) == 1) {
    Tie(weight, 1, x, 1);
  } else {
    GroupedConv(node);
  }
}

void AxisCoupling::GroupedConv(const Node& node) {
  const ValueId x = node.inputs[0], weight = node.inputs[1], y = node.outputs[0];
  const int64_t groups = node.GetInt("group", 1);
  const int64_t outputs = Extent(weight, 0) / groups, inputs = Extent(weight, 1);
  const auto label = [this](ValueId id, int64_t i) { return Find(id, 1, i); };
  if (inputs == 1) {  // depthwise: a channel goes with all filters that read it
    for (int64_t m = 0; m < Extent(y, 1); ++m) Join(label(y, m), label(x, m / outputs));
    return;
  }
  // Groups must stay of one size: the same channel of each goes.
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < outputs; ++i) Join(label(y, g * outputs + i), label(y, i));
    for (int64_t i = 0; i < inputs; ++i) Join(label(x, g * inputs + i), label(weight, i));
  }
}

void AxisCoupling::Gemm(const Node& node) {
  if (node.GetInt("transA", 0) != 0) return FixNode(node);
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  const int outputs = node.GetInt("transB", 0) != 0 ? 0 : 1;
  Tie(a, 0, y, 0);
  Tie(a, 1, b, 1 - outputs);
  Tie(b, outputs, y, 1);
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) TieBroadcast(node.inputs[2], y);
}

void AxisCoupling::MatMul(const Node& node) {
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  const int rank_a = rank(a), rank_b = rank(b), rank_y = rank(y);
  if (rank_a < 2 || rank_b < 2) return FixNode(node);
  TieBroadcast(a, y, 2);
  TieBroadcast(b, y, 2);
  Tie(a, rank_a - 2, y, rank_y - 2);
  Tie(b, rank_b - 1, y, rank_y - 1);
  Tie(a, rank_a - 1, b, rank_b - 2);
}

// What leaves the first two axes as they are and the others another way.
void AxisCoupling::Spatial(const Node& node) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  if (rank(x) < 3) return FixNode(node);
  if (node.op == "Pad") {
    const std::vector<int64_t> pads = Ints(node, 1, 0);
    const auto rank_x = static_cast<size_t>(rank(x));
    const bool others = pads.size() == 2 * rank_x && pads[0] == 0 && pads[1] == 0 &&
                        pads[rank_x] == 0 && pads[rank_x + 1] == 0;
    if (!others) return FixNode(node);
  }
  if (node.op == "Resize") {
    // Sizes would have the number of channels written out.
    const Tensor* scales = node.inputs.size() == 3 ? graph_.Constant(node.inputs[2]) : nullptr;
    const bool others = scales != nullptr && scales->dtype() == DType::kFloat32 &&
                        scales->num_elements() == rank(x) && scales->span<float>()[0] == 1.0f &&
                        scales->span<float>()[1] == 1.0f;
    if (!others) return FixNode(node);
  }
  Tie(x, 0, y, 0);
  Tie(x, 1, y, 1);
  FixFrom(x, 2);
  FixFrom(y, 2);
}

void AxisCoupling::LayerNorm(const Node& node) {
  const ValueId x = node.inputs[0];
  const auto axis = static_cast<int>(node.GetInt("axis", -1));
  TieAllBut(x, node.outputs[0], -1);
  FixFrom(x, axis < 0 ? axis + rank(x) : axis);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != kNoValue) FixFrom(node.inputs[i], 0);
  }
}

void AxisCoupling::Concat(const Node& node) {
  const ValueId y = node.outputs[0];
  auto axis = static_cast<int>(node.GetInt("axis", 0));
  if (axis < 0) axis += rank(y);
  if (Extent(y, axis) == kDynamicDim) return FixNode(node);
  int64_t offset = 0;
  for (const ValueId id : node.inputs) {
    TieAllBut(id, y, axis);
    TieAt(id, axis, y, axis, offset);
    offset += Extent(id, axis);
  }
}

// [N, C, ...] -> [N, C * ...]: a channel becomes consecutive columns.
void AxisCoupling::Flatten(const Node& node) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  if (node.GetInt("axis", 1) != 1 || rank(x) < 2 || Extent(y, 1) == kDynamicDim ||
      Extent(x, 1) <= 0) {
    return FixNode(node);
  }
  Tie(x, 0, y, 0);
  FixFrom(x, 2);
  const int64_t inner = Extent(y, 1) / Extent(x, 1);
  for (int64_t i = 0; i < Extent(y, 1); ++i) Join(Find(y, 1, i), Find(x, 1, i / inner));
}

// Constant axes or other integers of an input; of axes, negative ones counted from the end of
// `rank`. Empty if not known.
std::vector<int64_t> AxisCoupling::Ints(const Node& node, size_t input, int rank) const {
  if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return {};
  const Tensor* tensor = graph_.Constant(node.inputs[input]);
  if (tensor == nullptr || tensor->dtype() != DType::kInt64) return {};
  std::vector<int64_t> ints(tensor->span<int64_t>().begin(), tensor->span<int64_t>().end());
  for (int64_t& i : ints) i += i < 0 ? rank : 0;
  return ints;
}

void AxisCoupling::Reduce(const Node& node) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  std::vector<int64_t> axes = node.op == "ReduceMean" ? node.GetInts("axes", {}) : Ints(node, 1, 0);
  if (axes.empty()) return FixNode(node);
  for (int64_t& axis : axes) axis += axis < 0 ? rank(x) : 0;
  const bool keep = node.GetInt("keepdims", 1) != 0;
  int to = 0;
  for (int axis = 0; axis < rank(x); ++axis) {
    const bool reduced = std::find(axes.begin(), axes.end(), axis) != axes.end();
    if (reduced) {
      Fix(x, axis);
    } else {
      Tie(x, axis, y, to);
    }
    to += reduced && !keep ? 0 : 1;
  }
}

void AxisCoupling::Squeeze(const Node& node) {
  // Of the two shapes the longer one has the axes of 1.
  const bool shorter = node.op == "Squeeze";
  const ValueId longer = shorter ? node.inputs[0] : node.outputs[0];
  const ValueId other = shorter ? node.outputs[0] : node.inputs[0];
  const std::vector<int64_t> axes = Ints(node, 1, rank(longer));
  if (static_cast<int>(axes.size()) != rank(longer) - rank(other) || axes.empty()) {
    return FixNode(node);
  }
  int to = 0;
  for (int axis = 0; axis < rank(longer); ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) continue;
    Tie(longer, axis, other, to++);
  }
}

}  // namespace ds
