#pragma once

#include <random>
#include <string>

#include "absl/strings/str_format.h"

namespace ds::federated {

// 32 hexadecimal digits that no other run has.
inline std::string RandomRunName() {
  std::random_device device;
  return absl::StrFormat("%08x%08x%08x%08x", device(), device(), device(), device());
}

}  // namespace ds::federated
