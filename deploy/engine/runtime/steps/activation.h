// The activation of a file's float operator.
#pragma once

#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

inline Status MakeActivation(const Binding& binding, uint32_t kind, float low, float high,
                             Activate& activate) {
  if (kind > static_cast<uint32_t>(Activation::kLeakyRelu)) {
    return binding.Error("has an activation that the format does not have");
  }
  activate = {static_cast<Activation>(kind), low, high};
  return {};
}

}  // namespace ds::engine
