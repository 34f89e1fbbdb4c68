#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/channel_affine.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

// The one number that a node's other operand is for all of `x`; it may train no further.
std::optional<double> NumberBeside(const Graph& graph, const Node& node, ValueId x) {
  const size_t slot = node.inputs[0] == x ? 1 : 0;
  const Tensor* constant = FloatConstant(graph, node.inputs[slot]);
  if (constant == nullptr || constant->num_elements() != 1) return std::nullopt;
  const auto rank = graph.value(x).shape ? std::ssize(*graph.value(x).shape) : 0;
  if (constant->rank() > rank) return std::nullopt;
  return constant->span<float>()[0];
}

ValueId Computed(const Graph& graph, const Node& node) {
  return graph.IsInitializer(node.inputs[0]) ? node.inputs[1] : node.inputs[0];
}

bool IsPadded(const Node& conv) {
  const std::vector<int64_t> pads = conv.GetInts("pads", {});
  const std::string automatic = conv.GetString("auto_pad", "NOTSET");
  return (automatic != "NOTSET" && automatic != "VALID") ||
         std::ranges::any_of(pads, [](int64_t pad) { return pad != 0; });
}

// y = scale * x + shift, as a Mul and an Add or one of them.
struct Line {
  ValueId x = kNoValue, y = kNoValue;
  double scale = 1, shift = 0;
  int add = -1;  // the node that shifts, if one does
};

std::optional<Line> LineAt(const Graph& graph, const Uses& uses, int index) {
  const Node& node = graph.nodes()[static_cast<size_t>(index)];
  Line line{.x = Computed(graph, node), .y = node.outputs[0]};
  const std::optional<double> number = NumberBeside(graph, node, line.x);
  if (!number) return std::nullopt;
  if (node.op == "Mul") {
    line.scale = *number;
    return line;
  }
  line.shift = *number;
  line.add = index;
  const Node* scaled = uses.Producer(line.x, "Mul");
  if (scaled == nullptr || uses.Count(line.x) != 1) return line;
  const ValueId x = Computed(graph, *scaled);
  const std::optional<double> scale = NumberBeside(graph, *scaled, x);
  if (!scale) return line;
  line.x = x;
  line.scale = *scale;
  return line;
}

// The convolutions that alone read it; none where others do.
std::vector<int> ConvReaders(const Graph& graph, const Uses& uses, ValueId id) {
  std::vector<int> readers = graph.Consumers(id);
  const bool all = std::ranges::all_of(readers, [&](int n) {
    const Node& node = graph.nodes()[static_cast<size_t>(n)];
    return node.op == "Conv" && node.inputs[0] == id && HasConstantWeights(graph, node);
  });
  if (!all || std::ssize(readers) != uses.Count(id)) readers.clear();
  return readers;
}

// Scales the weights, and takes the shift into the bias if `with_shift`.
void FoldInto(Graph& graph, Node& conv, const Line& line, bool with_shift) {
  Tensor weight = graph.Constant(conv.inputs[1])->Clone();
  const bool trainable = graph.initializers().at(conv.inputs[1]).trainable;
  const auto channels = static_cast<size_t>(weight.dim(0));
  auto w = weight.mutable_span<float>();
  const size_t row = channels == 0 ? 0 : w.size() / channels;
  Tensor bias(DType::kFloat32, {weight.dim(0)});
  auto b = bias.mutable_span<float>();
  const Tensor* old = conv.inputs.size() > 2 ? FloatConstant(graph, conv.inputs[2]) : nullptr;
  for (size_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (size_t i = c * row; i < (c + 1) * row; ++i) {
      sum += w[i];
      w[i] = static_cast<float>(w[i] * line.scale);
    }
    const double offset = old == nullptr ? 0.0 : old->span<float>()[c];
    b[c] = static_cast<float>(offset + sum * line.shift);
  }
  conv.inputs[1] =
      graph.AddInitializer(absl::StrCat(conv.name, ".scaled_weight"), std::move(weight), trainable);
  if (!with_shift) return;
  conv.inputs.resize(3, kNoValue);
  conv.inputs[2] =
      graph.AddInitializer(absl::StrCat(conv.name, ".shifted_bias"), std::move(bias), trainable);
}

}  // namespace

absl::Status FoldAffineForward(Graph& graph) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (graph.nodes()[i].op != "Add" && graph.nodes()[i].op != "Mul") continue;
    const Uses uses(graph);
    const std::optional<Line> line = LineAt(graph, uses, static_cast<int>(i));
    if (!line || line->scale == 0 || !std::isfinite(line->scale)) continue;
    const std::vector<int> readers = ConvReaders(graph, uses, line->y);
    if (readers.empty()) continue;
    const bool padded = line->add >= 0 && std::ranges::any_of(readers, [&graph](int n) {
                          return IsPadded(graph.nodes()[static_cast<size_t>(n)]);
                        });
    if (padded && line->scale == 1) continue;
    for (const int n : readers) {
      Node& conv = graph.mutable_nodes()[static_cast<size_t>(n)];
      FoldInto(graph, conv, *line, line->add >= 0 && !padded);
      if (!padded) graph.mutable_nodes()[static_cast<size_t>(n)].inputs[0] = line->x;
    }
    if (!padded) continue;
    // Padding is of zeros behind the shift, so that the shift stays, by as much less.
    const ValueId shift = graph.AddInitializer(
        absl::StrCat(graph.value(line->y).name, ".shift"),
        Tensor::From<float>({1}, {static_cast<float>(line->shift / line->scale)}), false);
    graph.mutable_nodes()[static_cast<size_t>(line->add)].inputs = {line->x, shift};
  }
  return EliminateDeadNodes(graph);
}

}  // namespace ds
