// What the codecs have in common: buckets one after the other. For quant/ and its tests and
// benchmarks only.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "codec/codec.h"
#include "codec/kernels.h"

namespace ds::lowbit {

constexpr int64_t kLeastBucket = 64;
constexpr int64_t kGreatestBucket = 4096;

// A codec on the kernels of one instruction set. The options are valid.
std::unique_ptr<Codec> MakeCodec(const CodecOptions& options, const CodecKernels& kernels);

// Cuts values and bytes into buckets and hands them to a subclass one by one.
class BucketCodec : public Codec {
 public:
  BucketCodec(const CodecOptions& options, const CodecKernels& kernels)
      : options_(options), kernels_(kernels) {}

  const CodecOptions& options() const final { return options_; }
  int64_t EncodedSize(int64_t count) const final;
  void Encode(absl::Span<const float> values, const CodecNoise& noise,
              absl::Span<std::byte> out) const final;
  absl::Status Decode(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                      absl::Span<float> values) const final;
  absl::Status DecodeAdd(absl::Span<const std::byte> encoded, const CodecNoise& noise,
                         absl::Span<float> values) const final;

 protected:
  struct Streams {
    NoiseStream rounding;
    NoiseStream rotation;
  };

  // One bucket: 0 < count <= options().bucket. `element` is the place of values[0] in its tensor.
  virtual int64_t BucketBytes(int64_t count) const = 0;
  virtual void EncodeBucket(const float* values, int64_t count, const Streams& streams,
                            uint64_t element, uint8_t* out) const = 0;
  virtual absl::Status DecodeBucket(const uint8_t* in, const Streams& streams, uint64_t element,
                                    Into into, float* values, int64_t count) const = 0;

  const CodecKernels& kernels() const { return kernels_; }

 private:
  Streams StreamsOf(const CodecNoise& noise) const;
  absl::Status DecodeInto(absl::Span<const std::byte> encoded, const CodecNoise& noise, Into into,
                          absl::Span<float> values) const;

  const CodecOptions options_;
  const CodecKernels& kernels_;
};

// Stores `value` everywhere, or adds it.
void Fill(float value, Into into, float* values, int64_t count);

// The header of a bucket: little-endian floats.
void PutFloat(float value, uint8_t* out);
float GetFloat(const uint8_t* in);

// How many of a bucket's `count` values travel.
int64_t TopKCount(double density, int64_t count);

std::unique_ptr<Codec> MakeFloatCodec(const CodecOptions& options, const CodecKernels& kernels);
std::unique_ptr<Codec> MakeUniformCodec(const CodecOptions& options, const CodecKernels& kernels);
std::unique_ptr<Codec> MakeSignCodec(const CodecOptions& options, const CodecKernels& kernels);
std::unique_ptr<Codec> MakeTopKCodec(const CodecOptions& options, const CodecKernels& kernels);

}  // namespace ds::lowbit
