// Strategies that only add.
#pragma once

#include <memory>

#include "federated/strategy/strategy.h"

namespace ds::federated {

// The sum of all updates, as one group.
std::unique_ptr<Strategy> MakeSum(const StrategyTraits& traits);
// fedbuff (Nguyen et al. 2022): a group for each version that updates were made for, an update's
// weight round(16 / sqrt(1 + versions since)), at least 1.
std::unique_ptr<Strategy> MakeBuffered(const StrategyTraits& traits);

// That weight.
int64_t StalenessWeight(int64_t versions);

}  // namespace ds::federated
