// Every codec, and values to feed it.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/random.h"
#include "codec/codec.h"

namespace ds {

constexpr uint64_t kCodecSeed = 20260411;

inline std::string NameOf(const CodecOptions& options) {
  static constexpr const char* kKinds[] = {"float32", "float16", "bfloat16",
                                           "uniform", "sign",    "topk"};
  std::string name =
      absl::StrCat(kKinds[static_cast<int>(options.kind)], " bucket ", options.bucket);
  if (options.kind == CodecKind::kTopK) absl::StrAppend(&name, " density ", options.density);
  if (options.kind == CodecKind::kUniform) {
    absl::StrAppend(&name, " ", options.bits, " bits ",
                    options.scale == CodecScale::kMaxNorm ? "max-norm" : "min-max",
                    options.rounding == CodecRounding::kNearest ? " nearest" : " stochastic",
                    options.rotate ? " rotated" : "");
  }
  return name;
}

// Uniform ones only, of every bits, scale and rounding, rotated too where that is allowed.
inline std::vector<CodecOptions> UniformCases(int64_t bucket) {
  std::vector<CodecOptions> cases;
  for (int bits = 1; bits <= 8; ++bits) {
    for (CodecScale scale : {CodecScale::kMinMax, CodecScale::kMaxNorm}) {
      for (CodecRounding rounding : {CodecRounding::kNearest, CodecRounding::kStochastic}) {
        for (bool rotate : {false, true}) {
          if (rotate && bits > 3) continue;
          cases.push_back({.bits = bits,
                           .bucket = bucket,
                           .scale = scale,
                           .rounding = rounding,
                           .rotate = rotate});
        }
      }
    }
  }
  return cases;
}

inline std::vector<CodecOptions> AllCases(int64_t bucket) {
  std::vector<CodecOptions> cases = UniformCases(bucket);
  for (CodecKind kind :
       {CodecKind::kFloat32, CodecKind::kFloat16, CodecKind::kBFloat16, CodecKind::kSign}) {
    cases.push_back({.kind = kind, .bucket = bucket});
  }
  for (double density : {0.01, 0.3, 1.0})
    cases.push_back({.kind = CodecKind::kTopK, .bucket = bucket, .density = density});
  return cases;
}

// Normal values, a few of them outliers.
inline std::vector<float> Gradients(int64_t count, uint64_t seed = kCodecSeed) {
  CounterRandom random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    const double scale = random.NextBelow(50) == 0 ? 0.05 : 0.003;
    value = static_cast<float>(scale * random.NextNormal());
  }
  return values;
}

inline std::unique_ptr<Codec> CodecOf(const CodecOptions& options) {
  absl::StatusOr<std::unique_ptr<Codec>> codec = Codec::Create(options);
  DS_CHECK(codec.ok()) << codec.status();
  return *std::move(codec);
}

inline std::vector<std::byte> Encoded(const Codec& codec, absl::Span<const float> values,
                                      const CodecNoise& noise) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(codec.EncodedSize(static_cast<int64_t>(values.size()))));
  codec.Encode(values, noise, absl::MakeSpan(bytes));
  return bytes;
}

inline std::vector<float> Decoded(const Codec& codec, absl::Span<const std::byte> bytes,
                                  int64_t count, const CodecNoise& noise) {
  std::vector<float> values(static_cast<size_t>(count));
  const absl::Status status = codec.Decode(bytes, noise, absl::MakeSpan(values));
  DS_CHECK(status.ok()) << status;
  return values;
}

inline std::vector<float> RoundTrip(const Codec& codec, absl::Span<const float> values,
                                    const CodecNoise& noise) {
  return Decoded(codec, Encoded(codec, values, noise), static_cast<int64_t>(values.size()), noise);
}

}  // namespace ds
