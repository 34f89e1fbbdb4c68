// Operators that make constants or give elements another shape; where LibTorch can, the result is a
// view.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/kernel.h"

namespace ds::executor {

namespace {

absl::StatusOr<at::Tensor> ValueAttribute(const Node& node) {
  const auto found = node.attributes.find("value");
  if (found == node.attributes.end()) return at::zeros({1}, at::TensorOptions(at::kFloat));
  const Tensor* tensor = std::get_if<Tensor>(&found->second);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError("attribute 'value' is not a tensor; store one in the model");
  }
  DS_RETURN_IF_ERROR(TorchType(tensor->dtype()).status());
  return ToTorch(*tensor);
}

absl::StatusOr<Kernel> MakeConstant(const NodeView& view) {
  DS_ASSIGN_OR_RETURN(const at::Tensor value, ValueAttribute(view.node));
  return Kernel([value](const Call& call) { call.Set(0, value); });
}

absl::StatusOr<Kernel> MakeConstantOfShape(const NodeView& view) {
  DS_ASSIGN_OR_RETURN(const at::Tensor value, ValueAttribute(view.node));
  const IntsOperand shape(view, 0);
  return Kernel([=](const Call& call) {
    call.Set(0, at::full(shape.Get(call), value.item(), value.options()));
  });
}

absl::StatusOr<Kernel> MakeShape(const NodeView& view) {
  const int64_t start = view.node.GetInt("start", 0);
  const int64_t end = view.node.GetInt("end", INT64_MAX);
  return Kernel([=](const Call& call) {
    const at::IntArrayRef sizes = call.In(0).sizes();
    const int64_t rank = static_cast<int64_t>(sizes.size());
    const auto clamp = [rank](int64_t i) {
      return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
    };
    const int64_t first = clamp(start);
    const int64_t count = std::max<int64_t>(clamp(end) - first, 0);
    at::Tensor out = at::empty({count}, at::TensorOptions(at::kLong));
    std::copy_n(sizes.begin() + first, count, out.mutable_data_ptr<int64_t>());
    call.Set(0, out);
  });
}

absl::StatusOr<Kernel> MakeRange(const NodeView&) {
  return Kernel([](const Call& call) {
    call.Set(0, at::arange(call.In(0).item(), call.In(1).item(), call.In(2).item(),
                           call.In(0).options().requires_grad(false)));
  });
}

absl::StatusOr<Kernel> MakeReshape(const NodeView& view) {
  const IntsOperand shape(view, 1);
  const bool allow_zero = view.node.GetInt("allowzero", 0) != 0;
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    std::vector<int64_t> target = shape.Get(call);
    for (size_t i = 0; i < target.size() && !allow_zero; ++i) {
      if (target[i] == 0) target[i] = x.size(static_cast<int64_t>(i));
    }
    call.Set(0, at::reshape(x, target));
  });
}

absl::StatusOr<Kernel> MakeFlatten(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", 1);
  return Kernel([axis](const Call& call) {
    const at::Tensor& x = call.In(0);
    const int64_t split = axis < 0 ? axis + x.dim() : axis;
    int64_t rows = 1;
    for (int64_t i = 0; i < split; ++i) rows *= x.size(i);
    int64_t columns = 1;
    for (int64_t i = split; i < x.dim(); ++i) columns *= x.size(i);
    call.Set(0, at::reshape(x, {rows, columns}));
  });
}

absl::StatusOr<Kernel> MakeTranspose(const NodeView& view) {
  const std::vector<int64_t> perm = view.node.GetInts("perm", {});
  return Kernel([perm](const Call& call) {
    std::vector<int64_t> order = perm;
    if (order.empty()) {
      for (int64_t i = call.In(0).dim(); i-- > 0;) order.push_back(i);
    }
    call.Set(0, at::permute(call.In(0), order));
  });
}

absl::StatusOr<Kernel> MakeSqueeze(const NodeView& view) {
  const IntsOperand axes(view, 1);
  return Kernel([axes](const Call& call) {
    const at::Tensor& x = call.In(0);
    if (!axes.present()) return call.Set(0, at::squeeze(x));
    call.Set(0, at::squeeze(x, axes.Get(call)));
  });
}

absl::StatusOr<Kernel> MakeUnsqueeze(const NodeView& view) {
  const IntsOperand axes(view, 1);
  return Kernel([axes](const Call& call) {
    at::Tensor x = call.In(0);
    std::vector<int64_t> at = axes.Get(call);
    const int64_t rank = x.dim() + static_cast<int64_t>(at.size());
    for (int64_t& axis : at) axis = Axis(axis, rank);
    std::sort(at.begin(), at.end());
    for (const int64_t axis : at) x = x.unsqueeze(axis);
    call.Set(0, x);
  });
}

absl::StatusOr<Kernel> MakeExpand(const NodeView& view) {
  const IntsOperand shape(view, 1);
  return Kernel([shape](const Call& call) {
    const at::Tensor& x = call.In(0);
    // Both ways: an extent of 1 in the target keeps the tensor's.
    std::vector<int64_t> target = shape.Get(call);
    const size_t rank = static_cast<size_t>(x.dim());
    if (target.size() < rank) target.insert(target.begin(), rank - target.size(), 1);
    for (size_t i = 0; i < rank; ++i) {
      int64_t& extent = target[target.size() - rank + i];
      if (extent == 1) extent = x.size(static_cast<int64_t>(i));
    }
    call.Set(0, x.expand(target));
  });
}

absl::StatusOr<Kernel> MakeTile(const NodeView& view) {
  const IntsOperand repeats(view, 1);
  return Kernel([repeats](const Call& call) { call.Set(0, call.In(0).repeat(repeats.Get(call))); });
}

}  // namespace

void AddShapes(FactoryTable& table) {
  table["Constant"] = MakeConstant;
  table["ConstantOfShape"] = MakeConstantOfShape;
  table["Shape"] = MakeShape;
  table["Range"] = MakeRange;
  table["Reshape"] = MakeReshape;
  table["Flatten"] = MakeFlatten;
  table["Transpose"] = MakeTranspose;
  table["Squeeze"] = MakeSqueeze;
  table["Unsqueeze"] = MakeUnsqueeze;
  table["Expand"] = MakeExpand;
  table["Tile"] = MakeTile;
}

}  // namespace ds::executor
