#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

bool IsConvolution(const Step& step) {
  return step.kind == OperatorKind::kConv8 || step.kind == OperatorKind::kConv4 ||
         step.kind == OperatorKind::kDepthwise8;
}

int64_t ImageBytes(const ProgramTensor& tensor) {
  return tensor.dims.size() == 4 ? tensor.dims[1] * tensor.dims[2] * tensor.dims[3] : 0;
}

// Whether bands of rows can hold what it reads and writes, as the runtime checks it.
bool TakesBands(const Program& program, const Step& conv) {
  const Dims &in = program.tensors[conv.inputs[0]].dims,
             &out = program.tensors[conv.outputs[0]].dims;
  const file::Window& w = std::get<file::Conv8Parameters>(conv.parameters).window;
  return in.size() == 4 && out.size() == 4 && out[1] <= in[1] && out[2] <= in[2] &&
         w.pad_top < (w.kernel_h - 1) * w.dilation_h + 1 &&
         w.pad_left < (w.kernel_w - 1) * w.dilation_w + 1;
}

// The convolutions that it is made of.
std::vector<Step> StagesOf(Step step) {
  if (!step.stages.empty()) return std::move(step.stages);
  std::vector<Step> stages;
  stages.push_back(std::move(step));
  return stages;
}

// Why what `maker` makes for `step` goes through memory; empty where it need not.
std::string WhyNoChain(const Program& program, const TensorUses& uses, const Step& maker,
                       const Step& step, int64_t least_bytes) {
  const int tensor = step.inputs[0];
  const int64_t bytes = ImageBytes(program.tensors[tensor]);
  if (least_bytes == kNoChains)
    return "as a chain with what makes its input it would not save the memory that bands take";
  if (bytes < least_bytes)
    return absl::StrCat("its input of ", bytes, " bytes goes through memory; a chain begins at ",
                        least_bytes);
  if (std::string shared = uses.WhyShared(tensor); !shared.empty()) return shared;
  if (std::count(step.inputs.begin(), step.inputs.end(), tensor) != 1)
    return absl::StrCat(TensorTold(program, tensor), " is added, too");
  const Step& last = maker.stages.empty() ? maker : maker.stages.back();
  if (std::get<file::Conv8Parameters>(last.parameters).has_sum)
    return absl::StrCat(Told(maker), " in front of it ends in a sum");
  if (!TakesBands(program, last) || !TakesBands(program, step))
    return "an image of its chain would be larger than what it is made from";
  if (maker.stages.size() == file::kMostStages)
    return absl::StrCat("a chain has ", file::kMostStages, " convolutions at most");
  return "";
}

// `step` becomes the chain of `maker` and itself.
void Fuse(Step& maker, Step& step) {
  Step chain;
  chain.kind = OperatorKind::kConvChain8;
  chain.name = step.name;
  chain.inputs = maker.inputs;
  chain.inputs.insert(chain.inputs.end(), step.inputs.begin() + 1, step.inputs.end());
  chain.outputs = step.outputs;
  chain.macs = maker.macs + step.macs;
  chain.stays = maker.stays;
  chain.story = maker.stages.empty() ? std::vector<std::string>{} : maker.story;
  const auto tell = [&](const Step& stage) {
    std::string text = absl::StrCat("stage ", Told(stage));
    for (const std::string& part : stage.story) absl::StrAppend(&text, ", ", part);
    chain.story.push_back(std::move(text));
  };
  if (maker.stages.empty()) tell(maker);
  tell(step);
  chain.stages = StagesOf(std::move(maker));
  chain.stages.push_back(std::move(step));
  step = std::move(chain);
  maker = Step();
}

}  // namespace

void FuseChains(Program& program, int64_t least_bytes) {
  // Only what is written before changes place, and it goes away: numbers stay right.
  const TensorUses uses(program);
  for (Step& step : program.steps) {
    if (!IsConvolution(step)) continue;
    const int number = uses.MakerOf(step.inputs[0]);
    if (number < 0) continue;
    Step& maker = program.steps[number];
    if (!IsConvolution(maker) && maker.kind != OperatorKind::kConvChain8) continue;
    step.stays = WhyNoChain(program, uses, maker, step, least_bytes);
    if (step.stays.empty()) Fuse(maker, step);
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
