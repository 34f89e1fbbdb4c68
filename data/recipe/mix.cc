#include "data/recipe/mix.h"

#include <algorithm>
#include <cmath>

#include "data/sample_random.h"

namespace ds {
namespace {

// `side` pixels around `centre`, clipped to 0..length.
void Clip(int64_t centre, int64_t side, int64_t length, int64_t& begin, int64_t& extent) {
  begin = std::clamp<int64_t>(centre - side / 2, 0, length);
  extent = std::clamp<int64_t>(centre + side / 2, 0, length) - begin;
}

}  // namespace

MixDraw DrawMix(const AugmentOptions& options, const DatasetInfo& info, uint64_t seed,
                int64_t epoch, int64_t sample) {
  MixDraw draw;
  if (options.mixup == 0 && options.cutmix == 0) return draw;
  SampleRandom random(seed, RandomPurpose::kMix, static_cast<uint64_t>(epoch),
                      static_cast<uint64_t>(sample));
  draw.partner = static_cast<int64_t>(random.Below(static_cast<uint64_t>(info.size)));
  const bool coin = random.Below(2) == 1;
  const auto y = static_cast<int64_t>(random.Below(static_cast<uint64_t>(info.height)));
  const auto x = static_cast<int64_t>(random.Below(static_cast<uint64_t>(info.width)));
  const bool cut = options.mixup == 0 || (options.cutmix > 0 && coin);
  draw.share = SymmetricBeta(cut ? options.cutmix : options.mixup, random);
  if (!cut) return draw;
  const double ratio = std::sqrt(1 - draw.share);
  const auto side = [ratio](int64_t length) {
    return static_cast<int64_t>(ratio * static_cast<double>(length));
  };
  Clip(y, side(info.height), info.height, draw.box.y, draw.box.height);
  Clip(x, side(info.width), info.width, draw.box.x, draw.box.width);
  draw.share = 1 - static_cast<double>(draw.box.height * draw.box.width) /
                       static_cast<double>(info.height * info.width);
  return draw;
}

}  // namespace ds
