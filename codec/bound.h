// How far a codec's values may be off, worked out rather than measured (docs/codecs.md derives it).
#pragma once

#include "absl/types/span.h"
#include "codec/codec.h"

namespace ds {

// The greatest |decoded - value| that one encoding can make of a bucket: at most options.bucket
// values, those of one codec bucket. NaN where the bucket is poisoned, Inf where a half overflows
// or a rotation may. The options are valid ones (Codec::Create took them).
//
// Rounding of the float arithmetic is counted in. With a rotation it is the worst of all rotations,
// which real buckets do not come near: RotatedErrorNorm() is the bound to look at there.
double CodecErrorBound(const CodecOptions& options, absl::Span<const float> bucket);

// With a rotation: the greatest Euclidean norm of the errors of a bucket of `count` values whose
// rotated values lie in [low, high].
double RotatedErrorNorm(const CodecOptions& options, int64_t count, double low, double high);

}  // namespace ds
