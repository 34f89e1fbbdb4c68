// A metric's value as people read it.
#pragma once

#include <string>

#include "absl/strings/str_format.h"

namespace ds {

// Shares (accuracy, f1, ...) in percent; errors (mae, rmse) as they are.
inline std::string MetricText(const std::string& name, double value) {
  if (name == "mae" || name == "rmse") return absl::StrFormat("%.5g", value);
  return absl::StrFormat("%.2f%%", 100 * value);
}

}  // namespace ds
