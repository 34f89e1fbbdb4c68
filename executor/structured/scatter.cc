// GatherND, GatherElements, ScatterND and ScatterElements.
#include <string>
#include <vector>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

// Indices from 0 on: ONNX counts negative ones from the end.
at::Tensor Wrapped(const at::Tensor& indices, int64_t extent) {
  const at::Tensor wide = indices.to(at::kLong);
  return at::where(at::lt(wide, 0), wide + extent, wide);
}

// An index tensor a named axis of `data`, with those of the batch axes before them.
c10::List<std::optional<at::Tensor>> IndexList(const at::Tensor& data, const at::Tensor& indices,
                                               int64_t batch_axes) {
  c10::List<std::optional<at::Tensor>> list;
  const int64_t lead = indices.dim() - 1;
  for (int64_t axis = 0; axis < batch_axes; ++axis) {
    std::vector<int64_t> shape(static_cast<size_t>(lead), 1);
    shape[static_cast<size_t>(axis)] = -1;
    list.push_back(at::arange(data.size(axis), indices.options().dtype(at::kLong)).reshape(shape));
  }
  for (int64_t i = 0; i < indices.size(-1); ++i) {
    list.push_back(Wrapped(at::select(indices, -1, i), data.size(batch_axes + i)));
  }
  return list;
}

absl::StatusOr<Kernel> MakeGatherNd(const NodeView& view) {
  const int64_t batch_axes = view.node.GetInt("batch_dims", 0);
  return Kernel([batch_axes](const Call& call) {
    const at::Tensor& data = call.In(0);
    const at::Tensor& indices = call.In(1);
    call.Set(0, at::index(data, IndexList(data, indices, batch_axes)));
  });
}

std::string TorchReduction(const std::string& reduction) {
  if (reduction == "add") return "sum";
  if (reduction == "mul") return "prod";
  return reduction == "max" ? "amax" : "amin";
}

// Writes rows: data as [rows, inner], each index tuple a row.
at::Tensor ReduceRows(const at::Tensor& data, const at::Tensor& indices, const at::Tensor& updates,
                      const std::string& reduction) {
  const int64_t length = indices.size(-1);
  int64_t rows = 1;
  at::Tensor row =
      at::zeros(indices.sizes().slice(0, indices.dim() - 1), indices.options().dtype(at::kLong));
  for (int64_t i = 0; i < length; ++i) {
    row = row * data.size(i) + Wrapped(at::select(indices, -1, i), data.size(i));
    rows *= data.size(i);
  }
  const int64_t inner = rows == 0 ? 0 : data.numel() / rows;
  const at::Tensor flat = data.reshape({rows, inner});
  const at::Tensor index = row.reshape({-1, 1}).expand({row.numel(), inner});
  return at::scatter_reduce(flat, 0, index, updates.reshape({row.numel(), inner}),
                            TorchReduction(reduction), /*include_self=*/true)
      .reshape(data.sizes());
}

absl::StatusOr<Kernel> MakeScatterNd(const NodeView& view) {
  const std::string reduction = view.node.GetString("reduction", "none");
  return Kernel([reduction](const Call& call) {
    const at::Tensor& data = call.In(0);
    const at::Tensor& indices = call.In(1);
    const at::Tensor updates = call.In(2).to(data.scalar_type());
    if (reduction == "none" && indices.size(-1) > 0) {
      return call.Set(0, at::index_put(data, IndexList(data, indices, 0), updates));
    }
    TORCH_CHECK(indices.size(-1) > 0, "the index tuples are empty");
    call.Set(0, ReduceRows(data, indices, updates, reduction));
  });
}

absl::StatusOr<Kernel> MakeGatherElements(const NodeView& view) {
  const int64_t given_axis = view.node.GetInt("axis", 0);
  return Kernel([given_axis](const Call& call) {
    const at::Tensor& data = call.In(0);
    const int64_t axis = Axis(given_axis, data.dim());
    call.Set(0, at::gather(data, axis, Wrapped(call.In(1), data.size(axis))));
  });
}

absl::StatusOr<Kernel> MakeScatterElements(const NodeView& view) {
  const int64_t given_axis = view.node.GetInt("axis", 0);
  const std::string reduction = view.node.GetString("reduction", "none");
  return Kernel([given_axis, reduction](const Call& call) {
    const at::Tensor& data = call.In(0);
    const int64_t axis = Axis(given_axis, data.dim());
    const at::Tensor index = Wrapped(call.In(1), data.size(axis));
    const at::Tensor updates = call.In(2).to(data.scalar_type());
    if (reduction == "none") return call.Set(0, at::scatter(data, axis, index, updates));
    call.Set(0, at::scatter_reduce(data, axis, index, updates, TorchReduction(reduction),
                                   /*include_self=*/true));
  });
}

}  // namespace

void AddScatter(FactoryTable& table) {
  table["GatherND"] = MakeGatherNd;
  table["ScatterND"] = MakeScatterNd;
  table["GatherElements"] = MakeGatherElements;
  table["ScatterElements"] = MakeScatterElements;
}

}  // namespace ds::executor
