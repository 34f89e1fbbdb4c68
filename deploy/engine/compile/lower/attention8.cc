// Transformers between codes: products of two computed matrices, softmax by a table, layer norms.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

int64_t Product(const Shape& shape, size_t behind) {
  int64_t product = 1;
  for (size_t i = 0; i + behind < shape.size(); ++i) product *= shape[i];
  return product;
}

constexpr int64_t kMostDepth = 32768;    // 255 * 255 products of it fit int32
constexpr int64_t kMostColumns = 65536;  // of a softmax

}  // namespace

absl::StatusOr<std::optional<Held>> Lowering::MatMulCodes(const Node& node, const Target& target) {
  const auto a = CodeType(node.inputs[0]);
  // A transposition of the last two axes is not made.
  ValueId second = node.inputs[1];
  const Node* maker = makers_.Of(second);
  bool turned = false;
  if (maker != nullptr && maker->op == "Transpose" && makers_.Reads(second) == 1) {
    const std::vector<int64_t> order = maker->GetInts("perm", {});
    turned = order.size() >= 2;
    for (size_t i = 0; i + 2 < order.size(); ++i) turned &= order[i] == static_cast<int64_t>(i);
    turned = turned && order.back() == static_cast<int64_t>(order.size()) - 2;
    if (turned) second = maker->inputs[0];
  }
  const auto b = CodeType(second);
  const Shape left = ShapeOf(node.inputs[0]), right = ShapeOf(node.inputs[1]),
              shape = ShapeOf(node.outputs[0]);
  if (node.op != "MatMul" || !a || !b || left.size() < 2 || right.size() < 2) return std::nullopt;
  const int64_t batch = Product(shape, 2), counts = Product(right, 2);
  if (Product(left, 2) != batch || (counts != batch && counts != 1) || left.back() > kMostDepth) {
    return std::nullopt;
  }
  const auto plain = [&](ValueId id) -> absl::StatusOr<int> {
    DS_ASSIGN_OR_RETURN(const Held held, CodesOf(id));
    DS_ASSIGN_OR_RETURN(const int tensor, AsPlain(held));
    return Dense(tensor);
  };
  DS_ASSIGN_OR_RETURN(const int first, plain(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int other, plain(second));
  const auto field = [](int64_t number) { return static_cast<uint32_t>(number); };
  const int result = AddTensor("", file::Type::kUint8, Dims(shape.begin(), shape.end()));
  Step& step = Emit(OperatorKind::kMatMul8, node, {first, other}, result);
  step.parameters = file::MatMul8Parameters{field(batch),
                                            field(shape[shape.size() - 2]),
                                            field(left.back()),
                                            field(shape.back()),
                                            turned ? 1u : 0u,
                                            counts == batch ? 0u : 1u,
                                            a->zero,
                                            b->zero,
                                            a->scale * b->scale / target.scale.scale,
                                            target.scale.zero,
                                            target.low,
                                            target.high};
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result};
}

absl::StatusOr<std::optional<Held>> Lowering::SoftmaxCodes(const Node& node, const Target& target) {
  const auto type = CodeType(node.inputs[0]);
  const Shape& shape = ShapeOf(node.inputs[0]);
  int64_t axis = node.GetInt("axis", -1);
  axis += axis < 0 ? static_cast<int64_t>(shape.size()) : 0;
  const bool last = axis + 1 == static_cast<int64_t>(shape.size());
  const bool all = target.low == 0 && target.high == 255;
  if (!type || !last || !all || shape.back() > kMostColumns) return std::nullopt;
  DS_ASSIGN_OR_RETURN(const Held held, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(held));
  const int result = AddTensor("", file::Type::kUint8, program_.tensors[from].dims, target.scale);
  Step& step = Emit(OperatorKind::kSoftmax8, node, {from}, result);
  step.parameters = file::Softmax8Parameters{target.scale.scale, target.scale.zero};
  step.bias.resize(256);
  SoftmaxTable(type->scale, static_cast<int32_t>(shape.back()), step.bias.data());
  return Held{result};
}

absl::StatusOr<std::optional<Held>> Lowering::LayerNormCodes(const Node& node,
                                                             const Target& target) {
  const auto type = CodeType(node.inputs[0]);
  const bool all = target.low == 0 && target.high == 255;
  absl::StatusOr<Norm> norm = NormOf(node);
  if (!type || !all || !norm.ok() || !options_.passes.fuse_norms) return std::nullopt;
  DS_ASSIGN_OR_RETURN(const Held held, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(held));
  const int result = AddTensor("", file::Type::kUint8, program_.tensors[from].dims, target.scale);
  Step& step = Emit(OperatorKind::kLayerNorm8, node, {from}, result);
  step.parameters = file::LayerNorm8Parameters{norm->parameters, type->scale, target.scale.scale,
                                               type->zero, target.scale.zero};
  step.multiplier = std::move(norm->scale);
  step.real_bias = std::move(norm->shift);
  return Held{result};
}

}  // namespace ds::engine::compile
