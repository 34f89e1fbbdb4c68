#include <algorithm>

#include "deploy/engine/compile/passes/passes.h"
#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

// A sum of equal dims.
bool IsSum(const Step& step) {
  constexpr auto kSame = static_cast<uint32_t>(file::Spread::kSame);
  if (step.inputs.size() != 2 || step.inputs[0] == step.inputs[1]) return false;
  if (const auto* add = std::get_if<file::Add8Parameters>(&step.parameters)) {
    return add->spread == kSame && !step.table;
  }
  const auto* binary = std::get_if<file::BinaryF32Parameters>(&step.parameters);
  return binary != nullptr && binary->spread == kSame &&
         binary->operation == static_cast<uint32_t>(Binary::kAdd);
}

bool TakesSum(const Step& step) {
  if (const auto* conv = std::get_if<file::Conv8Parameters>(&step.parameters)) {
    return conv->has_sum == 0;
  }
  // Floats are added before the activation.
  const auto* conv = std::get_if<file::ConvF32Parameters>(&step.parameters);
  return conv != nullptr && conv->has_residual == 0 && conv->activation == 0;
}

// `step` becomes the convolution that makes its operand `slot`, with the sum behind it.
void Fuse(Step& step, Step& maker, size_t slot) {
  Step fused = std::move(maker);
  maker.outputs.clear();
  if (auto* conv = std::get_if<file::Conv8Parameters>(&fused.parameters)) {
    file::Sum8 sum = std::get<file::Add8Parameters>(step.parameters).sum;
    if (slot == 1) {
      std::swap(sum.ratio_a, sum.ratio_b);
      std::swap(sum.zero_a, sum.zero_b);
    }
    conv->has_sum = 1;
    conv->sum = sum;
  } else {
    const auto& binary = std::get<file::BinaryF32Parameters>(step.parameters);
    auto& floats = std::get<file::ConvF32Parameters>(fused.parameters);
    floats.has_residual = 1;
    floats.activation = binary.activation;
    floats.low = binary.low;
    floats.high = binary.high;
  }
  fused.inputs.push_back(step.inputs[1 - slot]);
  fused.outputs = step.outputs;
  fused.story.push_back("sum " + step.name);
  fused.story.insert(fused.story.end(), step.story.begin(), step.story.end());
  step = std::move(fused);
}

}  // namespace

void FuseSums(Program& program) {
  const std::vector<int> readers = Readers(program);
  const std::vector<bool> viewed = HaveViews(program);
  // Only what is written before changes place, and it goes away: numbers stay right.
  const std::vector<int> writers = Writers(program);
  for (Step& step : program.steps) {
    if (!IsSum(step)) continue;
    int best = -1;
    for (int slot = 0; slot < 2; ++slot) {
      const int tensor = step.inputs[slot];
      const int maker = writers[tensor];
      const bool alone = maker >= 0 && readers[tensor] == 1 && !viewed[tensor] &&
                         program.tensors[tensor].view_of < 0;
      if (!alone || program.steps[maker].outputs.empty() || !TakesSum(program.steps[maker])) {
        continue;
      }
      if (best < 0 || maker > writers[step.inputs[best]]) best = slot;
    }
    if (best >= 0) {
      Fuse(step, program.steps[writers[step.inputs[best]]], static_cast<size_t>(best));
    }
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
