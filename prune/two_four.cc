#include "prune/two_four.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr size_t kBlock = 4, kLeft = 2;

// Calls `visit` with the four positions of every block along `axis`, whose extent is a multiple of
// four.
void ForEachBlock(const Tensor& weight, int axis,
                  const std::function<void(const std::array<size_t, kBlock>&)>& visit) {
  size_t inner = 1;
  for (int i = axis + 1; i < weight.rank(); ++i) inner *= static_cast<size_t>(weight.dim(i));
  const auto count = static_cast<size_t>(weight.num_elements());
  for (size_t from = 0; from < count; from += kBlock * inner) {
    for (size_t i = from; i < from + inner; ++i)
      visit({i, i + inner, i + 2 * inner, i + 3 * inner});
  }
}

absl::Status ApplyToWeight(const std::string& name, Tensor& weight, int axis,
                           double& magnitude_lost) {
  double lost = 0, all = 0;
  auto values = weight.mutable_span<float>();
  ForEachBlock(weight, axis, [&](std::array<size_t, kBlock> block) {
    std::stable_sort(block.begin(), block.end(),
                     [&](size_t a, size_t b) { return std::abs(values[a]) > std::abs(values[b]); });
    for (size_t i = 0; i < kBlock; ++i) {
      const double magnitude = std::abs(static_cast<double>(values[block[i]]));
      all += magnitude;
      if (i < kLeft) continue;
      lost += magnitude;
      values[block[i]] = 0;
    }
  });
  if (!std::isfinite(all)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "2:4: weight '", name, "' holds NaN or infinities; look at the model's weights"));
  }
  magnitude_lost = all > 0 ? lost / all : 0;
  return absl::OkStatus();
}

std::string WhyDense(const Node& node, const Tensor& weight, int axis, int readers,
                     const std::vector<std::string>& keep) {
  if (std::find(keep.begin(), keep.end(), node.name) != keep.end()) return "it is to be kept";
  if (weight.dtype() != DType::kFloat32) return "its weight is not float32";
  if (readers > 1) return "several nodes read its weight";
  if (node.op == "Conv" && node.GetInt("group", 1) != 1) return "it is a grouped convolution";
  if (weight.dim(axis) % static_cast<int64_t>(kBlock) != 0) {
    return absl::StrCat("it has ", weight.dim(axis), " inputs, which is no multiple of 4");
  }
  return "";
}

}  // namespace

int InputAxis(const Graph& graph, const Node& node) {
  if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") return -1;
  const Tensor* weight = graph.Constant(node.inputs[1]);
  if (weight == nullptr || weight->rank() < 2) return -1;
  if (node.op == "Conv") return 1;
  if (node.op == "Gemm") return node.GetInt("transB", 0) != 0 ? 1 : 0;
  return weight->rank() - 2;
}

absl::StatusOr<std::vector<TwoFourLayer>> ApplyTwoFour(Graph& graph,
                                                       const std::vector<std::string>& keep) {
  std::map<ValueId, int> readers;
  for (const Node& node : graph.nodes()) {
    for (const ValueId id : node.inputs) ++readers[id];
  }
  std::vector<TwoFourLayer> layers;
  std::map<ValueId, Tensor> changed;
  for (const Node& node : graph.nodes()) {
    const int axis = InputAxis(graph, node);
    if (axis < 0) continue;
    const ValueId id = node.inputs[1];
    TwoFourLayer layer{.node = node.name, .weight = graph.value(id).name};
    layer.dense_because = WhyDense(node, *graph.Constant(id), axis, readers[id], keep);
    if (layer.dense_because.empty()) {
      Tensor weight = graph.Constant(id)->Clone();
      DS_RETURN_IF_ERROR(ApplyToWeight(layer.weight, weight, axis, layer.magnitude_lost));
      changed[id] = std::move(weight);
    }
    layers.push_back(std::move(layer));
  }
  for (const std::string& name : keep) {
    const bool known = std::any_of(layers.begin(), layers.end(),
                                   [&](const TwoFourLayer& layer) { return layer.node == name; });
    if (!known)
      return absl::InvalidArgumentError(absl::StrCat(
          "keep names \"", name, "\", which is no Conv, Gemm or MatMul layer of the model"));
  }
  if (changed.empty()) {
    std::string why;
    for (const TwoFourLayer& layer : layers)
      absl::StrAppend(&why, "; layer '", layer.node, "': ", layer.dense_because);
    return absl::InvalidArgumentError(
        absl::StrCat("the 2:4 pattern fits no layer of the model", why));
  }
  for (auto& [id, weight] : changed) graph.mutable_initializers().at(id).data = std::move(weight);
  return layers;
}

}  // namespace ds
