#include "codec/bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "codec/internal.h"

namespace ds {
namespace {

constexpr double kUnit = 0x1p-24;  // the greatest relative error of one operation in fp32

struct Extent {
  double low = 0, high = 0;
  double magnitude = 0;
  double sum = 0;  // of magnitudes
};

Extent ExtentOf(absl::Span<const float> bucket) {
  Extent extent = {.low = bucket[0], .high = bucket[0]};
  for (double value : bucket) {
    extent.low = std::min(extent.low, value);
    extent.high = std::max(extent.high, value);
    extent.magnitude = std::max(extent.magnitude, std::fabs(value));
    extent.sum += std::fabs(value);
  }
  return extent;
}

// Half a step or a whole one, and what fp32 adds: seven roundings of at most `steps` steps each, in
// encoder and decoder together.
double StepsOff(const CodecOptions& options, int steps) {
  const double rounding = options.rounding == CodecRounding::kNearest ? 0.5 : 1.0;
  return rounding + 8 * kUnit * steps;
}

double MaxNormBound(const CodecOptions& options, double norm) {
  // Two levels, -norm and norm: a nearest zero is a norm away.
  const bool one_bit = options.bits == 1;
  const int steps = one_bit ? 1 : lowbit::MaxNormSteps(options.bits);
  const double step = norm / steps;
  if (step * (1 - kUnit) < static_cast<double>(lowbit::kSmallestStep)) return norm;
  return (one_bit ? 2 : 1) * step * StepsOff(options, steps);
}

int32_t OrderedOf(double value) { return lowbit::Ordered(lowbit::Bits(static_cast<float>(value))); }

double MinMaxBound(const CodecOptions& options, double low, double high) {
  const lowbit::UniformGrid grid =
      lowbit::MinMaxGrid(options.bits, OrderedOf(low), OrderedOf(high));
  if (!lowbit::IsFinite(grid.step)) return std::numeric_limits<double>::quiet_NaN();
  const int steps = lowbit::MinMaxSteps(options.bits);
  const double step = (high - low) / steps;
  if (step * (1 - 2 * kUnit) < static_cast<double>(lowbit::kSmallestStep)) return high - low;
  return step * StepsOff(options, steps) + 2 * kUnit * std::max(std::fabs(low), std::fabs(high));
}

double UniformBound(const CodecOptions& options, absl::Span<const float> bucket,
                    const Extent& extent) {
  const bool max_norm = options.scale == CodecScale::kMaxNorm;
  if (!options.rotate) {
    return max_norm ? MaxNormBound(options, extent.magnitude)
                    : MinMaxBound(options, extent.low, extent.high);
  }
  // No rotated value exceeds the sum of magnitudes over the root of the greatest piece's count
  // (Hadamard entries are that root's inverse), nor, in smaller pieces, the sum itself.
  const int64_t count = static_cast<int64_t>(bucket.size());
  const bool whole = (count & (count - 1)) == 0;
  const double norm = whole ? extent.sum / std::sqrt(static_cast<double>(count)) : extent.sum;
  const double bound = RotatedErrorNorm(options, count, -norm, norm);
  const bool overflows =
      !(extent.magnitude + bound <= static_cast<double>(std::numeric_limits<float>::max()));
  return overflows ? std::numeric_limits<double>::infinity() : bound;
}

double SignBound(absl::Span<const float> bucket, const Extent& extent) {
  const double count = static_cast<double>(bucket.size());
  const double mean = extent.sum / count;
  if (mean < static_cast<double>(lowbit::kSmallestStep) * 1.001) return extent.magnitude;
  double off = 0;
  for (double value : bucket) off = std::max(off, std::fabs(std::fabs(value) - mean));
  // The additions within a lane, those of the lanes, scaling and division.
  return off + mean * kUnit * (count / lowbit::kSumLanes + 8);
}

double TopKBound(const CodecOptions& options, absl::Span<const float> bucket) {
  const int64_t count = static_cast<int64_t>(bucket.size());
  const int64_t kept = lowbit::TopKCount(options.density, count);
  if (kept == count) return 0;
  std::vector<double> magnitudes;
  for (double value : bucket) magnitudes.push_back(std::fabs(value));
  std::nth_element(magnitudes.begin(), magnitudes.begin() + kept, magnitudes.end(),
                   std::greater<double>());
  return magnitudes[static_cast<size_t>(kept)];
}

}  // namespace

double RotatedErrorNorm(const CodecOptions& options, int64_t count, double low, double high) {
  const double norm = std::max(std::fabs(low), std::fabs(high));
  const double each = options.scale == CodecScale::kMaxNorm ? MaxNormBound(options, norm)
                                                            : MinMaxBound(options, low, high);
  // Rotating there and back: for every stage and scaling a rounding of values whose Euclidean norm
  // is at most root * norm.
  const double roundings = 2 * std::log2(static_cast<double>(count)) + 6;
  const double root = std::sqrt(static_cast<double>(count));
  return root * (each + roundings * kUnit * (norm + each));
}

double CodecErrorBound(const CodecOptions& options, absl::Span<const float> bucket) {
  if (bucket.empty()) return 0;
  for (float value : bucket) {
    if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
  }
  const Extent extent = ExtentOf(bucket);
  switch (options.kind) {
    case CodecKind::kFloat32:
      return 0;
    case CodecKind::kFloat16:
      // Eleven bits of significand; below 2^-14 steps of 2^-24. 65520 rounds to infinity.
      if (extent.magnitude >= 65520) return std::numeric_limits<double>::infinity();
      return std::max(extent.magnitude * 0x1p-11, 0x1p-25);
    case CodecKind::kBFloat16:
      // Eight bits; below 2^-126 steps of 2^-133. Half a step below 2^128 is infinity.
      if (extent.magnitude >= 0x1.ffp127) return std::numeric_limits<double>::infinity();
      return std::max(extent.magnitude * 0x1p-8, 0x1p-134);
    case CodecKind::kUniform:
      return UniformBound(options, bucket, extent);
    case CodecKind::kSign:
      return SignBound(bucket, extent);
    case CodecKind::kTopK:
      return TopKBound(options, bucket);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace ds
