// Operators that rearrange, sample or count elements.
#include <algorithm>

#include "base/status.h"
#include "executor/kernel.h"
#include "graph/schema/schema.h"

namespace ds::executor {

namespace {

absl::StatusOr<Kernel> MakeDepthToSpace(const NodeView& view) {
  const int64_t block = view.node.GetInt("blocksize", 1);
  const bool blocks_first = view.node.GetString("mode", "DCR") == "DCR";
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    const int64_t n = x.size(0);
    const int64_t c = x.size(1) / (block * block);
    const int64_t h = x.size(2);
    const int64_t w = x.size(3);
    const at::Tensor y = blocks_first
                             ? x.reshape({n, block, block, c, h, w}).permute({0, 3, 4, 1, 5, 2})
                             : x.reshape({n, c, block, block, h, w}).permute({0, 1, 4, 2, 5, 3});
    call.Set(0, y.reshape({n, c, h * block, w * block}));
  });
}

absl::StatusOr<Kernel> MakeSpaceToDepth(const NodeView& view) {
  const int64_t block = view.node.GetInt("blocksize", 1);
  return Kernel([block](const Call& call) {
    const at::Tensor& x = call.In(0);
    const int64_t n = x.size(0);
    const int64_t c = x.size(1);
    const int64_t h = x.size(2) / block;
    const int64_t w = x.size(3) / block;
    const at::Tensor y = x.reshape({n, c, h, block, w, block}).permute({0, 3, 5, 1, 2, 4});
    call.Set(0, y.reshape({n, c * block * block, h, w}));
  });
}

absl::StatusOr<Kernel> MakeGridSample(const NodeView& view) {
  const std::string mode = view.node.GetString("mode", "linear");
  const std::string padding = view.node.GetString("padding_mode", "zeros");
  // LibTorch's numbers of the modes.
  const int64_t interpolation = mode == "linear" ? 0 : mode == "nearest" ? 1 : 2;
  const int64_t outside = padding == "zeros" ? 0 : padding == "border" ? 1 : 2;
  const bool align = view.node.GetInt("align_corners", 0) != 0;
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    const at::Tensor grid = call.In(1).to(x.scalar_type());
    call.Set(0, Narrowed(at::grid_sampler(x, grid, interpolation, outside, align), half));
  });
}

absl::StatusOr<Kernel> MakeTrilu(const NodeView& view) {
  const bool upper = view.node.GetInt("upper", 1) != 0;
  const IntsOperand operand(view, 1);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    int64_t k = operand.present() ? operand.Get(call).at(0) : 0;
    // Beyond the matrix all diagonals are alike; LibTorch's own sums would overflow.
    k = std::clamp(k, -x.size(-2) - 1, x.size(-1) + 1);
    call.Set(0, upper ? at::triu(x, k) : at::tril(x, k));
  });
}

absl::StatusOr<Kernel> MakeSize(const NodeView&) {
  return Kernel([](const Call& call) {
    call.Set(0, at::scalar_tensor(call.In(0).numel(), at::TensorOptions(at::kLong)));
  });
}

absl::StatusOr<Kernel> MakeEyeLike(const NodeView& view) {
  DType dtype = view.graph.value(view.node.inputs[0]).dtype;
  if (view.node.attributes.contains("dtype")) {
    DS_ASSIGN_OR_RETURN(dtype, DTypeFromOnnxTypeNumber(view.node.GetInt("dtype", 1)));
  }
  DS_ASSIGN_OR_RETURN(const at::ScalarType type, TorchType(dtype));
  const int64_t k = view.node.GetInt("k", 0);
  return Kernel([type, k](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor rows = at::arange(x.size(0)).unsqueeze(1);
    const at::Tensor columns = at::arange(x.size(1)).unsqueeze(0);
    call.Set(0, at::eq(at::sub(columns, rows), k).to(type));
  });
}

absl::StatusOr<Kernel> MakeNonZero(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, at::nonzero(call.In(0)).t()); });
}

// The value `on` where the index along the new axis is the element's, `off` elsewhere.
absl::StatusOr<Kernel> MakeOneHot(const NodeView& view) {
  const int64_t given = view.node.GetInt("axis", -1);
  const ScalarOperand depth(view, 1, 0);
  return Kernel([=](const Call& call) {
    const at::Tensor indices = call.In(0).to(at::kLong);
    const int64_t count = static_cast<int64_t>(depth.Get(call));
    TORCH_CHECK(count >= 1, "the depth is ", count);
    const int64_t axis = Axis(given, indices.dim() + 1);
    std::vector<int64_t> shape(static_cast<size_t>(indices.dim()) + 1, 1);
    shape[static_cast<size_t>(axis)] = count;
    const at::Tensor wrapped = at::where(at::lt(indices, 0), at::add(indices, count), indices);
    const at::Tensor hot = at::eq(wrapped.unsqueeze(axis), at::arange(count).reshape(shape));
    call.Set(0, at::where(hot, call.In(2).select(0, 1), call.In(2).select(0, 0)));
  });
}

}  // namespace

void AddArrangement(FactoryTable& table) {
  table["DepthToSpace"] = MakeDepthToSpace;
  table["SpaceToDepth"] = MakeSpaceToDepth;
  table["GridSample"] = MakeGridSample;
  table["Trilu"] = MakeTrilu;
  table["Size"] = MakeSize;
  table["EyeLike"] = MakeEyeLike;
  table["NonZero"] = MakeNonZero;
  table["OneHot"] = MakeOneHot;
}

}  // namespace ds::executor
