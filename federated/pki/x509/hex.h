// Hexadecimal digits, lower-case. Only this room's sources read it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

bool IsHex(absl::string_view text, size_t digits);
// Of so many random bytes, from OpenSSL's generator for secrets.
absl::StatusOr<std::string> RandomHex(int bytes);

}  // namespace ds::federated
