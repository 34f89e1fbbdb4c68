#include "codec/cuda/codec_plan.h"

#include "codec/internal.h"

namespace ds::lowbit {

static_assert(kTeamBucket == kGreatestBucket);
static_assert(static_cast<int>(PlanKind::kTopK) == static_cast<int>(CodecKind::kTopK));

CodecPlan PlanOf(const Codec& codec, int64_t count, const CodecNoise& noise) {
  const CodecOptions& options = codec.options();
  const int64_t rest = count % options.bucket == 0 ? options.bucket : count % options.bucket;
  return {.kind = static_cast<PlanKind>(options.kind),
          .bits = options.bits,
          .max_norm = options.scale == CodecScale::kMaxNorm,
          .stochastic = options.rounding == CodecRounding::kStochastic,
          .rotate = options.rotate,
          .bucket = static_cast<int>(options.bucket),
          .bucket_bytes = codec.EncodedSize(options.bucket),
          .count = count,
          .kept = static_cast<int>(TopKCount(options.density, options.bucket)),
          .kept_of_last = static_cast<int>(TopKCount(options.density, rest)),
          .rounding = MakeNoiseStream(noise.seed, noise.step, noise.tensor, noise.rank,
                                      NoiseUse::kRounding),
          .rotation = MakeNoiseStream(noise.seed, noise.step, noise.tensor, noise.rank,
                                      NoiseUse::kRotation),
          .first_element = static_cast<uint64_t>(noise.first_element)};
}

}  // namespace ds::lowbit
