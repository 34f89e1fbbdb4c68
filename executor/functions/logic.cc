// Comparisons, logic and integers, and what chooses the largest or smallest of several operands.
#include "executor/kernel.h"

namespace ds::executor {

namespace {

template <at::Tensor (*kFunction)(const at::Tensor&, const at::Tensor&)>
absl::StatusOr<Kernel> MakeBinary(const NodeView&) {
  return Kernel(
      [](const Call& call) { call.Set(0, kFunction(call.Matching(0, 1), call.Matching(1, 0))); });
}

at::Tensor Add(const at::Tensor& a, const at::Tensor& b) { return at::add(a, b); }

// Folds the operands from the left; `kMean` divides by their number.
template <at::Tensor (*kFunction)(const at::Tensor&, const at::Tensor&), bool kMean = false>
absl::StatusOr<Kernel> MakeVariadic(const NodeView&) {
  return Kernel([](const Call& call) {
    at::Tensor out = call.inputs() > 1 ? call.Matching(0, 1) : call.In(0);
    for (int i = 1; i < call.inputs(); ++i) out = kFunction(out, call.Matching(i, 0));
    call.Set(0, kMean ? at::div(out, call.inputs()) : out);
  });
}

// The sign of the divisor as Python has it, or with fmod that of the dividend as C has it.
absl::StatusOr<Kernel> MakeMod(const NodeView& view) {
  const bool as_in_c = view.node.GetInt("fmod", 0) != 0;
  return Kernel([as_in_c](const Call& call) {
    const at::Tensor a = call.Matching(0, 1);
    const at::Tensor b = call.Matching(1, 0);
    call.Set(0, as_in_c ? at::fmod(a, b) : at::remainder(a, b));
  });
}

template <at::Tensor (*kFunction)(const at::Tensor&)>
absl::StatusOr<Kernel> MakeUnary(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, kFunction(call.In(0))); });
}

absl::StatusOr<Kernel> MakeIsInf(const NodeView& view) {
  const bool negative = view.node.GetInt("detect_negative", 1) != 0;
  const bool positive = view.node.GetInt("detect_positive", 1) != 0;
  return Kernel([=](const Call& call) {
    const at::Tensor& x = call.In(0);
    if (negative && positive) return call.Set(0, at::isinf(x));
    if (negative) return call.Set(0, at::isneginf(x));
    call.Set(0, positive ? at::isposinf(x) : at::zeros_like(x, at::TensorOptions(at::kBool)));
  });
}

}  // namespace

void AddLogic(FactoryTable& table) {
  table["Equal"] = MakeBinary<at::eq>;
  table["Less"] = MakeBinary<at::lt>;
  table["Greater"] = MakeBinary<at::gt>;
  table["LessOrEqual"] = MakeBinary<at::le>;
  table["GreaterOrEqual"] = MakeBinary<at::ge>;
  table["And"] = MakeBinary<at::logical_and>;
  table["Or"] = MakeBinary<at::logical_or>;
  table["Xor"] = MakeBinary<at::logical_xor>;
  table["Not"] = MakeUnary<at::logical_not>;
  table["BitwiseAnd"] = MakeBinary<at::bitwise_and>;
  table["BitwiseOr"] = MakeBinary<at::bitwise_or>;
  table["BitwiseXor"] = MakeBinary<at::bitwise_xor>;
  table["BitwiseNot"] = MakeUnary<at::bitwise_not>;
  table["Max"] = MakeVariadic<at::maximum>;
  table["Min"] = MakeVariadic<at::minimum>;
  table["Sum"] = MakeVariadic<Add>;
  table["Mean"] = MakeVariadic<Add, true>;
  table["Mod"] = MakeMod;
  table["IsNaN"] = MakeUnary<at::isnan>;
  table["IsInf"] = MakeIsInf;
}

}  // namespace ds::executor
