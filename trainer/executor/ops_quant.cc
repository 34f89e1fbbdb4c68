// QuantizeLinear and DequantizeLinear as ONNX defines them, in fp32. Integers smaller than a byte
// are computed with as whole bytes.
#include <algorithm>

#include "base/int_tensor.h"
#include "base/status.h"
#include "trainer/executor/kernel.h"

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

absl::StatusOr<Kernel> MakeQuantizeLinear(const NodeView& view) {
  const bool shifted = view.Has(2);
  const DType code = shifted ? view.graph.value(view.node.inputs[2]).dtype : DType::kUInt8;
  DS_ASSIGN_OR_RETURN(const at::ScalarType type, TorchType(code));
  DS_ASSIGN_OR_RETURN(const IntRange range, RangeOfInts(code));
  return Kernel([=, layout = Layout(view.node)](const Call& call) {
    const at::Tensor x = call.In(0).to(at::kFloat);
    // at::round is half to even. What is not a number becomes the zero point.
    at::Tensor steps = at::nan_to_num(at::round(at::div(x, layout.Spread(call.In(1), x))), 0.0);
    if (shifted) steps = at::add(steps, layout.Spread(call.In(2), x).to(at::kFloat));
    call.Set(0, at::clamp(steps, range.min, range.max).to(type));
  });
}

absl::StatusOr<Kernel> MakeDequantizeLinear(const NodeView& view) {
  return Kernel([shifted = view.Has(2), layout = Layout(view.node)](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor scale = layout.Spread(call.In(1), x);
    at::Tensor steps = x.to(at::kInt);
    if (shifted) steps = at::sub(steps, layout.Spread(call.In(2), x).to(at::kInt));
    call.Set(0, at::mul(steps.to(scale.scalar_type()), scale));
  });
}

}  // namespace

void AddQuantization(FactoryTable& table) {
  table["QuantizeLinear"] = MakeQuantizeLinear;
  table["DequantizeLinear"] = MakeDequantizeLinear;
}

}  // namespace ds::executor
