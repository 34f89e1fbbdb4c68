#include <algorithm>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

// Where a step keeps its activation of floats, if it has room for one.
struct Place {
  uint32_t* activation = nullptr;
  float *low = nullptr, *high = nullptr;
};
Place PlaceIn(Step& step) {
  if (auto* conv = std::get_if<file::ConvF32Parameters>(&step.parameters)) {
    return {&conv->activation, &conv->low, &conv->high};
  }
  if (auto* binary = std::get_if<file::BinaryF32Parameters>(&step.parameters)) {
    return {&binary->activation, &binary->low, &binary->high};
  }
  return {};
}

}  // namespace

void FuseActivations(Program& program) {
  const TensorUses uses(program);
  for (Step& step : program.steps) {
    const auto* activate = std::get_if<file::ActivateParameters>(&step.parameters);
    if (activate == nullptr) continue;
    step.stays = uses.WhyShared(step.inputs[0]);
    if (!step.stays.empty()) continue;
    Step& made = program.steps[uses.MakerOf(step.inputs[0])];
    const Place place = PlaceIn(made);
    if (made.outputs.empty() || place.activation == nullptr || *place.activation != 0) {
      step.stays = absl::StrCat(
          Told(made), " in front of it ",
          place.activation == nullptr ? "takes no activation" : "has an activation already");
      continue;
    }
    *place.activation = activate->activation;
    *place.low = activate->low;
    *place.high = activate->high;
    made.outputs = step.outputs;
    made.story.push_back("activation " + step.name);
    step.outputs.clear();
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
