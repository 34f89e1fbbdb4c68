#include <algorithm>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
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
    return add->spread == kSame;
  }
  const auto* binary = std::get_if<file::BinaryF32Parameters>(&step.parameters);
  return binary != nullptr && binary->spread == kSame &&
         binary->operation == static_cast<uint32_t>(Binary::kAdd);
}

// Why the maker of an operand takes no sum; empty where it does.
std::string WhyNoSum(const Step& maker) {
  const auto* codes = std::get_if<file::Conv8Parameters>(&maker.parameters);
  const auto* floats = std::get_if<file::ConvF32Parameters>(&maker.parameters);
  if (codes == nullptr && floats == nullptr) return absl::StrCat(Told(maker), " takes no sum");
  if (codes != nullptr ? codes->has_sum != 0 : floats->has_residual != 0)
    return absl::StrCat(Told(maker), " has a sum already");
  // Floats are added before the activation.
  if (floats != nullptr && floats->activation != 0)
    return absl::StrCat(Told(maker), " has an activation, which comes behind a sum");
  return "";
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
  fused.stays.clear();
  step = std::move(fused);
}

}  // namespace

void FuseSums(Program& program) {
  // Only what is written before changes place, and it goes away: numbers stay right.
  const TensorUses uses(program);
  for (Step& step : program.steps) {
    if (!IsSum(step)) continue;
    if (step.table) {
      step.stays = "its codes go through a table, for which a convolution has no room behind a sum";
      continue;
    }
    int best = -1;
    std::string why;
    for (int slot = 0; slot < 2; ++slot) {
      const int tensor = step.inputs[slot], maker = uses.MakerOf(tensor);
      std::string refused = uses.WhyShared(tensor);
      if (refused.empty() && program.steps[maker].outputs.empty())
        refused = absl::StrCat(TensorTold(program, tensor), " went into another sum");
      if (refused.empty()) refused = WhyNoSum(program.steps[maker]);
      if (!refused.empty()) {
        absl::StrAppend(&why, why.empty() ? "" : "; ", refused);
      } else if (best < 0 || maker > uses.MakerOf(step.inputs[best])) {
        best = slot;
      }
    }
    step.stays = best < 0 ? why : "";
    if (best >= 0) {
      Fuse(step, program.steps[uses.MakerOf(step.inputs[best])], static_cast<size_t>(best));
    }
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
