// Just enough JSON to write a report: an object or array built piece by piece, keys in the order
// given.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ds {

// In quotes, escaped. Bytes that are not UTF-8 pass as they are.
std::string JsonString(absl::string_view text);
// Shortest exact decimal; NaN and infinities, which JSON lacks, become null.
std::string JsonNumber(double value);

// {"a": 1, "b": "x"}; `indent` > 0 puts every member on a line of its own, that many blanks in.
class JsonObject {
 public:
  explicit JsonObject(int indent = 0) : indent_(indent) {}

  void Add(absl::string_view key, absl::string_view text) { AddJson(key, JsonString(text)); }
  void Add(absl::string_view key, const char* text) { AddJson(key, JsonString(text)); }
  void Add(absl::string_view key, double value) { AddJson(key, JsonNumber(value)); }
  void Add(absl::string_view key, int64_t value);
  void Add(absl::string_view key, uint64_t value);
  // `json` is JSON already.
  void AddJson(absl::string_view key, absl::string_view json);

  std::string ToString() const;

 private:
  int indent_;
  std::string members_;
};

}  // namespace ds
