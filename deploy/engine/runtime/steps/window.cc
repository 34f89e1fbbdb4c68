#include "deploy/engine/runtime/steps/window.h"

#include <cstdint>

#include "deploy/engine/runtime/kernels/packed.h"

namespace ds::engine {
namespace {

// What converts to int32 as itself; ShapeFits() has the closer bounds.
bool InRange(const file::Window& w) {
  for (const uint32_t field : {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h,
                               w.dilation_w, w.pad_top, w.pad_left}) {
    if (field > static_cast<uint32_t>(kMaxExtent)) return false;
  }
  return w.groups > 0;
}

// Whether the last window of an axis begins inside the image.
bool AxisFits(int64_t out, int64_t in, int64_t stride, int64_t pad) {
  return (out - 1) * stride - pad < in;
}

}  // namespace

Status MakeShape(const Binding& binding, const file::Window& window, WindowUse use,
                 ConvShape& shape) {
  return MakeShape(binding, window, use, ImageExtents(binding.input(0)),
                   ImageExtents(binding.output()), shape);
}

Status MakeShape(const Binding& binding, const file::Window& window, WindowUse use,
                 const Extents& in, const Extents& out, ConvShape& shape) {
  if (!InRange(window)) return binding.Error("has a window out of range");
  if (window.groups > static_cast<uint32_t>(in.c)) {
    return binding.Error("has more groups than channels");
  }
  const auto groups = static_cast<int32_t>(window.groups);
  const bool divides = use == WindowUse::kChannels ? groups == in.c && groups == out.c
                                                   : in.c % groups == 0 && out.c % groups == 0;
  if (!divides || in.n != out.n) {
    return binding.Error("has groups or a batch that its tensors do not have");
  }
  if (!AxisFits(out.h, in.h, window.stride_h, window.pad_top) ||
      !AxisFits(out.w, in.w, window.stride_w, window.pad_left)) {
    return binding.Error("has a window that begins behind its image");
  }
  shape = {in.n,
           in.h,
           in.w,
           in.c / groups,
           out.h,
           out.w,
           out.c / groups,
           groups,
           static_cast<int32_t>(window.kernel_h),
           static_cast<int32_t>(window.kernel_w),
           static_cast<int32_t>(window.stride_h),
           static_cast<int32_t>(window.stride_w),
           static_cast<int32_t>(window.dilation_h),
           static_cast<int32_t>(window.dilation_w),
           static_cast<int32_t>(window.pad_top),
           static_cast<int32_t>(window.pad_left)};
  if (!ShapeFits(shape)) {
    return binding.Error("has a window, an image or a sum larger than kernels take");
  }
  return {};
}

Status CheckResidual(const Binding& binding, const file::Tensor& residual) {
  return SameDims(residual, binding.output())
             ? Status()
             : binding.Error("adds a tensor of other dims than its output's");
}

Status CheckCodes(const Binding& binding, int32_t zero_point, int32_t low, int32_t high) {
  if (zero_point >= 0 && zero_point <= 255 && low >= 0 && low <= high && high <= 255) return {};
  return binding.Error("has a zero point or bounds that are no codes");
}
Status CheckZero(const Binding& binding, int32_t zero_point) {
  return CheckCodes(binding, zero_point, 0, 255);
}
Status CheckFlag(const Binding& binding, uint32_t flag) {
  return flag <= 1 ? Status() : binding.Error("has a flag that is neither 0 nor 1");
}

Status CheckSum(const Binding& binding, const file::Sum8& sum) {
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, sum.zero_a));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, sum.zero_b));
  return CheckCodes(binding, sum.zero_point, sum.low, sum.high);
}
Add8 SumOf(const file::Sum8& sum) {
  return {sum.ratio_a, sum.ratio_b, sum.zero_a, sum.zero_b, sum.zero_point, sum.low, sum.high};
}

}  // namespace ds::engine
