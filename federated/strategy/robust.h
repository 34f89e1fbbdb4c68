// Strategies that stand a minority of hostile updates: each value by itself, in the rotated basis
// where update.rotate is on.
#pragma once

#include <memory>

#include "federated/options/options.h"
#include "federated/strategy/strategy.h"

namespace ds::federated {

// Coordinate-wise trimmed mean (Yin et al. 2018): of n updates the floor(trim * n) least and
// greatest values are left out. trim < 0.5.
std::unique_ptr<Strategy> MakeTrimmedMean(const StrategyTraits& traits, double trim);
// Coordinate-wise median; of an even number the mean of the two in the middle.
std::unique_ptr<Strategy> MakeMedian(const StrategyTraits& traits);
// The update nearest to its n - f - 2 nearest neighbours (Blanchard et al. 2017), or the mean of
// the n - f - 2 such updates that are best; n >= 2 f + 3.
std::unique_ptr<Strategy> MakeKrum(const StrategyTraits& traits, int64_t byzantine, bool multi);

}  // namespace ds::federated
