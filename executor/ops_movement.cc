// Operators that pick, join and pad elements along axes.
#include <algorithm>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

at::Tensor IndexTensor(const std::vector<int64_t>& index) {
  at::Tensor out = at::empty({static_cast<int64_t>(index.size())}, at::TensorOptions(at::kLong));
  std::copy(index.begin(), index.end(), out.mutable_data_ptr<int64_t>());
  return out;
}

absl::StatusOr<Kernel> MakeConcat(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", 0);
  return Kernel([axis](const Call& call) {
    std::vector<at::Tensor> parts;
    for (int i = 0; i < call.inputs(); ++i) parts.push_back(call.In(i));
    call.Set(0, at::cat(parts, axis));
  });
}

absl::StatusOr<Kernel> MakeSplit(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", 0);
  const IntsOperand sizes(view, 1);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    std::vector<int64_t> parts = sizes.Get(call);
    if (parts.empty()) {
      TORCH_CHECK(x.size(axis) % call.outputs() == 0, "an extent of ", x.size(axis),
                  " cannot be split into ", call.outputs(), " equal parts");
      parts.assign(static_cast<size_t>(call.outputs()), x.size(axis) / call.outputs());
    }
    TORCH_CHECK(static_cast<int>(parts.size()) == call.outputs(), parts.size(), " sizes for ",
                call.outputs(), " outputs");
    const std::vector<at::Tensor> out = at::split_with_sizes(x, parts, axis);
    for (int i = 0; i < call.outputs(); ++i) call.Set(i, out[static_cast<size_t>(i)]);
  });
}

at::Tensor SliceAxis(const at::Tensor& x, int64_t axis, int64_t start, int64_t end, int64_t step) {
  const int64_t extent = x.size(axis);
  if (start < 0) start += extent;
  if (end < 0) end = end < -extent ? -1 : end + extent;
  if (step > 0) {
    start = std::clamp<int64_t>(start, 0, extent);
    return at::slice(x, axis, start, std::clamp<int64_t>(end, start, extent), step);
  }
  // LibTorch has no negative strides: the elements are picked.
  std::vector<int64_t> index;
  end = std::max<int64_t>(end, -1);
  for (int64_t i = std::min(start, extent - 1); i > end; i += step) index.push_back(i);
  return at::index_select(x, axis, IndexTensor(index));
}

absl::StatusOr<Kernel> MakeSlice(const NodeView& view) {
  const IntsOperand starts(view, 1);
  const IntsOperand ends(view, 2);
  const IntsOperand axes(view, 3);
  const IntsOperand steps(view, 4);
  return Kernel([=](const Call& call) {
    at::Tensor x = call.In(0);
    const std::vector<int64_t> from = starts.Get(call);
    const std::vector<int64_t> to = ends.Get(call);
    const std::vector<int64_t> along = axes.Get(call);
    const std::vector<int64_t> by = steps.Get(call);
    for (size_t i = 0; i < from.size(); ++i) {
      const int64_t axis = axes.present() ? Axis(along.at(i), x.dim()) : static_cast<int64_t>(i);
      const int64_t step = steps.present() ? by.at(i) : 1;
      TORCH_CHECK(step != 0, "a step of 0");
      // INT64_MIN as an end of a negative step means "to the first element".
      x = SliceAxis(x, axis, from[i], std::max(to.at(i), INT64_MIN / 2), step);
    }
    call.Set(0, x);
  });
}

absl::StatusOr<Kernel> MakeGather(const NodeView& view) {
  const int64_t given_axis = view.node.GetInt("axis", 0);
  return Kernel([given_axis](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor indices = call.In(1).to(at::kLong);
    const int64_t axis = Axis(given_axis, x.dim());
    const at::Tensor wrapped =
        at::where(at::lt(indices, 0), at::add(indices, x.size(axis)), indices);
    std::vector<int64_t> shape = x.sizes().vec();
    shape.erase(shape.begin() + axis);
    shape.insert(shape.begin() + axis, indices.sizes().begin(), indices.sizes().end());
    call.Set(0, at::index_select(x, axis, wrapped.reshape({-1})).reshape(shape));
  });
}

// Where padded position i lies in an axis of `extent`; reflection does not repeat the border.
int64_t Reflect(int64_t i, int64_t extent) {
  if (extent == 1) return 0;
  const int64_t period = 2 * (extent - 1);
  i = ((i % period) + period) % period;
  return i < extent ? i : period - i;
}

// The same where the axis starts again at its end.
int64_t Wrap(int64_t i, int64_t extent) { return ((i % extent) + extent) % extent; }

at::Tensor PadByIndex(at::Tensor x, const std::vector<int64_t>& pads, const std::string& mode) {
  const int64_t rank = x.dim();
  for (int64_t axis = 0; axis < rank; ++axis) {
    const int64_t begin = pads[static_cast<size_t>(axis)];
    const int64_t end = pads[static_cast<size_t>(axis + rank)];
    if (begin == 0 && end == 0) continue;
    const int64_t extent = x.size(axis);
    TORCH_CHECK(extent > 0, "axis ", axis, " has no elements to repeat");
    std::vector<int64_t> index;
    for (int64_t i = -begin; i < extent + end; ++i) {
      index.push_back(mode == "reflect" ? Reflect(i, extent)
                      : mode == "wrap"  ? Wrap(i, extent)
                                        : std::clamp<int64_t>(i, 0, extent - 1));
    }
    x = at::index_select(x, axis, IndexTensor(index));
  }
  return x;
}

// Pads of some axes as pads of all.
std::vector<int64_t> OfAllAxes(const std::vector<int64_t>& pads, const std::vector<int64_t>& axes,
                               int64_t rank) {
  TORCH_CHECK(pads.size() == 2 * axes.size(), pads.size(), " pads for ", axes.size(), " axes");
  std::vector<int64_t> all(static_cast<size_t>(2 * rank), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = Axis(axes[i], rank);
    all[static_cast<size_t>(axis)] = pads[i];
    all[static_cast<size_t>(axis + rank)] = pads[i + axes.size()];
  }
  return all;
}

absl::StatusOr<Kernel> MakePad(const NodeView& view) {
  const std::string mode = view.node.GetString("mode", "constant");
  const IntsOperand pads(view, 1);
  const ScalarOperand value(view, 2, 0.0);
  const IntsOperand axes(view, 3);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    const size_t rank = static_cast<size_t>(x.dim());
    const std::vector<int64_t> amounts =
        axes.present() ? OfAllAxes(pads.Get(call), axes.Get(call), x.dim()) : pads.Get(call);
    TORCH_CHECK(amounts.size() == 2 * rank, amounts.size(), " pads for a tensor of rank ", rank);
    if (mode != "constant") return call.Set(0, PadByIndex(x, amounts, mode));
    std::vector<int64_t> last_first;
    for (size_t i = rank; i-- > 0;) {
      last_first.push_back(amounts[i]);
      last_first.push_back(amounts[i + rank]);
    }
    call.Set(0, at::constant_pad_nd(x, last_first, value.Get(call)));
  });
}

}  // namespace

void AddMovement(FactoryTable& table) {
  table["Concat"] = MakeConcat;
  table["Split"] = MakeSplit;
  table["Slice"] = MakeSlice;
  table["Gather"] = MakeGather;
  table["Pad"] = MakePad;
}

}  // namespace ds::executor
