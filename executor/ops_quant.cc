// QuantizeLinear and DequantizeLinear as ONNX defines them, in fp32. Integers smaller than a byte
// are computed with as whole bytes.
#include <algorithm>
#include <optional>

#include "ATen/Parallel.h"
#include "base/status.h"
#include "base/tensor/int_tensor.h"
#include "executor/kernel.h"
#include "executor/kernels/quant_kernels.h"
#include "executor/structured/dynamic_codes.h"

namespace ds::executor {

namespace {

// How scales and zero points meet the tensor.
struct Layout {
  int64_t axis = 1;
  int64_t block = 0;  // elements along the axis that share a scale; 0: none do, or all

  explicit Layout(const Node& node)
      : axis(node.GetInt("axis", 1)), block(node.GetInt("block_size", 0)) {}

  // `parameter` (a scale or zero point) in a shape that broadcasts against x.
  at::Tensor Spread(const at::Tensor& parameter, const at::Tensor& x) const {
    if (parameter.numel() == 1 && block == 0) return parameter.reshape({});
    const int64_t at = Axis(axis, x.dim());
    if (block > 0) {
      return at::repeat_interleave(parameter, block, at).narrow(at, 0, x.size(at));
    }
    std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
    shape[static_cast<size_t>(at)] = parameter.numel();
    return parameter.reshape(shape);
  }
};

// Elements a thread takes at a time.
constexpr int64_t kGrain = 1 << 15;

bool IsByte(at::ScalarType type) { return type == at::kByte || type == at::kChar; }

// One scale for the whole tensor, on the CPU, without a gradient: what quant_kernels.h does in one
// pass.
std::optional<AffineStep> OneStep(const Call& call, const Layout& layout, bool shifted) {
  const at::Tensor& scale = call.In(1);
  const bool one = scale.numel() == 1 && layout.block == 0 && scale.scalar_type() == at::kFloat;
  if (!one || scale.requires_grad() || !call.In(0).is_cpu()) return std::nullopt;
  return AffineStep{.scale = scale.item<float>(),
                    .zero_point = shifted ? call.In(2).item<int32_t>() : 0};
}

// Calls run(begin, count) from several threads.
template <typename Run>
void InParts(int64_t count, const Run& run) {
  at::parallel_for(0, count, kGrain, [&](int64_t from, int64_t to) { run(from, to - from); });
}

at::Tensor QuantizeInOnePass(const at::Tensor& input, const AffineStep& step, at::ScalarType type) {
  const at::Tensor x = input.is_non_overlapping_and_dense() ? input : input.contiguous();
  const at::Tensor codes = at::empty_like(x, type);  // keeps the order in memory
  const float* from = x.const_data_ptr<float>();
  const auto run = [&](auto* to) {
    InParts(x.numel(), [&](int64_t at, int64_t n) { QuantizeInts(from + at, n, step, to + at); });
  };
  type == at::kByte ? run(codes.data_ptr<uint8_t>()) : run(codes.data_ptr<int8_t>());
  return codes;
}

at::Tensor DequantizeInOnePass(const at::Tensor& input, const AffineStep& step) {
  const at::Tensor codes = input.is_non_overlapping_and_dense() ? input : input.contiguous();
  const at::Tensor x = at::empty_like(codes, at::kFloat);
  float* to = x.data_ptr<float>();
  const auto run = [&](const auto* from) {
    InParts(x.numel(), [&](int64_t at, int64_t n) { DequantizeInts(from + at, n, step, to + at); });
  };
  codes.scalar_type() == at::kByte ? run(codes.const_data_ptr<uint8_t>())
                                   : run(codes.const_data_ptr<int8_t>());
  return x;
}

absl::StatusOr<Kernel> MakeQuantizeLinear(const NodeView& view) {
  const bool shifted = view.Has(2);
  const DType code = shifted ? view.graph.value(view.node.inputs[2]).dtype : DType::kUInt8;
  DS_ASSIGN_OR_RETURN(const at::ScalarType type, TorchType(code));
  DS_ASSIGN_OR_RETURN(const IntRange range, RangeOfInts(code));
  return Kernel([=, layout = Layout(view.node)](const Call& call) {
    const at::Tensor x = call.In(0).to(at::kFloat);
    std::optional<AffineStep> step = IsByte(type) ? OneStep(call, layout, shifted) : std::nullopt;
    if (step.has_value()) {
      step->low = range.min;
      step->high = range.max;
      return call.Set(0, QuantizeInOnePass(x, *step, type));
    }
    // at::round is half to even. What is not a number becomes the zero point.
    at::Tensor steps = at::nan_to_num(at::round(at::div(x, layout.Spread(call.In(1), x))), 0.0);
    if (shifted) steps = at::add(steps, layout.Spread(call.In(2), x).to(at::kFloat));
    call.Set(0, at::clamp(steps, range.min, range.max).to(type));
  });
}

absl::StatusOr<Kernel> MakeDequantizeLinear(const NodeView& view) {
  return Kernel([shifted = view.Has(2), layout = Layout(view.node)](const Call& call) {
    const at::Tensor& x = call.In(0);
    if (IsByte(x.scalar_type())) {
      const std::optional<AffineStep> step = OneStep(call, layout, shifted);
      if (step.has_value()) return call.Set(0, DequantizeInOnePass(x, *step));
    }
    const at::Tensor scale = layout.Spread(call.In(1), x);
    at::Tensor steps = x.to(at::kInt);
    if (shifted) steps = at::sub(steps, layout.Spread(call.In(2), x).to(at::kInt));
    call.Set(0, at::mul(steps.to(scale.scalar_type()), scale));
  });
}

absl::StatusOr<Kernel> MakeDynamicQuantizeLinear(const NodeView&) {
  return Kernel([](const Call& call) {
    const DynamicCodes made = CodesOfOwnRange(call.In(0).to(at::kFloat));
    call.Set(0, made.codes.to(at::kByte));
    if (call.outputs() > 1) call.Set(1, made.scale);
    if (call.outputs() > 2) call.Set(2, made.zero_point.to(at::kByte));
  });
}

}  // namespace

void AddQuantization(FactoryTable& table) {
  table["QuantizeLinear"] = MakeQuantizeLinear;
  table["DequantizeLinear"] = MakeDequantizeLinear;
  table["DynamicQuantizeLinear"] = MakeDynamicQuantizeLinear;
}

}  // namespace ds::executor
