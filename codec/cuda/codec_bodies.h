// The codecs as programs of one team of threads a bucket, for CUDA blocks and, word for word, for a
// loop on the processor that tests compare with quant/'s codecs bit for bit. All arithmetic is
// codec/codec_math.h's.
//
// A Team has kThreads threads and Each(work): work(thread) on every thread, and a barrier after.
// What is outside an Each is computed by every thread alike, from shared memory that no later Each
// writes.
#pragma once

#include <cstdint>

#include "base/tensor/float16.h"
#include "base/tensor/host_device.h"
#include "codec/codec_math.h"

namespace ds::lowbit {

constexpr int kTeamThreads = 128;
constexpr int kTeamBucket = 4096;  // the greatest bucket
constexpr int kGroup = 8;          // values that one thread packs: with b bits each, b bytes

// As codec.h's kinds, in their order.
enum class PlanKind : int { kFloat32, kFloat16, kBFloat16, kUniform, kSign, kTopK };

// A codec's options, worked out for kernels.
struct CodecPlan {
  PlanKind kind;
  int bits;
  bool max_norm, stochastic, rotate;
  int bucket;              // values
  int64_t bucket_bytes;    // of a full bucket
  int64_t count;           // values in all
  int kept, kept_of_last;  // top-k: values that travel of a full bucket, and of the last one
  NoiseStream rounding, rotation;
  uint64_t first_element;
};

// One bucket of a plan.
struct BucketPlace {
  int64_t first;  // value
  int count;
  int kept;
  uint64_t element;
  int64_t byte;
};

DS_HOST_DEVICE_INLINE int64_t BucketsOf(const CodecPlan& plan) {
  return (plan.count + plan.bucket - 1) / plan.bucket;
}

DS_HOST_DEVICE_INLINE BucketPlace PlaceOf(const CodecPlan& plan, int64_t index) {
  const int64_t first = index * plan.bucket;
  const int64_t rest = plan.count - first;
  const bool whole = rest >= plan.bucket;
  return {first, whole ? plan.bucket : static_cast<int>(rest),
          whole ? plan.kept : plan.kept_of_last, plan.first_element + static_cast<uint64_t>(first),
          index * plan.bucket_bytes};
}

// A team's shared memory.
struct TeamScratch {
  float values[kTeamBucket];         // of a rotated bucket
  uint32_t magnitude[kTeamThreads];  // also: counts of top-k
  int32_t low[kTeamThreads], high[kTeamThreads];
  float lanes[kSumLanes];
};

// --- Bytes at any address

DS_HOST_DEVICE_INLINE void PutBytes(uint64_t word, int bytes, uint8_t* out) {
  for (int i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(word >> (8 * i));
}

DS_HOST_DEVICE_INLINE uint64_t GetBytes(const uint8_t* in, int bytes) {
  uint64_t word = 0;
  for (int i = 0; i < bytes; ++i) word |= static_cast<uint64_t>(in[i]) << (8 * i);
  return word;
}

DS_HOST_DEVICE_INLINE void PutWord(float value, uint8_t* out) { PutBytes(Bits(value), 4, out); }
DS_HOST_DEVICE_INLINE float GetWord(const uint8_t* in) {
  return FromBits(static_cast<uint32_t>(GetBytes(in, 4)));
}

DS_HOST_DEVICE_INLINE void PutValue(float value, bool add, float* to) {
  *to = add ? Add(*to, value) : value;
}

// --- What a team works out together

template <typename Team>
DS_HOST_DEVICE inline uint32_t TeamMagnitude(const Team& team, TeamScratch& scratch,
                                             const float* values, int count) {
  team.Each([&](int thread) {
    uint32_t greatest = 0;
    for (int i = thread; i < count; i += kTeamThreads) {
      const uint32_t bits = Bits(values[i]) & kMagnitudeMask;
      greatest = bits > greatest ? bits : greatest;
    }
    scratch.magnitude[thread] = greatest;
  });
  for (int distance = kTeamThreads / 2; distance > 0; distance /= 2) {
    team.Each([&](int thread) {
      if (thread >= distance) return;
      const uint32_t other = scratch.magnitude[thread + distance];
      if (other > scratch.magnitude[thread]) scratch.magnitude[thread] = other;
    });
  }
  return scratch.magnitude[0];
}

template <typename Team>
DS_HOST_DEVICE inline void TeamRange(const Team& team, TeamScratch& scratch, const float* values,
                                     int count) {
  team.Each([&](int thread) {
    int32_t low = Ordered(Bits(values[0])), high = low;
    for (int i = thread; i < count; i += kTeamThreads) {
      const int32_t ordered = Ordered(Bits(values[i]));
      low = ordered < low ? ordered : low;
      high = ordered > high ? ordered : high;
    }
    scratch.low[thread] = low;
    scratch.high[thread] = high;
  });
  for (int distance = kTeamThreads / 2; distance > 0; distance /= 2) {
    team.Each([&](int thread) {
      if (thread >= distance) return;
      const int32_t low = scratch.low[thread + distance], high = scratch.high[thread + distance];
      if (low < scratch.low[thread]) scratch.low[thread] = low;
      if (high > scratch.high[thread]) scratch.high[thread] = high;
    });
  }
}

// scratch.values: rotated in place, or back. In pieces that are powers of two, the greatest first.
template <typename Team>
DS_HOST_DEVICE inline void TeamRotate(const Team& team, TeamScratch& scratch, int count,
                                      const NoiseStream& noise, uint64_t element, bool back) {
  for (int at = 0; at < count;) {
    int log2_size = 0;
    while ((2 << log2_size) <= count - at) ++log2_size;
    const int size = 1 << log2_size;
    float* const piece = scratch.values + at;
    const auto flip = [&] {
      team.Each([&](int thread) {
        for (int i = thread; i < size; i += kTeamThreads) {
          const bool flips = RotationFlips(noise, element + static_cast<uint64_t>(at + i));
          piece[i] = WithSign(Multiply(piece[i], RotationScale(log2_size)), flips ? 1 : 0);
        }
      });
    };
    if (!back) flip();
    for (int stride = 1; stride < size; stride *= 2) {
      team.Each([&](int thread) {
        for (int pair = thread; pair < size / 2; pair += kTeamThreads) {
          const int i = pair / stride * 2 * stride + pair % stride;
          const float a = piece[i], b = piece[i + stride];
          piece[i] = Add(a, b);
          piece[i + stride] = Add(a, -b);
        }
      });
    }
    if (back) flip();
    at += size;
  }
}

// --- Codes

// code(i) of up to eight values from `first` on, packed.
template <int kBits, typename CodeOf>
DS_HOST_DEVICE_INLINE void PackGroup(int first, int count, uint8_t* out, const CodeOf& code) {
  uint64_t word = 0;
  const int here = count - first < kGroup ? count - first : kGroup;
  for (int i = 0; i < here; ++i) word |= static_cast<uint64_t>(code(first + i)) << (i * kBits);
  PutBytes(word, (here * kBits + 7) / 8, out + first / kGroup * kBits);
}

// use(i, code) of up to eight values.
template <int kBits, typename Use>
DS_HOST_DEVICE_INLINE void UnpackGroup(int first, int count, const uint8_t* in, const Use& use) {
  const int here = count - first < kGroup ? count - first : kGroup;
  const uint64_t word = GetBytes(in + first / kGroup * kBits, (here * kBits + 7) / 8);
  for (int i = 0; i < here; ++i)
    use(first + i, static_cast<uint32_t>(word >> (i * kBits)) & ((1u << kBits) - 1));
}

template <typename Team, typename Work>
DS_HOST_DEVICE inline void EachGroup(const Team& team, int count, const Work& work) {
  team.Each([&](int thread) {
    for (int first = thread * kGroup; first < count; first += kTeamThreads * kGroup) work(first);
  });
}

DS_HOST_DEVICE_INLINE int UniformHeader(bool max_norm) { return max_norm ? 4 : 8; }

template <int kBits, typename Team>
DS_HOST_DEVICE inline void EncodeUniform(const Team& team, TeamScratch& scratch,
                                         const CodecPlan& plan, const BucketPlace& place,
                                         const float* values, uint8_t* out) {
  const int count = place.count;
  if (plan.rotate) {
    team.Each([&](int thread) {
      for (int i = thread; i < count; i += kTeamThreads) scratch.values[i] = values[i];
    });
    TeamRotate(team, scratch, count, plan.rotation, place.element, /*back=*/false);
    values = scratch.values;
  }
  UniformGrid grid;
  if (plan.max_norm) {
    grid = MaxNormGrid(kBits, TeamMagnitude(team, scratch, values, count));
  } else {
    TeamRange(team, scratch, values, count);
    grid = MinMaxGrid(kBits, scratch.low[0], scratch.high[0]);
  }
  team.Each([&](int thread) {
    if (thread != 0) return;
    PutWord(grid.step, out);
    if (!plan.max_norm) PutWord(grid.origin, out + 4);
  });
  uint8_t* const codes = out + UniformHeader(plan.max_norm);
  const bool empty = !(grid.step > 0);
  const bool signs = plan.max_norm && kBits == 1 && !plan.stochastic;
  const UniformEncoding encoding =
      empty ? UniformEncoding{} : EncodingOf(grid, kBits, plan.max_norm, plan.stochastic);
  EachGroup(team, count, [&](int first) {
    PackGroup<kBits>(first, count, codes, [&](int i) -> uint32_t {
      if (empty) return 0;
      if (signs) return SignOf(values[i]);
      if (!plan.stochastic) return RoundedCode(values[i], encoding);
      return StochasticCode(values[i], encoding,
                            Noise16(plan.rounding, place.element + static_cast<uint64_t>(i)),
                            kBits);
    });
  });
}

template <typename Team>
DS_HOST_DEVICE inline void TeamFill(const Team& team, float value, bool add, float* values,
                                    int count) {
  team.Each([&](int thread) {
    for (int i = thread; i < count; i += kTeamThreads) PutValue(value, add, values + i);
  });
}

template <int kBits, typename Team>
DS_HOST_DEVICE inline void DecodeUniform(const Team& team, TeamScratch& scratch,
                                         const CodecPlan& plan, const BucketPlace& place,
                                         const uint8_t* in, bool add, float* values) {
  const int count = place.count;
  const UniformGrid grid = {plan.max_norm ? 0.0f : GetWord(in + 4), GetWord(in)};
  if (!IsFinite(grid.step) || !IsFinite(grid.origin))
    return TeamFill(team, FromBits(kNanBits), add, values, count);
  if (grid.step == 0 && (grid.origin == 0 || !plan.rotate))
    return TeamFill(team, grid.origin, add, values, count);
  const uint8_t* const codes = in + UniformHeader(plan.max_norm);
  const uint32_t bias = plan.max_norm ? static_cast<uint32_t>(MaxNormSteps(kBits)) : 0;
  EachGroup(team, count, [&](int first) {
    UnpackGroup<kBits>(first, count, codes, [&](int i, uint32_t code) {
      const float value =
          plan.max_norm && kBits == 1 ? WithSign(grid.step, code) : ValueOfCode(code, grid, bias);
      if (plan.rotate) {
        scratch.values[i] = value;
      } else {
        PutValue(value, add, values + i);
      }
    });
  });
  if (!plan.rotate) return;
  TeamRotate(team, scratch, count, plan.rotation, place.element, /*back=*/true);
  team.Each([&](int thread) {
    for (int i = thread; i < count; i += kTeamThreads) PutValue(scratch.values[i], add, values + i);
  });
}

// --- Signs

template <typename Team>
DS_HOST_DEVICE inline void EncodeSign(const Team& team, TeamScratch& scratch,
                                      const BucketPlace& place, const float* values, uint8_t* out) {
  const int count = place.count;
  const uint32_t magnitude = TeamMagnitude(team, scratch, values, count);
  team.Each([&](int thread) {
    if (thread >= kSumLanes) return;
    float sum = 0;
    for (int i = thread; i < count; i += kSumLanes)
      sum = Add(sum, Multiply(FromBits(Bits(values[i]) & kMagnitudeMask), kSumScale));
    scratch.lanes[thread] = sum;
  });
  for (int distance = kSumLanes / 2; distance > 0; distance /= 2) {
    team.Each([&](int thread) {
      if (thread < distance)
        scratch.lanes[thread] = Add(scratch.lanes[thread], scratch.lanes[thread + distance]);
    });
  }
  const float scale = MeanMagnitude(scratch.lanes[0], magnitude, count);
  team.Each([&](int thread) {
    if (thread == 0) PutWord(scale, out);
  });
  EachGroup(team, count, [&](int first) {
    PackGroup<1>(first, count, out + 4, [&](int i) { return scale > 0 ? SignOf(values[i]) : 0u; });
  });
}

template <typename Team>
DS_HOST_DEVICE inline void DecodeSign(const Team& team, const BucketPlace& place, const uint8_t* in,
                                      bool add, float* values) {
  const float scale = GetWord(in);
  if (!IsFinite(scale)) return TeamFill(team, FromBits(kNanBits), add, values, place.count);
  if (scale == 0) return TeamFill(team, 0.0f, add, values, place.count);
  EachGroup(team, place.count, [&](int first) {
    UnpackGroup<1>(first, place.count, in + 4,
                   [&](int i, uint32_t code) { PutValue(WithSign(scale, code), add, values + i); });
  });
}

// --- float32, float16, bfloat16

template <typename Team>
DS_HOST_DEVICE inline void EncodeFloats(const Team& team, PlanKind kind, const BucketPlace& place,
                                        const float* values, uint8_t* out) {
  team.Each([&](int thread) {
    for (int i = thread; i < place.count; i += kTeamThreads) {
      if (kind == PlanKind::kFloat32) {
        PutWord(values[i], out + 4 * i);
      } else {
        PutBytes(kind == PlanKind::kFloat16 ? Float16(values[i]).bits : BFloat16(values[i]).bits, 2,
                 out + 2 * i);
      }
    }
  });
}

template <typename Half>
DS_HOST_DEVICE_INLINE float HalfValue(const uint8_t* in) {
  Half half;
  half.bits = static_cast<uint16_t>(GetBytes(in, 2));
  return static_cast<float>(half);
}

template <typename Team>
DS_HOST_DEVICE inline void DecodeFloats(const Team& team, PlanKind kind, const BucketPlace& place,
                                        const uint8_t* in, bool add, float* values) {
  team.Each([&](int thread) {
    for (int i = thread; i < place.count; i += kTeamThreads) {
      const float value = kind == PlanKind::kFloat32   ? GetWord(in + 4 * i)
                          : kind == PlanKind::kFloat16 ? HalfValue<Float16>(in + 2 * i)
                                                       : HalfValue<BFloat16>(in + 2 * i);
      PutValue(value, add, values + i);
    }
  });
}

}  // namespace ds::lowbit
