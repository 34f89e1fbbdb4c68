// Conv, Gemm, MatMul and Einsum: the operators whose operands are cast down under reduced
// precision.
#include "base/status.h"
#include "executor/detours/convolution.h"
#include "executor/kernel.h"
#include "graph/schema/window.h"

namespace ds::executor {

namespace {

struct ConvPads {
  std::vector<int64_t> symmetric;  // what the convolution itself pads
  std::vector<int64_t>
      explicit_;  // LibTorch order (last axis first); empty if there is nothing to add
};

ConvPads MakePads(const std::vector<int64_t>& begin, const std::vector<int64_t>& end) {
  if (begin == end) return {begin, {}};
  ConvPads pads{std::vector<int64_t>(begin.size(), 0), {}};
  for (size_t i = begin.size(); i-- > 0;) {
    pads.explicit_.push_back(begin[i]);
    pads.explicit_.push_back(end[i]);
  }
  return pads;
}

// auto_pad SAME_* depends on the input's extents; all else is known when the kernel is made.
bool PadsDependOnInput(const Node& node) {
  return node.GetString("auto_pad", "NOTSET").rfind("SAME", 0) == 0;
}

// The window for extents that were not known when the kernel was made.
Window ResolveNow(const Node& node, const at::Tensor& x, const at::Tensor& weight) {
  const auto window = ResolveWindow(node, weight.sizes().slice(2).vec(), x.sizes().slice(2).vec());
  TORCH_CHECK(window.ok(), std::string(window.status().message()));
  return *window;
}

void RunConv(const Call& call, const Window& window, const ConvPads& pads, int64_t group) {
  at::Tensor x = call.Low(0);
  if (!pads.explicit_.empty()) x = at::constant_pad_nd(x, pads.explicit_, 0);
  std::optional<at::Tensor> bias;
  if (call.Has(2)) bias = call.Low(2);
  call.Set(0, Convolution(x, call.Low(1), bias, {window.strides, pads.symmetric, window.dilations},
                          group));
}

absl::StatusOr<Kernel> MakeConv(const NodeView& view) {
  const int64_t group = view.node.GetInt("group", 1);
  const Tensor* weight = view.graph.Constant(view.node.inputs[1]);
  if (weight == nullptr || weight->rank() < 3 || PadsDependOnInput(view.node)) {
    return Kernel([node = view.node, group](const Call& call) {
      const Window window = ResolveNow(node, call.In(0), call.In(1));
      RunConv(call, window, MakePads(window.pad_begin, window.pad_end), group);
    });
  }
  const std::vector<int64_t> kernel(weight->shape().begin() + 2, weight->shape().end());
  DS_ASSIGN_OR_RETURN(
      const Window window,
      ResolveWindow(view.node, kernel, std::vector<int64_t>(kernel.size(), kDynamicDim)));
  return Kernel([window, group, pads = MakePads(window.pad_begin, window.pad_end)](
                    const Call& call) { RunConv(call, window, pads, group); });
}

absl::StatusOr<Kernel> MakeGemm(const NodeView& view) {
  const double alpha = view.node.GetFloat("alpha", 1.0f);
  const double beta = view.node.GetFloat("beta", 1.0f);
  const bool trans_a = view.node.GetInt("transA", 0) != 0;
  const bool trans_b = view.node.GetInt("transB", 0) != 0;
  return Kernel([=](const Call& call) {
    at::Tensor a = call.Low(0);
    at::Tensor b = call.Low(1);
    if (trans_a) a = a.t();
    if (trans_b) b = b.t();
    if (!call.Has(2)) {
      at::Tensor product = at::mm(a, b);
      call.Set(0, alpha == 1.0 ? product : product * alpha);
      return;
    }
    call.Set(0, at::addmm(call.Low(2), a, b, beta, alpha));
  });
}

absl::StatusOr<Kernel> MakeMatMul(const NodeView&) {
  return Kernel([](const Call& call) { call.Set(0, at::matmul(call.Low(0), call.Low(1))); });
}

absl::StatusOr<Kernel> MakeEinsum(const NodeView& view) {
  std::string equation = view.node.GetString("equation", "");
  return Kernel([equation](const Call& call) {
    std::vector<at::Tensor> operands;
    for (int i = 0; i < call.inputs(); ++i) operands.push_back(call.Low(i));
    call.Set(0, at::einsum(equation, operands));
  });
}

}  // namespace

void AddLinear(FactoryTable& table) {
  table["Conv"] = MakeConv;
  table["Gemm"] = MakeGemm;
  table["MatMul"] = MakeMatMul;
  table["Einsum"] = MakeEinsum;
}

}  // namespace ds::executor
