#include "federated/update/shape.h"

namespace ds::federated {

const DigitSection* UpdateShape::Find(DigitRole role) const {
  for (const DigitSection& section : sections) {
    if (section.role == role) return &section;
  }
  return nullptr;
}

void UpdateShape::Append(DigitRole role, int64_t count, int number_bits) {
  if (count == 0) return;
  const int digits = (number_bits + bits - 1) / bits;
  sections.push_back({.role = role, .first = values(), .count = count, .digits = digits});
}

int64_t ReadNumber(const IntegerVector& values, const UpdateShape& shape,
                   const DigitSection& section, int64_t index) {
  const int64_t first = section.first + index * section.digits;
  uint64_t number = 0;
  for (int digit = section.digits - 1; digit >= 0; --digit)
    number = (number << shape.bits) + values.Get(first + digit);
  return static_cast<int64_t>(number);
}

void WriteNumber(int64_t number, const UpdateShape& shape, const DigitSection& section,
                 int64_t index, IntegerVector& values) {
  const int64_t first = section.first + index * section.digits;
  uint64_t left = static_cast<uint64_t>(number);
  for (int digit = 0; digit < section.digits; ++digit, left >>= shape.bits)
    values.Set(first + digit, static_cast<uint32_t>(left & ((uint64_t{1} << shape.bits) - 1)));
}

}  // namespace ds::federated
