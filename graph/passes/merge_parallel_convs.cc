#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"

namespace ds {
namespace {

// A convolution of [N, C, H, W] by constants.
struct PlainConv {
  ValueId input = kNoValue;
  Tensor weight, bias;  // [M, C / group, kH, kW]; [M], or no tensor
  int64_t group = 1;
  std::vector<int64_t> strides, pads;  // [2], [4]
  bool has_bias = false;

  int64_t kernel(int axis) const { return weight.dim(2 + axis); }
};

std::optional<PlainConv> PlainConvOf(const Graph& graph, const Node& node) {
  if (node.op != "Conv" || node.GetString("auto_pad", "NOTSET") != "NOTSET") return std::nullopt;
  const Tensor* weight = graph.Constant(node.inputs[1]);
  if (weight == nullptr || weight->dtype() != DType::kFloat32 || weight->rank() != 4) {
    return std::nullopt;
  }
  for (const int64_t dilation : node.GetInts("dilations", {1, 1})) {
    if (dilation != 1) return std::nullopt;
  }
  PlainConv conv{.input = node.inputs[0],
                 .weight = *weight,
                 .bias = {},
                 .group = node.GetInt("group", 1),
                 .strides = node.GetInts("strides", {1, 1}),
                 .pads = node.GetInts("pads", {0, 0, 0, 0})};
  conv.has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  if (conv.has_bias) {
    const Tensor* bias = graph.Constant(node.inputs[2]);
    if (bias == nullptr || bias->dtype() != DType::kFloat32) return std::nullopt;
    conv.bias = *bias;
  }
  return conv;
}

// Adds `small`'s taps to `large`'s weight [M, C / group, kH, kW], where they would lie in it.
// `small` may have more groups: its channels then find their places, and zeros lie between.
void AddTaps(const PlainConv& small, const PlainConv& large, Tensor& weight) {
  const int64_t outputs = weight.dim(0), inputs = weight.dim(1);
  const int64_t few = small.weight.dim(1);
  const int64_t inputs_total = inputs * large.group;
  const auto from = small.weight.span<float>();
  auto to = weight.mutable_span<float>();
  const int64_t top = large.pads[0] - small.pads[0], left = large.pads[1] - small.pads[1];
  for (int64_t m = 0; m < outputs; ++m) {
    const int64_t first_small = m / (outputs / small.group) * (inputs_total / small.group);
    const int64_t first_large = m / (outputs / large.group) * inputs;
    for (int64_t c = 0; c < few; ++c) {
      const int64_t channel = first_small + c - first_large;
      for (int64_t y = 0; y < small.kernel(0); ++y) {
        for (int64_t x = 0; x < small.kernel(1); ++x) {
          const int64_t source = ((m * few + c) * small.kernel(0) + y) * small.kernel(1) + x;
          const int64_t target =
              ((m * inputs + channel) * large.kernel(0) + y + top) * large.kernel(1) + x + left;
          to[static_cast<size_t>(target)] += from[static_cast<size_t>(source)];
        }
      }
    }
  }
}

// Whether every tap of `small` is a place in `large`'s kernel, and every channel it reads is read
// by `large` for the same output.
bool FitsInto(const PlainConv& small, const PlainConv& large) {
  if (small.input != large.input || small.strides != large.strides ||
      small.weight.dim(0) != large.weight.dim(0)) {
    return false;
  }
  if (small.group % large.group != 0 ||
      small.weight.dim(1) * small.group != large.weight.dim(1) * large.group) {
    return false;
  }
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t before = large.pads[axis] - small.pads[axis];
    const int64_t after = large.pads[axis + 2] - small.pads[axis + 2];
    if (before < 0 || after < 0) return false;
    if (before + small.kernel(axis) + after != large.kernel(axis)) return false;
  }
  return true;
}

void Merge(Graph& graph, Node& into, const PlainConv& large, const PlainConv& small) {
  Tensor weight = large.weight.Clone();
  AddTaps(small, large, weight);
  into.inputs.resize(3, kNoValue);
  if (large.has_bias || small.has_bias) {
    Tensor bias(DType::kFloat32, {weight.dim(0)});
    auto sum = bias.mutable_span<float>();
    for (size_t m = 0; m < sum.size(); ++m) {
      sum[m] = (large.has_bias ? large.bias.span<float>()[m] : 0.0f) +
               (small.has_bias ? small.bias.span<float>()[m] : 0.0f);
    }
    into.inputs[2] =
        graph.AddInitializer(absl::StrCat(into.name, ".merged_bias"), std::move(bias), true);
  }
  into.inputs[1] =
      graph.AddInitializer(absl::StrCat(into.name, ".merged_weight"), std::move(weight), true);
}

// Makes one convolution of the first sum of two that there is; false if there is none.
bool MergeOne(Graph& graph) {
  const Uses uses(graph);
  std::vector<Node>& nodes = graph.mutable_nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op != "Add") continue;
    const int a = uses.ProducerIndex(nodes[i].inputs[0]);
    const int b = uses.ProducerIndex(nodes[i].inputs[1]);
    if (a < 0 || b < 0 || a == b) continue;
    if (uses.Count(nodes[i].inputs[0]) != 1 || uses.Count(nodes[i].inputs[1]) != 1) continue;
    const auto first = PlainConvOf(graph, nodes[a]), second = PlainConvOf(graph, nodes[b]);
    if (!first || !second) continue;
    const bool into_first = FitsInto(*second, *first);
    if (!into_first && !FitsInto(*first, *second)) continue;
    Node merged = nodes[into_first ? a : b];
    Merge(graph, merged, into_first ? *first : *second, into_first ? *second : *first);
    merged.outputs = nodes[i].outputs;
    nodes[i] = std::move(merged);
    nodes.erase(nodes.begin() + std::max(a, b));
    nodes.erase(nodes.begin() + std::min(a, b));
    return true;
  }
  return false;
}

}  // namespace

absl::Status MergeParallelConvs(Graph& graph) {
  while (MergeOne(graph)) {
  }
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  return graph.Validate();
}

}  // namespace ds
