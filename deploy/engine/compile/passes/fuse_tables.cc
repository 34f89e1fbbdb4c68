#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

struct Bounds {
  int32_t low, high;
};

// The codes between which the table only clamps.
std::optional<Bounds> AsBounds(const CodeTable& table) {
  const Bounds bounds{table[0], table[255]};
  if (bounds.low > bounds.high) return std::nullopt;
  for (int i = 0; i < 256; ++i) {
    if (table[i] != std::clamp<int32_t>(i, bounds.low, bounds.high)) return std::nullopt;
  }
  return bounds;
}

struct Range {
  int32_t *low, *high;
};

// The bounds that codes have last, behind which nothing but a table comes.
Range LastBounds(Step& step) {
  if (auto* conv = std::get_if<file::Conv8Parameters>(&step.parameters)) {
    return conv->has_sum ? Range{&conv->sum.low, &conv->sum.high} : Range{&conv->low, &conv->high};
  }
  if (auto* add = std::get_if<file::Add8Parameters>(&step.parameters)) {
    return {&add->sum.low, &add->sum.high};
  }
  if (auto* product = std::get_if<file::Multiply8Parameters>(&step.parameters)) {
    return {&product->low, &product->high};
  }
  if (auto* pool = std::get_if<file::Pool8Parameters>(&step.parameters)) {
    const bool average = pool->pool.way == static_cast<uint32_t>(file::PoolWay::kAverage);
    if (average) return {&pool->low, &pool->high};
  }
  return {nullptr, nullptr};
}

bool TakesTable(const Step& step) {
  if (step.kind == OperatorKind::kLookup8) return true;
  if (const auto* conv = std::get_if<file::Conv8Parameters>(&step.parameters)) {
    return conv->has_sum == 0;  // the table of a convolution comes before its sum
  }
  return step.kind == OperatorKind::kAdd8 || step.kind == OperatorKind::kMultiply8;
}

bool Fuse(Step& maker, const CodeTable& table) {
  const Range range = LastBounds(maker);
  const auto bounds = AsBounds(table);
  if (range.low != nullptr && bounds && !maker.table) {
    const int32_t low = std::clamp(*range.low, bounds->low, bounds->high);
    *range.high = std::clamp(*range.high, bounds->low, bounds->high);
    *range.low = low;
    return true;
  }
  if (!TakesTable(maker)) return false;
  if (!maker.table) {
    maker.table = table;
  } else {
    for (uint8_t& code : *maker.table) code = table[code];
  }
  return true;
}

}  // namespace

void FuseTables(Program& program) {
  TensorUses uses(program);
  for (Step& step : program.steps) {
    if (step.kind != OperatorKind::kLookup8) continue;
    const int input = step.inputs[0], output = step.outputs[0];
    step.stays = uses.WhyShared(input);
    if (!step.stays.empty()) continue;
    const int maker = uses.MakerOf(input);
    Step& made = program.steps[maker];
    if (!Fuse(made, *step.table)) {
      step.stays = absl::StrCat(Told(made), " in front of it takes no table",
                                made.kind == OperatorKind::kConv8 ? " behind its sum" : "");
      continue;
    }
    made.outputs[0] = output;
    made.story.insert(made.story.end(), step.story.begin(), step.story.end());
    uses.SetMaker(output, maker);  // of codes of a lookup that was fused
    step.outputs.clear();
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
