// The values of greatest magnitude and where they were (Stich et al., "Sparsified SGD with memory",
// 2018).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "codec/internal.h"

namespace ds::lowbit {

int64_t TopKCount(double density, int64_t count) {
  // A product that is an integer but for its rounding is that integer.
  constexpr double kRounding = 1e-9;
  const int64_t wanted =
      static_cast<int64_t>(std::ceil(density * static_cast<double>(count) - kRounding));
  return std::clamp<int64_t>(wanted, 1, count);
}

namespace {

class TopKCodec final : public BucketCodec {
 public:
  using BucketCodec::BucketCodec;

 protected:
  int64_t BucketBytes(int64_t count) const override {
    return TopKCount(options().density, count) * (kIndexBytes + kValueBytes);
  }

  void EncodeBucket(const float* values, int64_t count, const Streams& /*streams*/,
                    uint64_t /*element*/, uint8_t* out) const override {
    const int64_t kept = TopKCount(options().density, count);
    if (kernels().magnitude(values, count) >= kInfinityBits) {
      for (int64_t i = 0; i < kept; ++i) {
        PutIndex(kPoisonIndex, out + i * kIndexBytes);
        PutFloat(FromBits(kNanBits), out + kept * kIndexBytes + i * kValueBytes);
      }
      return;
    }
    uint32_t magnitudes[kGreatestBucket];
    for (int64_t i = 0; i < count; ++i) magnitudes[i] = Bits(values[i]) & kMagnitudeMask;
    std::nth_element(magnitudes, magnitudes + (kept - 1), magnitudes + count,
                     std::greater<uint32_t>());
    const uint32_t threshold = magnitudes[kept - 1];
    // Of those that are as great as the least kept one, the first travel.
    int64_t ties = kept - (std::partition(magnitudes, magnitudes + kept,
                                          [&](uint32_t m) { return m > threshold; }) -
                           magnitudes);
    int64_t taken = 0;
    for (int64_t i = 0; taken < kept; ++i) {
      const uint32_t magnitude = Bits(values[i]) & kMagnitudeMask;
      if (magnitude < threshold || (magnitude == threshold && ties-- <= 0)) continue;
      PutIndex(static_cast<uint32_t>(i), out + taken * kIndexBytes);
      PutFloat(values[i], out + kept * kIndexBytes + taken * kValueBytes);
      ++taken;
    }
  }

  absl::Status DecodeBucket(const uint8_t* in, const Streams& /*streams*/, uint64_t /*element*/,
                            Into into, float* values, int64_t count) const override {
    const int64_t kept = TopKCount(options().density, count);
    if (GetIndex(in) == kPoisonIndex) {
      Fill(FromBits(kNanBits), into, values, count);
      return absl::OkStatus();
    }
    // An absent value is a zero, added like any other: -0 becomes +0.
    Fill(0.0f, into, values, count);
    int64_t last = -1;
    for (int64_t i = 0; i < kept; ++i) {
      const int64_t index = GetIndex(in + i * kIndexBytes);
      if (index <= last || index >= count) {
        return absl::DataLossError(absl::StrCat("top-k index ", index, " after ", last,
                                                " in a bucket of ", count,
                                                " values: they ascend from 0"));
      }
      last = index;
      const float value = GetFloat(in + kept * kIndexBytes + i * kValueBytes);
      values[index] = into == Into::kAdd ? Add(values[index], value) : value;
    }
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kIndexBytes = sizeof(uint16_t);
  static constexpr int64_t kValueBytes = sizeof(float);

  static void PutIndex(uint32_t index, uint8_t* out) {
    const uint16_t narrow = static_cast<uint16_t>(index);
    std::memcpy(out, &narrow, sizeof(narrow));
  }
  static uint32_t GetIndex(const uint8_t* in) {
    uint16_t index;
    std::memcpy(&index, in, sizeof(index));
    return index;
  }
};

}  // namespace

std::unique_ptr<Codec> MakeTopKCodec(const CodecOptions& options, const CodecKernels& kernels) {
  return std::make_unique<TopKCodec>(options, kernels);
}

}  // namespace ds::lowbit
