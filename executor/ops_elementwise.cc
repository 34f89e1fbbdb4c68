// Common activations and arithmetic.
#include <limits>

#include "base/status.h"
#include "executor/dropout.h"
#include "executor/kernel.h"
#include "graph/schema/schema.h"

namespace ds::executor {

namespace {

template <at::Tensor (*kFunction)(const at::Tensor&)>
absl::StatusOr<Kernel> MakeUnary(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, kFunction(call.In(0))); });
}

template <at::Tensor (*kFunction)(const at::Tensor&, const at::Tensor&)>
absl::StatusOr<Kernel> MakeBinary(const NodeView&) {
  return Kernel(
      [](const Call& call) { call.Set(0, kFunction(call.Matching(0, 1), call.Matching(1, 0))); });
}

absl::StatusOr<Kernel> MakeAdd(const NodeView&) {
  return Kernel([](const Call& call) {
    const at::Tensor a = call.Matching(0, 1);
    const at::Tensor b = call.Matching(1, 0);
    const bool in_place =
        call.may_overwrite && a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type();
    call.Set(0, in_place ? at::Tensor(a).add_(b) : at::add(a, b));
  });
}

at::Tensor Subtract(const at::Tensor& a, const at::Tensor& b) { return at::sub(a, b); }

at::Tensor Divide(const at::Tensor& a, const at::Tensor& b) {
  // Integers divide as in C: towards zero.
  if (!at::isFloatingType(a.scalar_type())) return at::div(a, b, "trunc");
  return at::div(a, b);
}

absl::StatusOr<Kernel> MakeRelu(const NodeView&) {
  return Kernel([](const Call& call) {
    const at::Tensor& x = call.In(0);
    call.Set(0, call.may_overwrite ? at::relu_(const_cast<at::Tensor&>(x)) : at::relu(x));
  });
}

absl::StatusOr<Kernel> MakeLeakyRelu(const NodeView& view) {
  const double alpha = view.node.GetFloat("alpha", 0.01f);
  return Kernel([alpha](const Call& call) { call.Set(0, at::leaky_relu(call.In(0), alpha)); });
}

absl::StatusOr<Kernel> MakeHardSigmoid(const NodeView& view) {
  // ONNX keeps the attributes in single precision: the model's number is what counts, not 1/6.
  const double alpha = view.node.GetFloat("alpha", 0.2f);
  const double beta = view.node.GetFloat("beta", 0.5f);
  if (view.node.GetFloat("alpha", 0.2f) == 1.0f / 6 && beta == 0.5) {
    return Kernel([](const Call& call) { call.Set(0, at::hardsigmoid(call.In(0))); });
  }
  return Kernel([=](const Call& call) { call.Set(0, at::clamp(call.In(0) * alpha + beta, 0, 1)); });
}

absl::StatusOr<Kernel> MakeGelu(const NodeView& view) {
  const std::string kind = view.node.GetString("approximate", "none");
  return Kernel([kind](const Call& call) { call.Set(0, at::gelu(call.In(0), kind)); });
}

absl::StatusOr<Kernel> MakeClip(const NodeView& view) {
  const ScalarOperand low(view, 1, -std::numeric_limits<double>::infinity());
  const ScalarOperand high(view, 2, std::numeric_limits<double>::infinity());
  const bool has_low = view.Has(1);
  const bool has_high = view.Has(2);
  return Kernel([=](const Call& call) {
    std::optional<at::Scalar> min;
    std::optional<at::Scalar> max;
    const bool integer = !at::isFloatingType(call.In(0).scalar_type());
    const auto scalar = [integer](double value) {
      return integer ? at::Scalar(static_cast<int64_t>(value)) : at::Scalar(value);
    };
    if (has_low) min = scalar(low.Get(call));
    if (has_high) max = scalar(high.Get(call));
    call.Set(0, has_low || has_high ? at::clamp(call.In(0), min, max) : call.In(0));
  });
}

absl::StatusOr<Kernel> MakePow(const NodeView& view) {
  const std::optional<double> exponent = view.ConstantScalar(1);
  return Kernel([exponent](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor power = exponent.has_value() ? at::pow(x, *exponent) : at::pow(x, call.In(1));
    call.Set(0, power.to(x.scalar_type()));
  });
}

absl::StatusOr<Kernel> MakeWhere(const NodeView&) {
  return Kernel([](const Call& call) {
    call.Set(0, at::where(call.In(0), call.Matching(1, 2), call.Matching(2, 1)));
  });
}

absl::StatusOr<Kernel> MakeCast(const NodeView& view) {
  DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromOnnxTypeNumber(view.node.GetInt("to", 0)));
  DS_ASSIGN_OR_RETURN(const at::ScalarType type, TorchType(dtype));
  if (BitWidth(dtype) < 8) {
    // The low bits, as casts to wider integers keep theirs.
    const int64_t count = int64_t{1} << BitWidth(dtype);
    const int64_t least = dtype == DType::kInt4 || dtype == DType::kInt2 ? -count / 2 : 0;
    return Kernel([=](const Call& call) {
      const at::Tensor whole = at::sub(call.In(0).to(at::kLong), least);
      call.Set(0, at::add(at::bitwise_and(whole, count - 1), least).to(type));
    });
  }
  return Kernel([type](const Call& call) { call.Set(0, call.In(0).to(type)); });
}

absl::StatusOr<Kernel> MakeIdentity(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, call.In(0)); });
}

absl::StatusOr<Kernel> MakeDropout(const NodeView& view) {
  const ScalarOperand ratio(view, 1, 0.5);
  return Kernel([ratio, node = DropoutNode(view.node.name)](const Call& call) {
    const at::Tensor& x = call.In(0);
    const double drop = ratio.Get(call);
    TORCH_CHECK(drop >= 0 && drop < 1, "the dropout ratio ", drop, " must be in [0, 1)");
    const bool active = call.run.training && drop > 0;
    at::Tensor mask;
    if (active) mask = DropoutMask(call.run.dropout_key, node, drop, x.sizes(), x.scalar_type());
    call.Set(0, active ? at::mul(x, mask) : x);
    if (call.outputs() > 1) {
      call.Set(1, active ? at::ne(mask, 0) : at::ones_like(x, at::TensorOptions(at::kBool)));
    }
  });
}

}  // namespace

void AddElementwise(FactoryTable& table) {
  table["Relu"] = MakeRelu;
  table["LeakyRelu"] = MakeLeakyRelu;
  table["HardSwish"] = MakeUnary<at::hardswish>;
  table["HardSigmoid"] = MakeHardSigmoid;
  table["Sigmoid"] = MakeUnary<at::sigmoid>;
  table["SiLU"] = MakeUnary<at::silu>;
  table["Gelu"] = MakeGelu;
  table["Tanh"] = MakeUnary<at::tanh>;
  table["Erf"] = MakeUnary<at::erf>;
  table["Sqrt"] = MakeUnary<at::sqrt>;
  table["Exp"] = MakeUnary<at::exp>;
  table["Log"] = MakeUnary<at::log>;
  table["Neg"] = MakeUnary<at::neg>;
  table["Abs"] = MakeUnary<at::abs>;
  table["Reciprocal"] = MakeUnary<at::reciprocal>;
  table["Clip"] = MakeClip;
  table["Add"] = MakeAdd;
  table["Sub"] = MakeBinary<Subtract>;
  table["Mul"] = MakeBinary<at::mul>;
  table["Div"] = MakeBinary<Divide>;
  table["Pow"] = MakePow;
  table["Where"] = MakeWhere;
  table["Cast"] = MakeCast;
  table["Identity"] = MakeIdentity;
  table["Dropout"] = MakeDropout;
}

}  // namespace ds::executor
