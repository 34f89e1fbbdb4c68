#include "quant/torch/joined_batch.h"

#include <algorithm>
#include <optional>

#include "ATen/Functions.h"

namespace ds {
namespace {

bool HasSamples(const std::vector<at::Tensor>& batch) {
  return std::ranges::all_of(batch, [&batch](const at::Tensor& input) {
    return input.dim() > 0 && input.size(0) == batch[0].size(0);
  });
}

bool Fit(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const at::Tensor& x, const at::Tensor& y) {
    return x.sizes().slice(1) == y.sizes().slice(1);
  });
}

}  // namespace

std::vector<at::Tensor> JoinedBatch(const Graph& graph, const InputBatches& batches) {
  std::vector<std::vector<at::Tensor>> parts(graph.inputs().size());
  for (const std::vector<at::Tensor>& batch : batches) {
    if (!HasSamples(batch) || !Fit(batches[0], batch)) continue;
    for (size_t i = 0; i < parts.size(); ++i) parts[i].push_back(batch[i]);
  }
  std::vector<at::Tensor> joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::optional<Shape>& shape = graph.value(graph.inputs()[i]).shape;
    const bool open = shape.has_value() && !shape->empty() && shape->front() == kDynamicDim;
    if (parts[i].empty() || (!open && parts[i].size() > 1)) return {};
    joined.push_back(at::cat(parts[i]));
  }
  return joined;
}

}  // namespace ds
