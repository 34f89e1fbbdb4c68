#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/field.h"

namespace ds {

FieldRule Any() { return {}; }

FieldRule PlainName() {
  FieldRule rule;
  rule.name_pattern = true;
  return rule;
}

FieldRule OneOf(std::vector<std::string> choices) {
  FieldRule rule;
  rule.choices = std::move(choices);
  return rule;
}

FieldRule AtLeast(double min) {
  FieldRule rule;
  rule.min = min;
  return rule;
}

FieldRule Above(double min) {
  FieldRule rule = AtLeast(min);
  rule.above_min = true;
  return rule;
}

FieldRule Between(double min, double max) {
  FieldRule rule = AtLeast(min);
  rule.max = max;
  return rule;
}

FieldRule Fraction() {
  FieldRule rule = Between(0, 1);
  rule.below_max = true;
  return rule;
}

FieldRule OpenFraction() {
  FieldRule rule = Fraction();
  rule.above_min = true;
  return rule;
}

FieldRule Share() {
  FieldRule rule = Between(0, 1);
  rule.above_min = true;
  return rule;
}

std::string FieldRule::ToString() const {
  if (name_pattern) return "1 to 128 of A-Z a-z 0-9 _ . -";
  if (!choices.empty()) return absl::StrJoin(choices, " | ");
  if (std::isinf(min) && std::isinf(max)) return "";
  if (std::isinf(max)) return absl::StrCat(above_min ? "> " : ">= ", ShortestDouble(min));
  return absl::StrCat(above_min ? "(" : "[", ShortestDouble(min), ", ", ShortestDouble(max),
                      below_max ? ")" : "]");
}

std::string Field::Allowed() const {
  const WordTarget* words = std::get_if<WordTarget>(&target);
  return words != nullptr ? absl::StrJoin(words->names, " | ") : rule.ToString();
}

}  // namespace ds
