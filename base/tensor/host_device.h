// Marks functions that CUDA kernels share with the processor's code.
#pragma once

#if defined(__CUDACC__)
#define DS_HOST_DEVICE __host__ __device__
#define DS_HOST_DEVICE_INLINE __host__ __device__ __forceinline__
#else
#define DS_HOST_DEVICE
// Never a function of its own: sources compiled for different instruction sets include it, and the
// linker would keep one copy for all of them.
#define DS_HOST_DEVICE_INLINE inline __attribute__((always_inline))
#endif
