// float32, float16 and bfloat16: every value by itself, without headers.
#include <cstring>

#include "codec/internal.h"

namespace ds::lowbit {
namespace {

class FloatCodec final : public BucketCodec {
 public:
  using BucketCodec::BucketCodec;

 protected:
  int64_t BucketBytes(int64_t count) const override {
    return count * static_cast<int64_t>(options().kind == CodecKind::kFloat32 ? sizeof(float)
                                                                              : sizeof(uint16_t));
  }

  void EncodeBucket(const float* values, int64_t count, const Streams& /*streams*/,
                    uint64_t /*element*/, uint8_t* out) const override {
    switch (options().kind) {
      case CodecKind::kFloat16:
        return kernels().encode_float16(values, count, out);
      case CodecKind::kBFloat16:
        return kernels().encode_bfloat16(values, count, out);
      default:
        std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
    }
  }

  absl::Status DecodeBucket(const uint8_t* in, const Streams& /*streams*/, uint64_t /*element*/,
                            Into into, float* values, int64_t count) const override {
    const int way = static_cast<int>(into);
    if (options().kind == CodecKind::kFloat16) {
      kernels().decode_float16[way](in, count, values);
    } else if (options().kind == CodecKind::kBFloat16) {
      kernels().decode_bfloat16[way](in, count, values);
    } else if (into == Into::kAdd) {
      kernels().add_float32(in, count, values);
    } else {
      std::memcpy(values, in, static_cast<size_t>(count) * sizeof(float));
    }
    return absl::OkStatus();
  }
};

}  // namespace

std::unique_ptr<Codec> MakeFloatCodec(const CodecOptions& options, const CodecKernels& kernels) {
  return std::make_unique<FloatCodec>(options, kernels);
}

}  // namespace ds::lowbit
