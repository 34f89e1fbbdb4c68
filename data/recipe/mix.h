// Two samples in one: mixup and cutmix, drawn sample by sample.
#pragma once

#include <cstdint>

#include "data/dataset.h"
#include "data/loader.h"

namespace ds {

// What a sample is mixed with.
struct MixDraw {
  int64_t partner = 0;
  double share = 1;  // of the sample itself, 0..1; 1: nothing is mixed
  PixelBox box;      // cutmix: what the partner covers; empty: mixup
};

// The partner is any sample of the data set. Mixup (Zhang et al. 2018): the share is from
// Beta(x, x). Cutmix (Yun et al. 2019): a box of 1 - that share of the area around a uniform
// point, clipped at the border; `share` is then what it leaves.
MixDraw DrawMix(const AugmentOptions& options, const DatasetInfo& info, uint64_t seed,
                int64_t epoch, int64_t sample);

}  // namespace ds
