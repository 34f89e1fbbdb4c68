// Top-k as a program of one team of threads a bucket (see codec_bodies.h).
#pragma once

#include "quant/cuda/codec_bodies.h"

namespace ds::lowbit {

// How many values satisfy `test`.
template <typename Team, typename Test>
DS_HOST_DEVICE inline int TeamCount(const Team& team, TeamScratch& scratch, int count, const Test& test) {
  team.Each([&](int thread) {
    uint32_t found = 0;
    for (int i = thread; i < count; i += kTeamThreads) found += test(i) ? 1 : 0;
    scratch.magnitude[thread] = found;
  });
  for (int distance = kTeamThreads / 2; distance > 0; distance /= 2) {
    team.Each([&](int thread) {
      if (thread < distance) scratch.magnitude[thread] += scratch.magnitude[thread + distance];
    });
  }
  const int total = static_cast<int>(scratch.magnitude[0]);
  team.Each([](int /*thread*/) {});  // everyone has read it before it is written again
  return total;
}

// The kept-th greatest of the values' magnitudes, bit by bit.
template <typename Team>
DS_HOST_DEVICE inline uint32_t TeamThreshold(const Team& team, TeamScratch& scratch, const float* values, int count, int kept) {
  uint32_t threshold = 0;
  for (uint32_t bit = 1u << 30; bit != 0; bit >>= 1) {
    const uint32_t candidate = threshold | bit;
    const int at_least =
        TeamCount(team, scratch, count, [&](int i) { return (Bits(values[i]) & kMagnitudeMask) >= candidate; });
    if (at_least >= kept) threshold = candidate;
  }
  return threshold;
}

// Each thread places the kept values of a stretch of its own; scratch.low and .high count those above and at the threshold that lie
// before it.
template <typename Team>
DS_HOST_DEVICE inline void EncodeTopK(const Team& team, TeamScratch& scratch, const BucketPlace& place, const float* values, uint8_t* out) {
  const int count = place.count, kept = place.kept;
  uint8_t* const kept_values = out + 2 * kept;
  if (TeamMagnitude(team, scratch, values, count) >= kInfinityBits) {
    team.Each([&](int thread) {
      for (int i = thread; i < kept; i += kTeamThreads) {
        PutBytes(kPoisonIndex, 2, out + 2 * i);
        PutWord(FromBits(kNanBits), kept_values + 4 * i);
      }
    });
    return;
  }
  team.Each([](int /*thread*/) {});
  const uint32_t threshold = TeamThreshold(team, scratch, values, count, kept);
  const int above = TeamCount(team, scratch, count, [&](int i) { return (Bits(values[i]) & kMagnitudeMask) > threshold; });
  const int stretch = (count + kTeamThreads - 1) / kTeamThreads;
  const auto over_stretch = [&](int thread, const auto& use) {
    const int end = (thread + 1) * stretch < count ? (thread + 1) * stretch : count;
    for (int i = thread * stretch; i < end; ++i) {
      const uint32_t magnitude = Bits(values[i]) & kMagnitudeMask;
      if (magnitude >= threshold) use(i, magnitude > threshold);
    }
  };
  team.Each([&](int thread) {
    int32_t greater = 0, equal = 0;
    over_stretch(thread, [&](int /*i*/, bool is_above) { ++(is_above ? greater : equal); });
    scratch.low[thread] = greater;
    scratch.high[thread] = equal;
  });
  team.Each([&](int thread) {
    if (thread != 0) return;
    int32_t greater = 0, equal = 0;
    for (int t = 0; t < kTeamThreads; ++t) {
      const int32_t next_greater = greater + scratch.low[t], next_equal = equal + scratch.high[t];
      scratch.low[t] = greater;
      scratch.high[t] = equal;
      greater = next_greater;
      equal = next_equal;
    }
  });
  const int ties = kept - above;
  team.Each([&](int thread) {
    int32_t greater = scratch.low[thread], equal = scratch.high[thread];
    over_stretch(thread, [&](int i, bool is_above) {
      const int slot = greater + (equal < ties ? equal : ties);
      const bool travels = is_above || equal < ties;
      ++(is_above ? greater : equal);
      if (!travels) return;
      PutBytes(static_cast<uint64_t>(i), 2, out + 2 * slot);
      PutWord(values[i], kept_values + 4 * slot);
    });
  });
}

// Sets *corrupt to 1, where it is not null, if the indices do not ascend or are out of range; it then adds or stores what is in range.
template <typename Team>
DS_HOST_DEVICE inline void DecodeTopK(const Team& team, const BucketPlace& place, const uint8_t* in, bool add, float* values,
                                      int32_t* corrupt) {
  const int count = place.count, kept = place.kept;
  if (GetBytes(in, 2) == kPoisonIndex) return TeamFill(team, FromBits(kNanBits), add, values, count);
  TeamFill(team, 0.0f, add, values, count);
  team.Each([&](int thread) {
    for (int i = thread; i < kept; i += kTeamThreads) {
      const int index = static_cast<int>(GetBytes(in + 2 * i, 2));
      const bool ascends = i == 0 || static_cast<int>(GetBytes(in + 2 * (i - 1), 2)) < index;
      if (index < count && ascends) {
        PutValue(GetWord(in + 2 * kept + 4 * i), add, values + index);
      } else if (corrupt != nullptr) {
        *corrupt = 1;
      }
    }
  });
}

}  // namespace ds::lowbit
