// The words for a codec's choices, as configurations and flags write them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "codec/codec.h"

namespace ds {

inline std::vector<std::pair<std::string, CodecScale>> CodecScaleWords() {
  return {{"max_norm", CodecScale::kMaxNorm}, {"min_max", CodecScale::kMinMax}};
}

inline std::vector<std::pair<std::string, CodecRounding>> CodecRoundingWords() {
  return {{"nearest", CodecRounding::kNearest}, {"stochastic", CodecRounding::kStochastic}};
}

}  // namespace ds
