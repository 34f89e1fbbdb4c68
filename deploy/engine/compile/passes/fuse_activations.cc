#include <algorithm>

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
  const std::vector<int> readers = Readers(program), writers = Writers(program);
  const std::vector<bool> viewed = HaveViews(program);
  for (Step& step : program.steps) {
    const auto* activate = std::get_if<file::ActivateParameters>(&step.parameters);
    if (activate == nullptr) continue;
    const int input = step.inputs[0], maker = writers[input];
    if (maker < 0 || readers[input] != 1 || viewed[input] || program.tensors[input].view_of >= 0) {
      continue;
    }
    Step& made = program.steps[maker];
    const Place place = PlaceIn(made);
    if (made.outputs.empty() || place.activation == nullptr || *place.activation != 0) continue;
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
