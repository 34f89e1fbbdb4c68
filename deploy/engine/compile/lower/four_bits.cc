// Products with a matrix of 4 bits whose results are floats.
#include <algorithm>
#include <cstdint>

#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "deploy/engine/runtime/kernels/args.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {

absl::StatusOr<std::optional<Held>> Lowering::ProductOfFourBits(const Node& node) {
  if (!options_.passes.pack_four_bits || !IsPlainGemm(node) || ShapeOf(node.inputs[0]).size() < 2) {
    return std::nullopt;
  }
  const bool rows = node.op == "Gemm" && node.GetInt("transB", 0) != 0;
  auto weight = BlockWeightOf(graph_, makers_, node.inputs[1], rows);
  if (!weight || weight->depth > kMaxDepth) return std::nullopt;
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto bias = biased ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  if (biased && (!bias || (bias->num_elements() != 1 && bias->num_elements() != weight->outputs)))
    return std::nullopt;
  const auto type = CodeType(node.inputs[0]);
  absl::StatusOr<Held> held = type ? CodesOf(node.inputs[0]) : Value(node.inputs[0]);
  DS_RETURN_IF_ERROR(held.status());
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(*held));
  const Shape& shape = ShapeOf(node.outputs[0]);
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               Dims(shape.begin(), shape.end()));
  Step& step = Emit(file::OperatorKind::kDense4, node, {from}, result);
  step.parameters = file::Dense4Parameters{static_cast<uint32_t>(weight->block),
                                           type ? static_cast<uint32_t>(type->zero) : 0};
  step.codes = std::move(weight->codes);
  step.multiplier = std::move(weight->scales);
  for (float& scale : step.multiplier) scale *= type ? type->scale : 1;
  for (int64_t o = 0; bias && o < weight->outputs; ++o)
    step.real_bias.push_back(bias->span<float>()[bias->num_elements() == 1 ? 0 : o]);
  step.story.push_back("weights of 4 bits");
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, false};
}

}  // namespace ds::engine::compile
