// The codecs of codec/codec.h on CUDA devices: the same bytes, from and to device memory. Nothing
// here was ever run on a GPU: nvcc compiles it, and the kernels' bodies are tested on the processor
// (tests/codec/bodies_test.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codec/codec.h"

struct CUstream_st;  // *CUstream_st is cudaStream_t

namespace ds {

// All pointers are to device memory, and calls return once their kernel is queued on `stream`
// (null: the default one). Const methods may be called from many threads. Errors: Internal with
// CUDA's own words.
class CudaCodec {
 public:
  // InvalidArgument as Codec::Create; Unavailable in a program built without CUDA.
  static absl::StatusOr<std::unique_ptr<CudaCodec>> Create(const CodecOptions& options);
  virtual ~CudaCodec() = default;

  // Bytes of `count` encoded values.
  virtual int64_t EncodedSize(int64_t count) const = 0;
  virtual absl::Status Encode(const float* values, int64_t count, const CodecNoise& noise,
                              std::byte* out, CUstream_st* stream) const = 0;
  // `encoded` has EncodedSize(count) bytes. *corrupt is set to 1 where they are no encoding (only
  // top-k can tell); it may be null.
  virtual absl::Status Decode(const std::byte* encoded, int64_t count, const CodecNoise& noise,
                              float* values, int32_t* corrupt, CUstream_st* stream) const = 0;
  virtual absl::Status DecodeAdd(const std::byte* encoded, int64_t count, const CodecNoise& noise,
                                 float* values, int32_t* corrupt, CUstream_st* stream) const = 0;
};

}  // namespace ds
