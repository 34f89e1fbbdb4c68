// The seam between codec_kernels.cu, which nvcc compiles without Abseil, and codec_cuda.cc.
#pragma once

#include <cstdint>

#include "codec/cuda/codec_bodies.h"

struct CUstream_st;

namespace ds::lowbit {

// Null, or CUDA's words about what went wrong.
const char* LaunchEncode(const CodecPlan& plan, const float* values, uint8_t* out,
                         CUstream_st* stream);
const char* LaunchDecode(const CodecPlan& plan, const uint8_t* in, bool add, float* values,
                         int32_t* corrupt, CUstream_st* stream);

}  // namespace ds::lowbit
