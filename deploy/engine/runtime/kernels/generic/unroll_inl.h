// Loops that are unrolled before a compiler decides what lives in registers: arrays of vectors that
// are indexed by a loop's counter would live in memory.
#pragma once

#include <type_traits>
#include <utility>

namespace ds::engine {
namespace {

template <typename Each, int... kIndices>
[[gnu::always_inline]] inline void UnrollOver(std::integer_sequence<int, kIndices...>,
                                              const Each& each) {
  (each(std::integral_constant<int, kIndices>()), ...);
}

// Calls each(0), ..., each(kCount - 1) with constants.
template <int kCount, typename Each>
[[gnu::always_inline]] inline void Unroll(const Each& each) {
  UnrollOver(std::make_integer_sequence<int, kCount>(), each);
}

}  // namespace
}  // namespace ds::engine
