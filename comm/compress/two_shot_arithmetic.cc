#include "comm/compress/two_shot_arithmetic.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/status.h"

namespace ds {
namespace {

// Values a block: a multiple of every codec bucket, and small enough that a block of values, of
// both residuals and its encoding stay in a core's second-level cache.
constexpr int64_t kBlock = 8192;

// A block of a piece: its values, its place in the piece and in the piece's encoding.
struct Block {
  absl::Span<float> values;
  int64_t begin = 0;
  size_t offset = 0;
  size_t bytes = 0;

  template <typename T>
  absl::Span<T> Of(absl::Span<T> encoding) const {
    return encoding.subspan(offset, bytes);
  }
  ResidualPart Of(ResidualPart part) const {
    return {part.current.subspan(static_cast<size_t>(begin), values.size()),
            part.pending.subspan(static_cast<size_t>(begin), values.size())};
  }
};

template <typename F>
absl::Status ForEachBlock(const GradientSegment& segment, const PlanPiece& piece, F work) {
  size_t offset = 0;
  for (int64_t begin = 0; begin < piece.count; begin += kBlock) {
    const int64_t count = std::min(kBlock, piece.count - begin);
    const size_t bytes = static_cast<size_t>(segment.EncodedSize(count));
    const auto values = segment.values.subspan(static_cast<size_t>(piece.begin + begin),
                                               static_cast<size_t>(count));
    DS_RETURN_IF_ERROR(work(Block{values, begin, offset, bytes}));
    offset += bytes;
  }
  return absl::OkStatus();
}

CodecNoise NoiseOf(const GradientSegment& segment, const PlanPiece& piece, const TwoShotStep& step,
                   uint64_t rank) {
  return {step.seed, step.step, segment.id(), rank, segment.first_element + piece.begin};
}

CodecNoise At(CodecNoise noise, const Block& block) {
  noise.first_element += block.begin;
  return noise;
}

// The loops go over pointers: a span checks every index, and a loop with checks is not vectorised.
void Scale(absl::Span<float> values, float scale) {
  if (scale == 1.0f) return;
  for (float& value : values) value *= scale;
}

void Add(absl::Span<float> values, absl::Span<const float> more) {
  float* to = values.data();
  const float* from = more.data();
  for (size_t i = 0; i < values.size(); ++i) to[i] += from[i];
}

// to = scale * values + more (0: none)
void ScaleAndAdd(absl::Span<const float> values, float scale, const float* more, float* to) {
  const float* from = values.data();
  if (more == nullptr) {
    for (size_t i = 0; i < values.size(); ++i) to[i] = from[i] * scale;
  } else {
    for (size_t i = 0; i < values.size(); ++i) to[i] = from[i] * scale + more[i];
  }
}

// decoded = what - decoded
void Lost(const float* what, absl::Span<float> decoded) {
  float* lost = decoded.data();
  for (size_t i = 0; i < decoded.size(); ++i) lost[i] = what[i] - lost[i];
}

// decoded = sum - decoded, and sum = decoded
void SplitSum(absl::Span<float> sum, absl::Span<float> decoded) {
  float *values = sum.data(), *lost = decoded.data();
  for (size_t i = 0; i < sum.size(); ++i) {
    const float result = lost[i];
    lost[i] = values[i] - result;
    values[i] = result;
  }
}

void CopyBytes(const void* from, void* to, size_t bytes) {
  if (bytes != 0 && from != to) std::memcpy(to, from, bytes);
}

absl::Span<float> ValuesOf(const GradientSegment& segment, const PlanPiece& piece) {
  return segment.values.subspan(static_cast<size_t>(piece.begin), static_cast<size_t>(piece.count));
}

void ReduceRaw(absl::Span<float> values, float scale, int ranks,
               absl::FunctionRef<absl::Span<const std::byte>(int)> contribution,
               absl::Span<std::byte> out) {
  CopyBytes(contribution(0).data(), values.data(), out.size());
  for (int r = 1; r < ranks; ++r) {
    // Contributions lie wherever a message's earlier pieces end, perhaps between floats.
    const std::byte* from = contribution(r).data();
    float* to = values.data();
    for (size_t i = 0; i < values.size(); ++i) {
      float value;
      std::memcpy(&value, from + i * sizeof(float), sizeof(float));
      to[i] += value;
    }
  }
  Scale(values, scale);
  CopyBytes(values.data(), out.data(), out.size());
}

}  // namespace

void EncodeContribution(const GradientSegment& segment, const PlanPiece& piece,
                        const TwoShotStep& step, int rank, ResidualPart residual,
                        absl::Span<std::byte> out) {
  if (segment.codec == nullptr)
    return CopyBytes(ValuesOf(segment, piece).data(), out.data(), out.size());
  const CodecNoise noise = NoiseOf(segment, piece, step, static_cast<uint64_t>(rank));
  (void)ForEachBlock(segment, piece, [&](const Block& block) {
    const CodecNoise at = At(noise, block);
    if (residual.pending.empty() && step.scale == 1.0f) {
      segment.codec->Encode(block.values, at, block.Of(out));
      return absl::OkStatus();
    }
    // What is owed stays in cache: memory is the limit here, and the values will be overwritten
    // anyway.
    std::array<float, kBlock> memory;
    const absl::Span<float> owed = absl::MakeSpan(memory).subspan(0, block.values.size());
    const bool feedback = !residual.pending.empty();
    const ResidualPart part = feedback ? block.Of(residual) : ResidualPart();
    ScaleAndAdd(block.values, step.scale, feedback ? part.current.data() : nullptr, owed.data());
    segment.codec->Encode(owed, at, block.Of(out));
    if (!feedback) return absl::OkStatus();
    DS_RETURN_IF_ERROR(
        segment.codec->Decode(block.Of(out), at, part.pending));  // our own bytes: it cannot fail
    Lost(owed.data(), part.pending);
    return absl::OkStatus();
  });
}

absl::Status ReduceContributions(const GradientSegment& segment, const PlanPiece& piece,
                                 const TwoShotStep& step, int ranks,
                                 absl::FunctionRef<absl::Span<const std::byte>(int)> contribution,
                                 ResidualPart residual, absl::Span<std::byte> out) {
  if (segment.codec == nullptr) {
    ReduceRaw(ValuesOf(segment, piece), step.scale, ranks, contribution, out);
    return absl::OkStatus();
  }
  const CodecNoise owner_noise = NoiseOf(segment, piece, step, CodecNoise::kOwnerRank);
  return ForEachBlock(segment, piece, [&](const Block& block) {
    for (int r = 0; r < ranks; ++r) {
      const CodecNoise at = At(NoiseOf(segment, piece, step, static_cast<uint64_t>(r)), block);
      const absl::Span<const std::byte> bytes = block.Of(contribution(r));
      DS_RETURN_IF_ERROR(r == 0 ? segment.codec->Decode(bytes, at, block.values)
                                : segment.codec->DecodeAdd(bytes, at, block.values));
    }
    const CodecNoise at = At(owner_noise, block);
    const bool feedback = !residual.pending.empty();
    const ResidualPart part = feedback ? block.Of(residual) : ResidualPart();
    if (feedback) Add(block.values, part.current);
    segment.codec->Encode(block.values, at, block.Of(out));
    if (!feedback) return segment.codec->Decode(block.Of(out), at, block.values);
    DS_RETURN_IF_ERROR(segment.codec->Decode(block.Of(out), at, part.pending));
    SplitSum(block.values, part.pending);
    return absl::OkStatus();
  });
}

absl::Status DecodeSum(const GradientSegment& segment, const PlanPiece& piece,
                       const TwoShotStep& step, absl::Span<const std::byte> encoded) {
  const absl::Span<float> values = ValuesOf(segment, piece);
  if (segment.codec == nullptr) {
    CopyBytes(encoded.data(), values.data(), encoded.size());
    return absl::OkStatus();
  }
  return segment.codec->Decode(encoded, NoiseOf(segment, piece, step, CodecNoise::kOwnerRank),
                               values);
}

void PayResiduals(absl::Span<float> values, float scale, ResidualPart worker, ResidualPart owner) {
  Scale(values, scale);
  for (const ResidualPart& part : {worker, owner}) {
    if (part.pending.empty()) continue;
    Add(values, part.current);
    std::fill(part.pending.begin(), part.pending.end(), 0.0f);
  }
}

}  // namespace ds
