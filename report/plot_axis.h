// Where an axis of a plot has numbers.
#pragma once

#include <string>
#include <vector>

namespace ds {

// Multiples of 1, 2 or 5 times a power of ten within [low, high] (finite, in order): about `wanted`
// (>= 1) of them, and at least one. Labels have as many decimals as their step needs.
struct AxisTicks {
  AxisTicks(double low, double high, int wanted);

  std::vector<double> values;
  std::vector<std::string> labels;
};

}  // namespace ds
