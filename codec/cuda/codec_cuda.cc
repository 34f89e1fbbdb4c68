#include "codec/cuda/codec_cuda.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "codec/cuda/codec_launch.h"
#include "codec/cuda/codec_plan.h"

namespace ds {
namespace {

absl::Status StatusOf(const char* error) {
  return error == nullptr ? absl::OkStatus()
                          : absl::InternalError(absl::StrCat("CUDA codec: ", error));
}

class LaunchingCodec final : public CudaCodec {
 public:
  // `sizes` knows the options and how many bytes they make.
  explicit LaunchingCodec(std::unique_ptr<Codec> sizes) : sizes_(std::move(sizes)) {}

  int64_t EncodedSize(int64_t count) const override { return sizes_->EncodedSize(count); }

  absl::Status Encode(const float* values, int64_t count, const CodecNoise& noise, std::byte* out,
                      CUstream_st* stream) const override {
    if (count == 0) return absl::OkStatus();
    return StatusOf(lowbit::LaunchEncode(lowbit::PlanOf(*sizes_, count, noise), values,
                                         reinterpret_cast<uint8_t*>(out), stream));
  }
  absl::Status Decode(const std::byte* encoded, int64_t count, const CodecNoise& noise,
                      float* values, int32_t* corrupt, CUstream_st* stream) const override {
    return Launch(encoded, count, noise, /*add=*/false, values, corrupt, stream);
  }
  absl::Status DecodeAdd(const std::byte* encoded, int64_t count, const CodecNoise& noise,
                         float* values, int32_t* corrupt, CUstream_st* stream) const override {
    return Launch(encoded, count, noise, /*add=*/true, values, corrupt, stream);
  }

 private:
  absl::Status Launch(const std::byte* encoded, int64_t count, const CodecNoise& noise, bool add,
                      float* values, int32_t* corrupt, CUstream_st* stream) const {
    if (count == 0) return absl::OkStatus();
    return StatusOf(lowbit::LaunchDecode(lowbit::PlanOf(*sizes_, count, noise),
                                         reinterpret_cast<const uint8_t*>(encoded), add, values,
                                         corrupt, stream));
  }

  const std::unique_ptr<Codec> sizes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CudaCodec>> CudaCodec::Create(const CodecOptions& options) {
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Codec> sizes, Codec::Create(options));
  return std::make_unique<LaunchingCodec>(std::move(sizes));
}

}  // namespace ds
