#include "quant/torch/reconstruction/layer_columns.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Functions.h"
#include "absl/status/statusor.h"
#include "graph/schema/window.h"

namespace ds {
namespace {

// Positions [0, all) at steps of the golden ratio (a Weyl sequence): spread evenly over rows and
// columns alike, where a fixed stride would meet the same columns again and again.
at::Tensor Spread(int64_t all, int64_t wanted) {
  if (wanted >= all) return at::arange(all, at::kLong);
  constexpr double kGolden = 0.6180339887498949;
  std::vector<int64_t> at;
  for (int64_t i = 0; i < wanted; ++i) {
    const double turns = kGolden * static_cast<double>(i);
    at.push_back(std::min(
        all - 1, static_cast<int64_t>((turns - std::floor(turns)) * static_cast<double>(all))));
  }
  return at::tensor(at, at::kLong);
}

int64_t Positions(int64_t all, int64_t samples, int64_t inputs, int64_t most_elements) {
  return std::clamp<int64_t>(most_elements / std::max<int64_t>(1, samples * inputs), 1, all);
}

at::Tensor ConvColumns(const Node& node, const Shape& weight, const at::Tensor& input,
                       int64_t samples, int64_t most_elements) {
  if (input.dim() != 4 || weight.size() != 4 || input.size(0) != samples) return {};
  const absl::StatusOr<Window> window =
      ResolveWindow(node, {weight[2], weight[3]}, {input.size(2), input.size(3)});
  if (!window.ok()) return {};
  const int64_t groups = node.GetInt("group", 1);
  const int64_t inputs = weight[1] * weight[2] * weight[3];
  const int64_t all = window->output[0] * window->output[1];
  if (all < 1 || input.size(1) != groups * weight[1]) return {};
  const at::Tensor chosen = Spread(all, Positions(all, samples, groups * inputs, most_elements));
  std::vector<at::Tensor> columns;
  for (int64_t n = 0; n < samples; ++n) {  // one at a time: all columns of all are many
    const at::Tensor padded = at::constant_pad_nd(
        input.narrow(0, n, 1).to(at::kFloat).contiguous(),
        {window->pad_begin[1], window->pad_end[1], window->pad_begin[0], window->pad_end[0]});
    columns.push_back(
        at::im2col(padded, {weight[2], weight[3]}, window->dilations, {0, 0}, window->strides)
            .narrow(2, 0, all)
            .index_select(2, chosen)
            .reshape({groups, inputs, chosen.size(0)}));
  }
  return at::stack(columns);
}

at::Tensor MatrixColumns(const Node& node, const Shape& weight, const at::Tensor& input,
                         int64_t samples, int64_t most_elements) {
  const bool transposed = node.op == "Gemm" && node.GetInt("transB", 0) != 0;
  if (weight.size() != 2 || node.GetInt("transA", 0) != 0) return {};
  const int64_t inputs = weight[transposed ? 1 : 0];
  if (input.dim() < 2 || input.size(-1) != inputs || input.size(0) % samples != 0) return {};
  const at::Tensor rows = input.to(at::kFloat).reshape({samples, -1, inputs});
  const int64_t all = rows.size(1);
  const at::Tensor chosen = Spread(all, Positions(all, samples, inputs, most_elements));
  return rows.index_select(1, chosen).transpose(1, 2).unsqueeze(1).contiguous();
}

}  // namespace

at::Tensor LayerColumns(const Node& node, const Shape& weight, const at::Tensor& input,
                        int64_t samples, int64_t most_elements) {
  if (samples < 1 || input.numel() == 0) return {};
  if (node.op == "Conv") return ConvColumns(node, weight, input, samples, most_elements);
  if (node.op == "Gemm" || node.op == "MatMul")
    return MatrixColumns(node, weight, input, samples, most_elements);
  return {};
}

}  // namespace ds
