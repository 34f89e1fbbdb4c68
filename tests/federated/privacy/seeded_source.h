// Random bytes of a known seed: for tests only.
#pragma once

#include <cstring>
#include <memory>
#include <random>

#include "federated/privacy/random_source.h"

namespace ds::federated {

inline RandomSource SeededSource(uint64_t seed) {
  auto random = std::make_shared<std::mt19937_64>(seed);
  return [random](absl::Span<std::byte> out) {
    for (size_t i = 0; i < out.size(); i += 8) {
      const uint64_t word = (*random)();
      std::memcpy(out.data() + i, &word, std::min<size_t>(8, out.size() - i));
    }
  };
}

}  // namespace ds::federated
