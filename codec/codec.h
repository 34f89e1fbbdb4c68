// Low-bit codecs of gradients: floats to bytes and back, on spans, without LibTorch.
//
//   auto codec = Codec::Create({.kind = CodecKind::kUniform, .bits = 4});
//   std::vector<std::byte> wire(codec->EncodedSize(values.size()));
//   codec->Encode(values, noise, wire);
//   codec->DecodeAdd(wire, sum);
//
// Values are cut into codec buckets of `bucket` values, the last one shorter; each is encoded by
// itself, so that a range that starts at a multiple of `bucket` has the same bytes whether it is
// encoded alone or within its tensor. The size depends on the count alone, so receivers know it.
// The bytes are the same on every instruction set and for any number of threads. A bucket with a
// NaN or Inf decodes to NaN everywhere: it never looks like an ordinary number. (kFloat32, 16 and
// kBFloat16 keep it in its place instead.) Const methods may be called from many threads.
// docs/codecs.md has every byte and bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ds {

enum class CodecKind { kFloat32, kFloat16, kBFloat16, kUniform, kSign, kTopK };
enum class CodecScale {
  kMinMax,
  kMaxNorm
};  // of kUniform: [min, max] of the bucket, or [-max |v|, max |v|]
enum class CodecRounding { kNearest, kStochastic };

struct CodecOptions {
  CodecKind kind = CodecKind::kUniform;
  int bits = 4;          // kUniform: 1..8 a value
  int64_t bucket = 512;  // values that share a scale: 64..4096, a power of two
  CodecScale scale = CodecScale::kMaxNorm;
  CodecRounding rounding = CodecRounding::kNearest;  // kUniform
  bool rotate = false;    // kUniform, bits <= 3: randomised Hadamard transform of each bucket
  double density = 0.01;  // kTopK: share of the values of a bucket that travel, (0, 1]
};

// Names the noise of one encoding, the same on every machine and in every run. `first_element` is
// the place of values[0] in its tensor, a multiple of CodecOptions::bucket.
struct CodecNoise {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t tensor = 0;  // a hash of the parameter's name
  uint64_t rank = 0;    // who encodes; kOwnerRank for an owner's sum, whoever owns it
  int64_t first_element = 0;

  static constexpr uint64_t kOwnerRank = ~uint64_t{0};
};

class Codec {
 public:
  // InvalidArgument names the option that is out of range.
  static absl::StatusOr<std::unique_ptr<Codec>> Create(const CodecOptions& options);
  virtual ~Codec() = default;

  virtual const CodecOptions& options() const = 0;
  // Bytes of `count` encoded values, exactly; count >= 0.
  virtual int64_t EncodedSize(int64_t count) const = 0;
  // out.size() == EncodedSize(values.size()).
  virtual void Encode(absl::Span<const float> values, const CodecNoise& noise,
                      absl::Span<std::byte> out) const = 0;
  // values.size() says how many values `encoded` holds. DataLoss where the bytes are no encoding of
  // so many values (wrong size, index out of range); `values` is then unspecified. The same noise
  // as was encoded with (only a rotation needs it).
  virtual absl::Status Decode(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                              absl::Span<float> values) const = 0;
  // values += decoded, elementwise in fp32, with the same bits as Decode followed by an addition.
  virtual absl::Status DecodeAdd(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                                 absl::Span<float> values) const = 0;
};

}  // namespace ds
