// Activations and functions of one number beyond those of ops_elementwise.cc.
#include "executor/kernel.h"

namespace ds::executor {

namespace {

template <at::Tensor (*kFunction)(const at::Tensor&)>
absl::StatusOr<Kernel> MakeUnary(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, kFunction(call.In(0))); });
}

at::Tensor Softplus(const at::Tensor& x) {
  // Beyond the threshold it is x: exp(-40) is below half a unit in the last place, in double too.
  return at::softplus(x, /*beta=*/1, /*threshold=*/40);
}

at::Tensor Softsign(const at::Tensor& x) { return at::div(x, at::add(at::abs(x), 1)); }

absl::StatusOr<Kernel> MakeElu(const NodeView& view) {
  const double alpha = view.node.GetFloat("alpha", 1.0f);
  return Kernel([alpha](const Call& call) { call.Set(0, at::elu(call.In(0), alpha)); });
}

absl::StatusOr<Kernel> MakeSelu(const NodeView& view) {
  // The defaults of the ONNX specification, from "Self-Normalizing Neural Networks", section 2.
  const double alpha = view.node.GetFloat("alpha", 1.67326319217681884765625f);
  const double gamma = view.node.GetFloat("gamma", 1.05070102214813232421875f);
  return Kernel([=](const Call& call) { call.Set(0, at::elu(call.In(0), alpha, gamma)); });
}

absl::StatusOr<Kernel> MakeCelu(const NodeView& view) {
  const double alpha = view.node.GetFloat("alpha", 1.0f);
  return Kernel([alpha](const Call& call) { call.Set(0, at::celu(call.In(0), alpha)); });
}

absl::StatusOr<Kernel> MakeThresholdedRelu(const NodeView& view) {
  const double alpha = view.node.GetFloat("alpha", 1.0f);
  return Kernel([alpha](const Call& call) { call.Set(0, at::threshold(call.In(0), alpha, 0)); });
}

absl::StatusOr<Kernel> MakeShrink(const NodeView& view) {
  const double bias = view.node.GetFloat("bias", 0.0f);
  const double limit = view.node.GetFloat("lambd", 0.5f);
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor below = at::where(at::lt(x, -limit), at::add(x, bias), at::zeros_like(x));
    call.Set(0, at::where(at::gt(x, limit), at::sub(x, bias), below).to(x.scalar_type()));
  });
}

absl::StatusOr<Kernel> MakePRelu(const NodeView&) {
  return Kernel([](const Call& call) {
    const at::Tensor& x = call.In(0);
    call.Set(0, at::where(at::lt(x, 0), at::mul(x, call.Matching(1, 0)), x));
  });
}

// 1 where the first largest element of the axis is.
absl::StatusOr<Kernel> MakeHardmax(const NodeView& view) {
  const int64_t axis = view.node.GetInt("axis", -1);
  return Kernel([axis](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor largest = at::argmax(x, Axis(axis, x.dim()), /*keepdim=*/true);
    call.Set(0, at::zeros_like(x).scatter(Axis(axis, x.dim()), largest, 1));
  });
}

}  // namespace

void AddActivations(FactoryTable& table) {
  table["Softplus"] = MakeUnary<Softplus>;
  table["Softsign"] = MakeUnary<Softsign>;
  table["Mish"] = MakeUnary<at::mish>;
  table["Elu"] = MakeElu;
  table["Selu"] = MakeSelu;
  table["Celu"] = MakeCelu;
  table["ThresholdedRelu"] = MakeThresholdedRelu;
  table["Shrink"] = MakeShrink;
  table["PRelu"] = MakePRelu;
  table["Hardmax"] = MakeHardmax;
  table["Round"] = MakeUnary<at::round>;  // half to even, as ONNX
  table["Floor"] = MakeUnary<at::floor>;
  table["Ceil"] = MakeUnary<at::ceil>;
  table["Sign"] = MakeUnary<at::sign>;
  table["Sin"] = MakeUnary<at::sin>;
  table["Cos"] = MakeUnary<at::cos>;
  table["Tan"] = MakeUnary<at::tan>;
  table["Asin"] = MakeUnary<at::asin>;
  table["Acos"] = MakeUnary<at::acos>;
  table["Atan"] = MakeUnary<at::atan>;
  table["Sinh"] = MakeUnary<at::sinh>;
  table["Cosh"] = MakeUnary<at::cosh>;
  table["Asinh"] = MakeUnary<at::asinh>;
  table["Acosh"] = MakeUnary<at::acosh>;
  table["Atanh"] = MakeUnary<at::atanh>;
}

}  // namespace ds::executor
