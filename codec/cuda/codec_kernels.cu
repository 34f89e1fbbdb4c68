// Never run on a GPU (see codec_cuda.h).
#include <cuda_runtime.h>

#include "codec/cuda/codec_launch.h"
#include "codec/cuda/codec_programs.h"

namespace ds::lowbit {
namespace {

// A CUDA block is a team.
struct BlockTeam {
  template <typename Work>
  __device__ void Each(const Work& work) const {
    work(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

// Buckets beyond the grid are taken in turns.
template <int kBits>
__global__ void __launch_bounds__(kTeamThreads)
    EncodeKernel(CodecPlan plan, const float* values, uint8_t* out) {
  __shared__ TeamScratch scratch;
  for (int64_t bucket = blockIdx.x; bucket < BucketsOf(plan); bucket += gridDim.x) {
    EncodeBucketProgram<kBits>(BlockTeam(), scratch, plan, bucket, values, out);
    __syncthreads();
  }
}

template <int kBits>
__global__ void __launch_bounds__(kTeamThreads)
    DecodeKernel(CodecPlan plan, const uint8_t* in, bool add, float* values, int32_t* corrupt) {
  __shared__ TeamScratch scratch;
  for (int64_t bucket = blockIdx.x; bucket < BucketsOf(plan); bucket += gridDim.x) {
    DecodeBucketProgram<kBits>(BlockTeam(), scratch, plan, bucket, in, add, values, corrupt);
    __syncthreads();
  }
}

unsigned GridOf(const CodecPlan& plan) {
  constexpr int64_t kMostBlocks = 1 << 20;
  const int64_t buckets = BucketsOf(plan);
  return static_cast<unsigned>(buckets < kMostBlocks ? buckets : kMostBlocks);
}

const char* Launched() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

const char* LaunchEncode(const CodecPlan& plan, const float* values, uint8_t* out,
                         CUstream_st* stream) {
  WithBits(plan, [&]<int kBits>() {
    EncodeKernel<kBits><<<GridOf(plan), kTeamThreads, 0, stream>>>(plan, values, out);
  });
  return Launched();
}

const char* LaunchDecode(const CodecPlan& plan, const uint8_t* in, bool add, float* values,
                         int32_t* corrupt, CUstream_st* stream) {
  WithBits(plan, [&]<int kBits>() {
    DecodeKernel<kBits><<<GridOf(plan), kTeamThreads, 0, stream>>>(plan, in, add, values, corrupt);
  });
  return Launched();
}

}  // namespace ds::lowbit
