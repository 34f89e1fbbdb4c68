// Normalisations over groups of channels, neighbours and chosen axes, in fp32 or wider.
#include "executor/kernel.h"

namespace ds::executor {

namespace {

// Group normalisation; of as many groups as channels it is instance normalisation.
template <bool kInstance>
absl::StatusOr<Kernel> MakeGroupNorm(const NodeView& view) {
  const int64_t given = view.node.GetInt("num_groups", 0);
  const double epsilon = view.node.GetFloat("epsilon", 1e-5f);
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    const int64_t groups = kInstance ? x.size(1) : given;
    const at::Tensor scale = call.In(1).to(x.scalar_type());
    const at::Tensor bias = call.In(2).to(x.scalar_type());
    call.Set(0, Narrowed(at::group_norm(x, groups, scale, bias, epsilon, false), half));
  });
}

// Zhang and Sennrich, "Root Mean Square Layer Normalization", equation 4.
absl::StatusOr<Kernel> MakeRmsNorm(const NodeView& view) {
  const int64_t given = view.node.GetInt("axis", -1);
  const double epsilon = view.node.GetFloat("epsilon", 1e-5f);
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    std::vector<int64_t> axes;
    for (int64_t i = Axis(given, x.dim()); i < x.dim(); ++i) axes.push_back(i);
    const at::Tensor square = at::mean(at::mul(x, x), axes, /*keepdim=*/true);
    const at::Tensor y = at::mul(x, at::rsqrt(at::add(square, epsilon)));
    call.Set(0, Narrowed(at::mul(y, call.In(1).to(x.scalar_type())), half));
  });
}

// Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
// section 3.3.
absl::StatusOr<Kernel> MakeLrn(const NodeView& view) {
  const int64_t size = view.node.GetInt("size", 1);
  const double alpha = view.node.GetFloat("alpha", 1e-4f);
  const double beta = view.node.GetFloat("beta", 0.75f);
  const double bias = view.node.GetFloat("bias", 1.0f);
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    std::vector<int64_t> pads(static_cast<size_t>(2 * (x.dim() - 1)), 0);
    pads[pads.size() - 2] = (size - 1) / 2;
    pads[pads.size() - 1] = size / 2;
    const at::Tensor padded = at::constant_pad_nd(at::mul(x, x), pads, 0);
    const at::Tensor sums = at::sum(padded.unfold(1, size, 1), at::IntArrayRef{-1});
    const at::Tensor base = at::add(at::mul(sums, alpha / static_cast<double>(size)), bias);
    call.Set(0, Narrowed(at::div(x, at::pow(base, beta)), half));
  });
}

absl::StatusOr<Kernel> MakeLpNorm(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  const int64_t p = view.node.GetInt("p", 2);
  return Kernel([=, half = DeclaredHalf(view, 0)](const Call& call) {
    const at::Tensor x = AtLeastFloat(call.In(0));
    const at::Tensor norm = at::linalg_vector_norm(x, p, at::IntArrayRef{axis}, /*keepdim=*/true);
    // What is nothing but zeros stays so.
    const at::Tensor divisor = at::where(at::eq(norm, 0), at::ones_like(norm), norm);
    call.Set(0, Narrowed(at::div(x, divisor), half));
  });
}

absl::StatusOr<Kernel> MakeMeanVariance(const NodeView& view) {
  const std::vector<int64_t> axes = view.node.GetInts("axes", {0, 2, 3});
  return Kernel([axes, half = DeclaredHalf(view, 0)](const Call& call) {
    constexpr double kLeast = 1e-9;  // the specification's
    const at::Tensor x = AtLeastFloat(call.In(0));
    const at::Tensor centred = at::sub(x, at::mean(x, axes, /*keepdim=*/true));
    const at::Tensor variance = at::mean(at::mul(centred, centred), axes, /*keepdim=*/true);
    call.Set(0, Narrowed(at::div(centred, at::add(at::sqrt(variance), kLeast)), half));
  });
}

}  // namespace

void AddGroupNormalization(FactoryTable& table) {
  table["InstanceNormalization"] = MakeGroupNorm<true>;
  table["GroupNormalization"] = MakeGroupNorm<false>;
  table["RMSNormalization"] = MakeRmsNorm;
  table["LRN"] = MakeLrn;
  table["LpNormalization"] = MakeLpNorm;
  table["MeanVarianceNormalization"] = MakeMeanVariance;
}

}  // namespace ds::executor
