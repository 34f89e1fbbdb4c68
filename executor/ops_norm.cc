// Normalisation, softmax and reductions: what is summed over many elements is summed in fp32 or
// wider whatever the precision of the run.
#include "executor/batch_norm.h"
#include "executor/kernel.h"

namespace ds::executor {

namespace {

// Float types below single precision compute in single precision.
at::Tensor AtLeastFloat(const at::Tensor& x) {
  const bool low = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  return low ? x.to(at::kFloat) : x;
}

absl::StatusOr<Kernel> MakeBatchNorm(const NodeView& view) {
  const BatchNormOptions options = ReadBatchNormOptions(view.node);
  return Kernel([options](const Call& call) {
    call.Set(0, BatchNorm({call.In(0), call.In(1), call.In(2), call.In(3), call.In(4)}, {}, options,
                          call.run.trains_norms()));
  });
}

absl::StatusOr<Kernel> MakeLayerNorm(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  const double epsilon = view.node.GetFloat("epsilon", 1e-5f);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::IntArrayRef extents = x.sizes().slice(static_cast<size_t>(Axis(axis, x.dim())));
    const auto fit = [&](int i) -> std::optional<at::Tensor> {
      if (!call.Has(i)) return std::nullopt;
      return call.In(i).sizes() == extents ? call.In(i) : call.In(i).expand(extents).contiguous();
    };
    // LibTorch's mixed kernel (low input, fp32 weights and statistics) wants both weights.
    const at::Tensor in = call.Has(2) ? x : AtLeastFloat(x);
    call.Set(0, at::layer_norm(in, extents, fit(1), fit(2), epsilon, /*cudnn_enable=*/false));
  });
}

template <bool kLog>
absl::StatusOr<Kernel> MakeSoftmax(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  return Kernel([axis](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    call.Set(0, kLog ? at::log_softmax(x, axis) : at::softmax(x, axis));
  });
}

std::vector<int64_t> AllAxes(const at::Tensor& x) {
  std::vector<int64_t> axes(static_cast<size_t>(x.dim()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  return axes;
}

absl::StatusOr<Kernel> MakeReduceMean(const NodeView& view) {
  const std::vector<int64_t> axes = view.node.GetInts("axes", {});
  const bool keep = view.node.GetInt("keepdims", 1) != 0;
  return Kernel([=](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    call.Set(0, at::mean(x, axes.empty() ? AllAxes(x) : axes, keep));
  });
}

absl::StatusOr<Kernel> MakeReduceSum(const NodeView& view) {
  const IntsOperand axes(view, 1);
  const bool keep = view.node.GetInt("keepdims", 1) != 0;
  const bool noop = view.node.GetInt("noop_with_empty_axes", 0) != 0;
  return Kernel([=](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    std::vector<int64_t> over = axes.Get(call);
    if (over.empty() && noop) return call.Set(0, x);
    if (over.empty()) over = AllAxes(x);
    call.Set(0, at::sum(x, over, keep, x.scalar_type()));
  });
}

}  // namespace

void AddNormalization(FactoryTable& table) {
  table["BatchNormalization"] = MakeBatchNorm;
  table["LayerNormalization"] = MakeLayerNorm;
  table["Softmax"] = MakeSoftmax<false>;
  table["LogSoftmax"] = MakeSoftmax<true>;
  table["ReduceMean"] = MakeReduceMean;
  table["ReduceSum"] = MakeReduceSum;
}

}  // namespace ds::executor
