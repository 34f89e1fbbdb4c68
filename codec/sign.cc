// Signs and the bucket's mean magnitude (1-bit SGD, Seide et al. 2014; EF-signSGD, Karimireddy et
// al. 2019).
#include <cstring>

#include "codec/internal.h"

namespace ds::lowbit {
namespace {

class SignCodec final : public BucketCodec {
 public:
  using BucketCodec::BucketCodec;

 protected:
  int64_t BucketBytes(int64_t count) const override { return kHeaderBytes + CodeBytes(count, 1); }

  void EncodeBucket(const float* values, int64_t count, const Streams& /*streams*/,
                    uint64_t /*element*/, uint8_t* out) const override {
    const float scale = MeanMagnitude(kernels().magnitude_sum(values, count),
                                      kernels().magnitude(values, count), count);
    PutFloat(scale, out);
    if (scale > 0) {
      kernels().encode_signs(values, count, out + kHeaderBytes);
    } else {
      std::memset(out + kHeaderBytes, 0, static_cast<size_t>(CodeBytes(count, 1)));
    }
  }

  absl::Status DecodeBucket(const uint8_t* in, const Streams& /*streams*/, uint64_t /*element*/,
                            Into into, float* values, int64_t count) const override {
    const float scale = GetFloat(in);
    if (!IsFinite(scale)) {
      Fill(FromBits(kNanBits), into, values, count);
    } else if (scale == 0) {
      Fill(0.0f, into, values, count);
    } else {
      kernels().decode_signs[static_cast<int>(into)](in + kHeaderBytes, count, scale, values);
    }
    return absl::OkStatus();
  }

 private:
  // The scale, which is also the zero-bucket flag: 0 says that every value is +0, whatever the
  // signs.
  static constexpr int64_t kHeaderBytes = sizeof(float);
};

}  // namespace

std::unique_ptr<Codec> MakeSignCodec(const CodecOptions& options, const CodecKernels& kernels) {
  return std::make_unique<SignCodec>(options, kernels);
}

}  // namespace ds::lowbit
