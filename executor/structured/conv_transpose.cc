// ConvTranspose: LibTorch's where it has the same, and the full result cropped where it has not.
#include <algorithm>

#include "executor/kernel.h"
#include "graph/schema/structured/transposed_window.h"

namespace ds::executor {

namespace {

// The padding and output padding that LibTorch's own operator takes, if it can.
bool HasEqualForm(const TransposedWindow& window, std::vector<int64_t>& padding,
                  std::vector<int64_t>& output_padding) {
  for (size_t axis = 0; axis < window.strides.size(); ++axis) {
    const int64_t more = window.crop_begin[axis] - window.crop_end[axis];
    if (window.crop_begin[axis] < 0 || more < 0) return false;
    if (more >= std::max(window.strides[axis], window.dilations[axis])) return false;
    padding.push_back(window.crop_begin[axis]);
    output_padding.push_back(more);
  }
  return true;
}

at::Tensor Transposed(const Call& call, const at::Tensor& bias, const TransposedWindow& window,
                      const std::vector<int64_t>& padding,
                      const std::vector<int64_t>& output_padding, int64_t group) {
  std::optional<at::Tensor> maybe_bias;
  if (bias.defined()) maybe_bias = bias;
  return at::convolution(call.Low(0), call.Low(1), maybe_bias, window.strides, padding,
                         window.dilations, /*transposed=*/true, output_padding, group);
}

void RunConvTranspose(const Call& call, const Node& node) {
  const at::Tensor& x = call.In(0);
  const auto resolved =
      ResolveTransposedWindow(node, call.In(1).sizes().slice(2).vec(), x.sizes().slice(2).vec());
  TORCH_CHECK(resolved.ok(), std::string(resolved.status().message()));
  const TransposedWindow& window = *resolved;
  const int64_t group = node.GetInt("group", 1);
  at::Tensor bias;
  if (call.Has(2)) bias = call.Low(2);
  std::vector<int64_t> padding, output_padding;
  if (HasEqualForm(window, padding, output_padding)) {
    return call.Set(0, Transposed(call, bias, window, padding, output_padding, group));
  }
  const std::vector<int64_t> none(window.strides.size(), 0);
  std::vector<int64_t> pads;  // LibTorch's order: last axis first; negative ones crop
  for (size_t axis = window.strides.size(); axis-- > 0;) {
    pads.push_back(-window.crop_begin[axis]);
    pads.push_back(-window.crop_end[axis]);
  }
  at::Tensor y = at::constant_pad_nd(Transposed(call, {}, window, none, none, group), pads, 0);
  if (bias.defined()) {
    std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
    shape[1] = -1;
    y = y + bias.reshape(shape);
  }
  call.Set(0, y);
}

absl::StatusOr<Kernel> MakeConvTranspose(const NodeView& view) {
  return Kernel([node = view.node](const Call& call) { RunConvTranspose(call, node); });
}

}  // namespace

void AddConvTranspose(FactoryTable& table) { table["ConvTranspose"] = MakeConvTranspose; }

}  // namespace ds::executor
