// Normalisation and softmax: what is summed over many elements is summed in fp32 or
// wider whatever the precision of the run.
#include "executor/batch_norm.h"
#include "executor/kernel.h"

namespace ds::executor {

namespace {

absl::StatusOr<Kernel> MakeBatchNorm(const NodeView& view) {
  const BatchNormOptions options = ReadBatchNormOptions(view.node);
  return Kernel([options, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor y = BatchNorm({call.In(0), call.In(1), call.In(2), call.In(3), call.In(4)}, {},
                                   options, call.run.trains_norms());
    call.Set(0, Narrowed(y, half));
  });
}

absl::StatusOr<Kernel> MakeLayerNorm(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  const double epsilon = view.node.GetFloat("epsilon", 1e-5f);
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::IntArrayRef extents = x.sizes().slice(static_cast<size_t>(Axis(axis, x.dim())));
    // LibTorch's mixed kernel (low input, fp32 weights and statistics) wants both weights.
    const at::Tensor in = call.Has(2) ? x : AtLeastFloat(x);
    const auto fit = [&](int i) -> std::optional<at::Tensor> {
      if (!call.Has(i)) return std::nullopt;
      const at::Tensor weight = call.Has(2) ? call.In(i) : call.In(i).to(in.scalar_type());
      return weight.sizes() == extents ? weight : weight.expand(extents).contiguous();
    };
    if (call.outputs() == 1) {
      const at::Tensor y = at::layer_norm(in, extents, fit(1), fit(2), epsilon, false);
      return call.Set(0, Narrowed(y, half));
    }
    const auto [y, mean, deviation] = at::native_layer_norm(in, extents, fit(1), fit(2), epsilon);
    call.Set(0, Narrowed(y, half));
    call.Set(1, mean.to(at::kFloat));
    if (call.outputs() > 2) call.Set(2, deviation.to(at::kFloat));
  });
}

template <bool kLog>
absl::StatusOr<Kernel> MakeSoftmax(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  return Kernel([axis, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    call.Set(0, Narrowed(kLog ? at::log_softmax(x, axis) : at::softmax(x, axis), half));
  });
}

}  // namespace

void AddNormalization(FactoryTable& table) {
  table["BatchNormalization"] = MakeBatchNorm;
  table["LayerNormalization"] = MakeLayerNorm;
  table["Softmax"] = MakeSoftmax<false>;
  table["LogSoftmax"] = MakeSoftmax<true>;
}

}  // namespace ds::executor
