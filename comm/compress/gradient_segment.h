// What a gradient compressor is given: float32 spans that belong to named tensors, grouped into
// transport buckets.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/random.h"
#include "codec/codec.h"
#include "comm/finite.h"

namespace ds {

// A tensor, or a piece of one. Names, places, shapes and codecs are the same on every rank.
struct GradientSegment {
  std::string name;           // of the parameter: names its residual and its rounding noise
  absl::Span<float> values;   // the caller's memory; the result is written over it
  int64_t first_element = 0;  // place of values[0] in its tensor; a multiple of the codec's bucket
  std::shared_ptr<const Codec> codec;  // null: travels in float32
  std::vector<int64_t> shape;          // of the tensor, for PowerSGD; empty: one-dimensional

  int64_t count() const { return static_cast<int64_t>(values.size()); }
  // The same in every run and on every rank.
  uint64_t id() const { return StreamOf(name.data(), name.size()); }
  // Bytes that `count` values from a cut point on travel as.
  int64_t EncodedSize(int64_t count) const {
    return codec == nullptr ? count * static_cast<int64_t>(sizeof(float))
                            : codec->EncodedSize(count);
  }
};

// What is exchanged together.
using GradientBucket = std::vector<GradientSegment>;

// The first segment's name that holds a value which is NaN or not below `limit` in magnitude;
// empty: none does.
inline std::string FirstNotBelow(const GradientBucket& bucket, float limit) {
  for (const GradientSegment& segment : bucket) {
    if (!AllBelow(segment.values, limit)) return segment.name;
  }
  return "";
}

}  // namespace ds
