// Which program a plan runs for a bucket.
#pragma once

#include "codec/cuda/codec_bodies.h"
#include "codec/cuda/codec_topk_bodies.h"

namespace ds::lowbit {

// kBits: plan.bits where the plan is uniform, else 1.
template <int kBits, typename Team>
DS_HOST_DEVICE inline void EncodeBucketProgram(const Team& team, TeamScratch& scratch,
                                               const CodecPlan& plan, int64_t bucket,
                                               const float* values, uint8_t* out) {
  const BucketPlace place = PlaceOf(plan, bucket);
  values += place.first;
  out += place.byte;
  switch (plan.kind) {
    case PlanKind::kUniform:
      return EncodeUniform<kBits>(team, scratch, plan, place, values, out);
    case PlanKind::kSign:
      return EncodeSign(team, scratch, place, values, out);
    case PlanKind::kTopK:
      return EncodeTopK(team, scratch, place, values, out);
    default:
      return EncodeFloats(team, plan.kind, place, values, out);
  }
}

template <int kBits, typename Team>
DS_HOST_DEVICE inline void DecodeBucketProgram(const Team& team, TeamScratch& scratch,
                                               const CodecPlan& plan, int64_t bucket,
                                               const uint8_t* in, bool add, float* values,
                                               int32_t* corrupt) {
  const BucketPlace place = PlaceOf(plan, bucket);
  values += place.first;
  in += place.byte;
  switch (plan.kind) {
    case PlanKind::kUniform:
      return DecodeUniform<kBits>(team, scratch, plan, place, in, add, values);
    case PlanKind::kSign:
      return DecodeSign(team, place, in, add, values);
    case PlanKind::kTopK:
      return DecodeTopK(team, place, in, add, values, corrupt);
    default:
      return DecodeFloats(team, plan.kind, place, in, add, values);
  }
}

// run.template operator()<bits>() with the plan's bits.
template <typename Run>
void WithBits(const CodecPlan& plan, const Run& run) {
  if (plan.kind != PlanKind::kUniform) return run.template operator()<1>();
  switch (plan.bits) {
    case 1:
      return run.template operator()<1>();
    case 2:
      return run.template operator()<2>();
    case 3:
      return run.template operator()<3>();
    case 4:
      return run.template operator()<4>();
    case 5:
      return run.template operator()<5>();
    case 6:
      return run.template operator()<6>();
    case 7:
      return run.template operator()<7>();
    default:
      return run.template operator()<8>();
  }
}

}  // namespace ds::lowbit
