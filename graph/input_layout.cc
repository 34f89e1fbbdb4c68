#include "graph/input_layout.h"

#include <algorithm>
#include <string>
#include <vector>

namespace ds {
namespace {

constexpr size_t kPictureRank = 4;

// Leaves the order of the elements as it is.
bool KeepsOrder(const std::string& op) {
  static constexpr const char* kOps[] = {"Add",
                                         "Sub",
                                         "Mul",
                                         "Div",
                                         "Cast",
                                         "Identity",
                                         "Clip",
                                         "Relu",
                                         "QuantizeLinear",
                                         "DequantizeLinear"};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

}  // namespace

InputLayout LayoutOfInput(const Graph& graph, ValueId input) {
  const std::optional<Shape>& shape = graph.value(input).shape;
  if (!shape || shape->size() != kPictureRank) return InputLayout::kUnknown;
  std::vector<bool> same(graph.values().size(), false);
  same[input] = true;
  for (const Node& node : graph.nodes()) {
    const bool reads = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](ValueId id) { return id != kNoValue && same[id]; });
    if (!reads || node.outputs.empty()) continue;
    if (node.op == "Transpose") {
      const std::vector<int64_t> perm = node.GetInts("perm", {});
      return perm == std::vector<int64_t>{0, 3, 1, 2} ? InputLayout::kChannelsLast
                                                      : InputLayout::kChannelsFirst;
    }
    if (KeepsOrder(node.op)) {
      same[node.outputs[0]] = true;
    } else if (node.op != "Shape") {
      // Windows go over the last axes.
      const bool windows =
          node.op == "Conv" || node.op == "ConvTranspose" || node.op.ends_with("Pool");
      if (windows) return InputLayout::kChannelsFirst;
      break;
    }
  }
  return InputLayout::kUnknown;
}

}  // namespace ds
