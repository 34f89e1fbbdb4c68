// What the decoders share: protobuf's parser with its limit, and checks that name message and
// field. Seen by federated/wire/'s sources only.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/hex.h"
#include "federated/wire/codec.h"

namespace ds::federated {

// The checks of one message: the first that fails is kept.
class Reading {
 public:
  explicit Reading(std::string message) : message_(std::move(message)) {}

  void Fail(absl::string_view field, absl::string_view what) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(absl::StrCat(message_, ".", field, " ", what));
  }
  void Digest(absl::string_view field, absl::string_view text) {
    if (!IsSha256Hex(text)) Fail(field, "is no SHA-256 digest of 64 lower-case hexadecimal digits");
  }
  void DigestOrEmpty(absl::string_view field, absl::string_view text) {
    if (!text.empty()) Digest(field, text);
  }
  void Range(absl::string_view field, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      Fail(field, absl::StrCat("is ", value, ", not within [", least, ", ", most, "]"));
  }
  void Count(absl::string_view field, int64_t value) { Range(field, value, 0, kMost); }
  // A counter, or -1 for none.
  void CountOrNone(absl::string_view field, int64_t value) { Range(field, value, -1, kMost); }
  void Finite(absl::string_view field, double value) {
    if (!std::isfinite(value)) Fail(field, "is not a finite number");
  }
  void Size(absl::string_view field, absl::string_view bytes, int64_t most, int64_t least = 0) {
    const auto size = static_cast<int64_t>(bytes.size());
    if (size < least || size > most)
      Fail(field, absl::StrCat("has ", size, " bytes, not within [", least, ", ", most, "]"));
  }
  // Printable ASCII: an identifier, not a text for people.
  void Word(absl::string_view field, absl::string_view text) {
    Size(field, text, kMaxNameBytes, /*least=*/1);
    for (const char c : text)
      if (c < 0x21 || c > 0x7e) return Fail(field, "has characters other than printable ASCII");
  }
  const absl::Status& status() const { return status_; }

 private:
  static constexpr int64_t kMost = int64_t{1} << 53;

  std::string message_;
  absl::Status status_;
};

// T: a message of federation.proto.
template <typename T>
absl::StatusOr<T> ParseProto(absl::string_view name, absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > kMaxMessageBytes)
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", bytes.size(), " bytes, over ", kMaxMessageBytes));
  T message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return absl::InvalidArgumentError(
        absl::StrCat("these ", bytes.size(), " bytes are no ", name, " of federation.proto"));
  return message;
}

inline std::string Cut(absl::string_view text, int64_t most) {
  return std::string(text.substr(0, static_cast<size_t>(most)));
}

}  // namespace ds::federated
