// Reductions, and what looks for elements along an axis. Halves are summed in fp32; a graph whose
// own values are halves gets them back.
#include <algorithm>
#include <limits>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

using Axes = std::vector<int64_t>;

bool IsFloat(const at::Tensor& x) { return at::isFloatingType(x.scalar_type()); }

// The axes that a node reduces over, in [0, rank), descending.
class ReducedAxes {
 public:
  explicit ReducedAxes(const NodeView& view)
      : operand_(view, 1),
        attribute_(view.node.GetInts("axes", {})),
        noop_(view.node.GetInt("noop_with_empty_axes", 0) != 0) {}

  // Empty: only what the node does to single elements is done.
  Axes Get(const Call& call) const {
    const int64_t rank = call.In(0).dim();
    Axes axes = operand_.present() ? operand_.Get(call) : attribute_;
    for (int64_t& axis : axes) axis = Axis(axis, rank);
    if (axes.empty() && !noop_) {
      for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
    }
    std::sort(axes.rbegin(), axes.rend());
    return axes;
  }

 private:
  IntsOperand operand_;
  Axes attribute_;
  bool noop_;
};

at::Tensor Sum(const at::Tensor& x, const Axes& axes, bool keep) {
  return axes.empty() ? x : at::sum(x, axes, keep, x.scalar_type());
}

at::Tensor Mean(const at::Tensor& x, const Axes& axes, bool keep) {
  if (axes.empty()) return x;
  if (IsFloat(x)) return at::mean(x, axes, keep);
  return at::mean(x.to(at::kDouble), axes, keep).to(x.scalar_type());
}

at::Tensor Prod(const at::Tensor& x, const Axes& axes, bool keep) {
  at::Tensor out = x;
  for (const int64_t axis : axes) out = at::prod(out, axis, keep, x.scalar_type());
  return out;
}

at::Tensor L1(const at::Tensor& x, const Axes& axes, bool keep) {
  return Sum(at::abs(x), axes, keep);
}

at::Tensor SumSquare(const at::Tensor& x, const Axes& axes, bool keep) {
  return Sum(at::mul(x, x), axes, keep);
}

// Functions of real numbers: integers go through double.
template <at::Tensor (*kFunction)(const at::Tensor&, const Axes&, bool)>
at::Tensor InReals(const at::Tensor& x, const Axes& axes, bool keep) {
  if (IsFloat(x)) return kFunction(x, axes, keep);
  return kFunction(x.to(at::kDouble), axes, keep).to(x.scalar_type());
}

at::Tensor L2(const at::Tensor& x, const Axes& axes, bool keep) {
  return axes.empty() ? at::abs(x) : at::linalg_vector_norm(x, 2, axes, keep);
}

at::Tensor LogSum(const at::Tensor& x, const Axes& axes, bool keep) {
  return at::log(Sum(x, axes, keep));
}

at::Tensor LogSumExp(const at::Tensor& x, const Axes& axes, bool keep) {
  return axes.empty() ? x : at::logsumexp(x, axes, keep);
}

// Of no elements the largest is the least number there is.
at::Tensor OfNothing(const at::Tensor& x, const Axes& axes, bool keep, bool largest) {
  at::Scalar value = !largest;
  if (IsFloat(x)) {
    const double infinity = std::numeric_limits<double>::infinity();
    value = largest ? -infinity : infinity;
  } else if (x.scalar_type() != at::kBool) {
    const int bits = static_cast<int>(x.element_size()) * 8;
    const bool is_signed = at::isSignedType(x.scalar_type());
    const int64_t top = is_signed ? INT64_MAX >> (64 - bits) : (int64_t{1} << bits) - 1;
    value = largest ? (is_signed ? -top - 1 : 0) : top;
  }
  return at::full_like(at::sum(x.detach(), axes, keep), value, x.options());
}

template <bool kLargest>
at::Tensor Extreme(const at::Tensor& x, const Axes& axes, bool keep) {
  if (axes.empty()) return x;
  int64_t count = 1;
  for (const int64_t axis : axes) count *= x.size(axis);
  if (count == 0) return OfNothing(x, axes, keep, kLargest);
  return kLargest ? at::amax(x, axes, keep) : at::amin(x, axes, keep);
}

template <at::Tensor (*kFunction)(const at::Tensor&, const Axes&, bool)>
absl::StatusOr<Kernel> MakeReduction(const NodeView& view) {
  const ReducedAxes axes(view);
  const bool keep = view.node.GetInt("keepdims", 1) != 0;
  return Kernel([axes, keep, narrow = DeclaredHalf(view, 0)](const Call& call) {
    call.Set(0, Narrowed(kFunction(AtLeastFloat(call.In(0)), axes.Get(call), keep), narrow));
  });
}

template <bool kLargest>
absl::StatusOr<Kernel> MakeArg(const NodeView& view) {
  const int64_t given = view.node.GetInt("axis", 0);
  const bool keep = view.node.GetInt("keepdims", 1) != 0;
  const bool last = view.node.GetInt("select_last_index", 0) != 0;
  return Kernel([=](const Call& call) {
    at::Tensor x = call.In(0);
    const int64_t axis = Axis(given, x.dim());
    const int64_t extent = x.size(axis);
    if (last) x = at::flip(x, axis);
    const at::Tensor found = kLargest ? at::argmax(x, axis, keep) : at::argmin(x, axis, keep);
    call.Set(0, last ? at::rsub(found, extent - 1) : found);
  });
}

absl::StatusOr<Kernel> MakeTopK(const NodeView& view) {
  const int64_t given = view.node.GetInt("axis", -1);
  const bool largest = view.node.GetInt("largest", 1) != 0;
  const IntsOperand k(view, 1);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    const int64_t axis = Axis(given, x.dim());
    const int64_t count = k.Get(call).at(0);
    TORCH_CHECK(count >= 0 && count <= x.size(axis), "k is ", count, " of ", x.size(axis),
                " elements");
    // Of equals the one with the lower index comes first, which at::topk does not promise.
    const auto [values, indices] = at::sort(x, /*stable=*/true, axis, /*descending=*/largest);
    call.Set(0, at::narrow(values, axis, 0, count));
    if (call.outputs() > 1) call.Set(1, at::narrow(indices, axis, 0, count));
  });
}

absl::StatusOr<Kernel> MakeCumSum(const NodeView& view) {
  const bool exclusive = view.node.GetInt("exclusive", 0) != 0;
  const bool reverse = view.node.GetInt("reverse", 0) != 0;
  const IntsOperand operand(view, 1);
  return Kernel([=, narrow = DeclaredHalf(view, 0)](const Call& call) {
    at::Tensor x = AtLeastFloat(call.In(0));
    const int64_t axis = Axis(operand.Get(call).at(0), x.dim());
    if (reverse) x = at::flip(x, axis);
    at::Tensor sums = at::cumsum(x, axis, x.scalar_type());
    // Without the element itself: the sums before it.
    if (exclusive && x.size(axis) > 0) {
      const at::Tensor none = at::zeros_like(at::narrow(sums, axis, 0, 1));
      sums = at::cat({none, at::narrow(sums, axis, 0, x.size(axis) - 1)}, axis);
    }
    call.Set(0, Narrowed(reverse ? at::flip(sums, axis) : sums, narrow));
  });
}

}  // namespace

void AddReductions(FactoryTable& table) {
  table["ReduceMean"] = MakeReduction<Mean>;
  table["ReduceSum"] = MakeReduction<Sum>;
  table["ReduceProd"] = MakeReduction<Prod>;
  table["ReduceL1"] = MakeReduction<L1>;
  table["ReduceL2"] = MakeReduction<InReals<L2>>;
  table["ReduceSumSquare"] = MakeReduction<SumSquare>;
  table["ReduceLogSum"] = MakeReduction<InReals<LogSum>>;
  table["ReduceLogSumExp"] = MakeReduction<InReals<LogSumExp>>;
  table["ReduceMax"] = MakeReduction<Extreme<true>>;
  table["ReduceMin"] = MakeReduction<Extreme<false>>;
  table["ArgMax"] = MakeArg<true>;
  table["ArgMin"] = MakeArg<false>;
  table["TopK"] = MakeTopK;
  table["CumSum"] = MakeCumSum;
}

}  // namespace ds::executor
