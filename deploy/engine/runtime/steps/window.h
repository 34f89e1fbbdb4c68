// A file's window and tensors as a kernel's ConvShape, checked so that nothing in a kernel can
// overflow or leave an image.
#pragma once

#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

// For a convolution (groups of several channels) and for what works channel by channel (depthwise
// convolutions and pools: groups = channels of both sides).
enum class WindowUse { kGroups, kChannels };
Status MakeShape(const Binding& binding, const file::Window& window, WindowUse use,
                 ConvShape& shape);
// The same between images of these extents.
Status MakeShape(const Binding& binding, const file::Window& window, WindowUse use,
                 const Extents& in, const Extents& out, ConvShape& shape);

// The operand that is added at the end has the output's dims.
Status CheckResidual(const Binding& binding, const file::Tensor& residual);

// Codes: zero points in 0..255, low <= high in the same.
Status CheckCodes(const Binding& binding, int32_t zero_point, int32_t low, int32_t high);
Status CheckZero(const Binding& binding, int32_t zero_point);
Status CheckFlag(const Binding& binding, uint32_t flag);
Status CheckSum(const Binding& binding, const file::Sum8& sum);
Add8 SumOf(const file::Sum8& sum);

}  // namespace ds::engine
