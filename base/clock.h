// Time spans in seconds, as doubles.
#pragma once

#include <chrono>

namespace ds {

// Since some moment of this machine's; never goes back.
inline double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace ds
