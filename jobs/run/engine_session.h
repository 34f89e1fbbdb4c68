// A .dsm file ready to run, its errors as ours.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "deploy/engine/runtime/session.h"

namespace ds {

struct EngineSessionOptions {
  std::string model;  // a .dsm file
  std::string isa;    // as engine::ModelOptions has it
  int threads = 1;
};

absl::StatusOr<std::unique_ptr<engine::Session>> OpenSession(const EngineSessionOptions& options);

// "[1, 3, 224, 224]"
std::string DimsText(std::span<const uint32_t> dims);

}  // namespace ds
