// From a codec's options to what kernels need.
#pragma once

#include "codec/codec.h"
#include "codec/cuda/codec_bodies.h"

namespace ds::lowbit {

// `codec` was made with the options; `count` > 0 values.
CodecPlan PlanOf(const Codec& codec, int64_t count, const CodecNoise& noise);

}  // namespace ds::lowbit
