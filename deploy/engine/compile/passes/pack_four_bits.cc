#include <algorithm>

#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {

void PackFourBits(Program& program) {
  for (Step& step : program.steps) {
    if (step.kind != file::OperatorKind::kConv8) continue;
    const bool fits = std::all_of(step.codes.begin(), step.codes.end(),
                                  [](int8_t code) { return code >= -8 && code <= 7; });
    if (!fits) continue;
    step.kind = file::OperatorKind::kConv4;
    step.story.push_back("weights of 4 bits");
  }
}

}  // namespace ds::engine::compile
