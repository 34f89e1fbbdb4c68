// Top-k as a program of one team of threads a bucket (see codec_bodies.h).
#pragma once

#include "codec/cuda/codec_bodies.h"

namespace ds::lowbit {

// How many values satisfy `test`.
template <typename Team, typename Test>
DS_HOST_DEVICE inline int TeamCount(const Team& team, TeamScratch& scratch, int count,
                                    const Test& test) {
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
DS_HOST_DEVICE inline uint32_t TeamThreshold(const Team& team, TeamScratch& scratch,
                                             const float* values, int count, int kept) {
  uint32_t threshold = 0;
  for (uint32_t bit = 1u << 30; bit != 0; bit >>= 1) {
    const uint32_t candidate = threshold | bit;
    const int at_least = TeamCount(team, scratch, count, [&](int i) {
      return (Bits(values[i]) & kMagnitudeMask) >= candidate;
    });
    if (at_least >= kept) threshold = candidate;
  }
  return threshold;
}

// use(i, is_above) for the values of `thread`'s own stretch that reach the threshold.
template <typename Use>
DS_HOST_DEVICE_INLINE void OverStretch(int thread, const float* values, int count,
                                       uint32_t threshold, const Use& use) {
  const int stretch = (count + kTeamThreads - 1) / kTeamThreads;
  const int end = (thread + 1) * stretch < count ? (thread + 1) * stretch : count;
  for (int i = thread * stretch; i < end; ++i) {
    const uint32_t magnitude = Bits(values[i]) & kMagnitudeMask;
    if (magnitude >= threshold) use(i, magnitude > threshold);
  }
}

// scratch.low and .high: how many values above and at the threshold lie before each thread's
// stretch.
template <typename Team>
DS_HOST_DEVICE inline void TeamCountBefore(const Team& team, TeamScratch& scratch,
                                           const float* values, int count, uint32_t threshold) {
  team.Each([&](int thread) {
    int32_t above = 0, equal = 0;
    OverStretch(thread, values, count, threshold,
                [&](int /*i*/, bool is_above) { ++(is_above ? above : equal); });
    scratch.low[thread] = above;
    scratch.high[thread] = equal;
  });
  team.Each([&](int thread) {
    if (thread != 0) return;
    int32_t above = 0, equal = 0;
    for (int t = 0; t < kTeamThreads; ++t) {
      const int32_t next_above = above + scratch.low[t], next_equal = equal + scratch.high[t];
      scratch.low[t] = above;
      scratch.high[t] = equal;
      above = next_above;
      equal = next_equal;
    }
  });
}

template <typename Team>
DS_HOST_DEVICE inline void PoisonTopK(const Team& team, int kept, uint8_t* out) {
  team.Each([&](int thread) {
    for (int i = thread; i < kept; i += kTeamThreads) {
      PutBytes(kPoisonIndex, 2, out + 2 * i);
      PutWord(FromBits(kNanBits), out + 2 * kept + 4 * i);
    }
  });
}

template <typename Team>
DS_HOST_DEVICE inline void EncodeTopK(const Team& team, TeamScratch& scratch,
                                      const BucketPlace& place, const float* values, uint8_t* out) {
  const int count = place.count, kept = place.kept;
  if (TeamMagnitude(team, scratch, values, count) >= kInfinityBits)
    return PoisonTopK(team, kept, out);
  team.Each([](int /*thread*/) {});  // everyone has read the magnitude
  const uint32_t threshold = TeamThreshold(team, scratch, values, count, kept);
  const int ties = kept - TeamCount(team, scratch, count, [&](int i) {
                     return (Bits(values[i]) & kMagnitudeMask) > threshold;
                   });
  TeamCountBefore(team, scratch, values, count, threshold);
  // Each thread places the kept values of its stretch; of those at the threshold only the first
  // `ties` travel.
  team.Each([&](int thread) {
    int32_t above = scratch.low[thread], equal = scratch.high[thread];
    OverStretch(thread, values, count, threshold, [&](int i, bool is_above) {
      const int slot = above + (equal < ties ? equal : ties);
      const bool travels = is_above || equal < ties;
      ++(is_above ? above : equal);
      if (!travels) return;
      PutBytes(static_cast<uint64_t>(i), 2, out + 2 * slot);
      PutWord(values[i], out + 2 * kept + 4 * slot);
    });
  });
}

// Sets *corrupt to 1, where it is not null, if the indices do not ascend or are out of range; it
// then adds or stores what is in range.
template <typename Team>
DS_HOST_DEVICE inline void DecodeTopK(const Team& team, const BucketPlace& place, const uint8_t* in,
                                      bool add, float* values, int32_t* corrupt) {
  const int count = place.count, kept = place.kept;
  if (GetBytes(in, 2) == kPoisonIndex)
    return TeamFill(team, FromBits(kNanBits), add, values, count);
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
