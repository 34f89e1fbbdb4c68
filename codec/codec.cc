#include "codec/codec.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "codec/internal.h"

namespace ds {
namespace lowbit {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian, and written with memcpy");

int64_t BucketCodec::EncodedSize(int64_t count) const {
  DS_CHECK(count >= 0) << count;
  const int64_t rest = count % options_.bucket;
  return count / options_.bucket * BucketBytes(options_.bucket) +
         (rest == 0 ? 0 : BucketBytes(rest));
}

BucketCodec::Streams BucketCodec::StreamsOf(const CodecNoise& noise) const {
  DS_CHECK(noise.first_element >= 0 && noise.first_element % options_.bucket == 0)
      << noise.first_element;
  Streams streams = {};
  if (options_.rounding == CodecRounding::kStochastic) {
    streams.rounding =
        MakeNoiseStream(noise.seed, noise.step, noise.tensor, noise.rank, NoiseUse::kRounding);
  }
  if (options_.rotate) {
    streams.rotation =
        MakeNoiseStream(noise.seed, noise.step, noise.tensor, noise.rank, NoiseUse::kRotation);
  }
  return streams;
}

void BucketCodec::Encode(absl::Span<const float> values, const CodecNoise& noise,
                         absl::Span<std::byte> out) const {
  const int64_t count = static_cast<int64_t>(values.size());
  DS_CHECK(static_cast<int64_t>(out.size()) == EncodedSize(count))
      << out.size() << " bytes for " << count << " values";
  const Streams streams = StreamsOf(noise);
  uint8_t* to = reinterpret_cast<uint8_t*>(out.data());
  for (int64_t at = 0; at < count; at += options_.bucket) {
    const int64_t here = std::min(options_.bucket, count - at);
    EncodeBucket(values.data() + at, here, streams, static_cast<uint64_t>(noise.first_element + at),
                 to);
    to += BucketBytes(here);
  }
}

absl::Status BucketCodec::DecodeInto(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                                     Into into, absl::Span<float> values) const {
  const int64_t count = static_cast<int64_t>(values.size());
  if (static_cast<int64_t>(encoded.size()) != EncodedSize(count)) {
    return absl::DataLossError(absl::StrCat("an encoding of ", count, " values has ",
                                            EncodedSize(count), " bytes, here are ",
                                            encoded.size()));
  }
  const Streams streams = StreamsOf(noise);
  const uint8_t* from = reinterpret_cast<const uint8_t*>(encoded.data());
  for (int64_t at = 0; at < count; at += options_.bucket) {
    const int64_t here = std::min(options_.bucket, count - at);
    absl::Status status =
        DecodeBucket(from, streams, static_cast<uint64_t>(noise.first_element + at), into,
                     values.data() + at, here);
    if (!status.ok()) return status;
    from += BucketBytes(here);
  }
  return absl::OkStatus();
}

absl::Status BucketCodec::Decode(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                                 absl::Span<float> values) const {
  return DecodeInto(encoded, noise, Into::kStore, values);
}

absl::Status BucketCodec::DecodeAdd(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                                    absl::Span<float> values) const {
  return DecodeInto(encoded, noise, Into::kAdd, values);
}

void Fill(float value, Into into, float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    values[i] = into == Into::kAdd ? Add(values[i], value) : value;
}

void PutFloat(float value, uint8_t* out) { std::memcpy(out, &value, sizeof(value)); }

float GetFloat(const uint8_t* in) {
  float value;
  std::memcpy(&value, in, sizeof(value));
  return value;
}

std::unique_ptr<Codec> MakeCodec(const CodecOptions& options, const CodecKernels& kernels) {
  switch (options.kind) {
    case CodecKind::kFloat32:
    case CodecKind::kFloat16:
    case CodecKind::kBFloat16:
      return MakeFloatCodec(options, kernels);
    case CodecKind::kUniform:
      return MakeUniformCodec(options, kernels);
    case CodecKind::kSign:
      return MakeSignCodec(options, kernels);
    case CodecKind::kTopK:
      return MakeTopKCodec(options, kernels);
  }
  DS_CHECK(false) << "codec kind " << static_cast<int>(options.kind);
  return nullptr;
}

}  // namespace lowbit

namespace {

absl::Status Validate(const CodecOptions& options) {
  if (options.kind < CodecKind::kFloat32 || options.kind > CodecKind::kTopK) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec kind: there is no ", static_cast<int>(options.kind)));
  }
  if (options.bucket < lowbit::kLeastBucket || options.bucket > lowbit::kGreatestBucket ||
      !std::has_single_bit(static_cast<uint64_t>(options.bucket))) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec bucket: ", options.bucket, " is no power of two from ",
                     lowbit::kLeastBucket, " to ", lowbit::kGreatestBucket));
  }
  const bool uniform = options.kind == CodecKind::kUniform;
  if (uniform && (options.bits < 1 || options.bits > lowbit::kMaxBits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec bits: ", options.bits, " is not from 1 to ", lowbit::kMaxBits));
  }
  constexpr int kMostRotatedBits = 3;
  if (options.rotate && !(uniform && options.bits <= kMostRotatedBits)) {
    return absl::InvalidArgumentError(absl::StrCat("codec rotate: only a uniform codec of at most ",
                                                   kMostRotatedBits, " bits is rotated"));
  }
  if (options.kind == CodecKind::kTopK && !(options.density > 0 && options.density <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec density: ", options.density, " is not in (0, 1]"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Codec>> Codec::Create(const CodecOptions& options) {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  return lowbit::MakeCodec(options, lowbit::BestKernels());
}

}  // namespace ds
