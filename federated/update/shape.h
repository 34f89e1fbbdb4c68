// Which integer of an update is what: first the coordinates, a level of the grid each, then numbers
// that need more bits than a level has, written as digits in base 2^bits, least first. A sum of
// updates holds the sums of the digits, so of the numbers: any modulus that is wide enough for the
// coordinates is wide enough for them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "federated/update/integers.h"

namespace ds::federated {

enum class DigitRole {
  kStatistic,  // a value of a statistic, on a grid of its own
  kWeight,     // the site's weight
  kScale,      // mean square of a slot's values
  kMetric      // a number of SiteMetrics: summed whatever the strategy does with the rest
};

// `count` numbers of `digits` integers each, from integer `first` on.
struct DigitSection {
  DigitRole role = DigitRole::kMetric;
  int64_t first = 0;
  int64_t count = 0;
  int digits = 0;

  int64_t end() const { return first + count * digits; }
};

struct UpdateShape {
  int bits = 0;                        // of a level and of a digit
  int64_t coordinates = 0;             // integers [0, coordinates)
  std::vector<DigitSection> sections;  // one after another, behind the coordinates

  int64_t values() const { return sections.empty() ? coordinates : sections.back().end(); }
  const DigitSection* Find(DigitRole role) const;  // null: none
  // Appends a section of `count` numbers below 2^number_bits.
  void Append(DigitRole role, int64_t count, int number_bits);
};

// Number `index` of a section, from its digits or the sums of them. The result must be below 2^63,
// which no number of ours and no sum of 2^20 of them exceeds.
int64_t ReadNumber(const IntegerVector& values, const UpdateShape& shape,
                   const DigitSection& section, int64_t index);
// number < 2^(digits * bits).
void WriteNumber(int64_t number, const UpdateShape& shape, const DigitSection& section,
                 int64_t index, IntegerVector& values);

}  // namespace ds::federated
