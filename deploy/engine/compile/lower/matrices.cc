// What transformers are made of beside products with constant matrices, on floats.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

int64_t Product(Shape::const_iterator first, Shape::const_iterator last) {
  int64_t product = 1;
  for (; first != last; ++first) product *= *first;
  return product;
}

}  // namespace

absl::StatusOr<Held> Lowering::MatMulReal(const Node& node) {
  const Shape& left = ShapeOf(node.inputs[0]);
  Shape right = ShapeOf(node.inputs[1]);
  const Shape& shape = ShapeOf(node.outputs[0]);
  if (left.size() < 2 || right.size() < 2) return Refuse(node, "an operand is a vector");
  // A transposition of the last two axes that nothing else reads is not made.
  ValueId second = node.inputs[1];
  bool turned = false;
  const Node* maker = makers_.Of(second);
  if (maker != nullptr && maker->op == "Transpose" && makers_.Reads(second) == 1) {
    std::vector<int64_t> order = maker->GetInts("perm", {});
    turned = order.size() >= 2;
    for (size_t i = 0; i + 2 < order.size(); ++i) turned &= order[i] == static_cast<int64_t>(i);
    turned = turned && order[order.size() - 1] == static_cast<int64_t>(order.size()) - 2;
    if (turned) second = maker->inputs[0];
  }
  DS_ASSIGN_OR_RETURN(const Held a, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(Held b, Value(second));
  DS_ASSIGN_OR_RETURN(int first, AsPlain(a));
  const int64_t batch = Product(shape.begin(), shape.end() - 2);
  if (Product(left.begin(), left.end() - 2) != batch) {
    Shape repeated(shape.begin(), shape.end() - 2);
    repeated.insert(repeated.end(), left.end() - 2, left.end());
    DS_ASSIGN_OR_RETURN(const Held all, Broadcast(Held{first}, repeated, node.name));
    first = all.tensor;
  }
  DS_ASSIGN_OR_RETURN(int other, AsPlain(b));
  const int64_t counts = Product(right.begin(), right.end() - 2);
  if (counts != batch && counts != 1) {
    const Shape own = ShapeOf(second);
    Shape repeated(shape.begin(), shape.end() - 2);
    repeated.insert(repeated.end(), own.end() - 2, own.end());
    DS_ASSIGN_OR_RETURN(const Held all, Broadcast(Held{other}, repeated, node.name));
    other = all.tensor;
  }
  DS_ASSIGN_OR_RETURN(first, Dense(first));
  DS_ASSIGN_OR_RETURN(other, Dense(other));
  const auto field = [](int64_t number) { return static_cast<uint32_t>(number); };
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               Dims(shape.begin(), shape.end()));
  Step& step = Emit(OperatorKind::kMatMulF32, node, {first, other}, result);
  step.parameters =
      file::MatMulParameters{field(batch), field(shape[shape.size() - 2]), field(left.back()),
                             field(shape.back()), turned ? 1u : 0u};
  if (turned) step.story.push_back(absl::StrCat("transposition ", maker->name));
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result};
}

// Over neighbouring axes: an average over a column of an image.
absl::StatusOr<Held> Lowering::MeanReal(const Node& node) {
  const Shape& from = ShapeOf(node.inputs[0]);
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (const Tensor* given = node.inputs.size() > 1 ? graph_.Constant(node.inputs[1]) : nullptr) {
    if (given->dtype() != DType::kInt64) return Refuse(node, "its axes are no int64");
    axes.assign(given->span<int64_t>().begin(), given->span<int64_t>().end());
  }
  for (int64_t& axis : axes) axis += axis < 0 ? static_cast<int64_t>(from.size()) : 0;
  std::sort(axes.begin(), axes.end());
  bool neighbours = !axes.empty();
  for (size_t i = 1; i < axes.size(); ++i) neighbours &= axes[i] == axes[i - 1] + 1;
  if (!neighbours) return ReduceGeneral(node);
  const int64_t outer = Product(from.begin(), from.begin() + axes.front());
  const int64_t middle = Product(from.begin() + axes.front(), from.begin() + axes.back() + 1);
  const int64_t inner = Product(from.begin() + axes.back() + 1, from.end());
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int plain, AsPlain(held));
  const std::string& name = graph_.value(node.outputs[0]).name;
  DS_ASSIGN_OR_RETURN(const int column,
                      View(plain, {outer, middle, 1, inner}, absl::StrCat(name, ".column")));
  const int mean = AddTensor(name, file::Type::kFloat32, {outer, 1, 1, inner});
  const auto field = [](int64_t number) { return static_cast<uint32_t>(number); };
  Emit(OperatorKind::kPoolF32, node, {column}, mean).parameters =
      file::PoolF32Parameters{{field(middle), 1, 1, 1, 1, 1, 0, 0, field(inner)},
                              static_cast<uint32_t>(file::PoolWay::kAverage),
                              0};
  const Shape& shape = ShapeOf(node.outputs[0]);
  DS_ASSIGN_OR_RETURN(const int view, View(mean, Dims(shape.begin(), shape.end()), name));
  return Held{view};
}

// Of what no convolution took in: a number a channel to multiply by, and one to add.
absl::StatusOr<Held> Lowering::NormReal(const Node& node) {
  std::optional<Tensor> given[4];
  for (size_t i = 0; i < 4; ++i) {
    given[i] = ConstantFloats(graph_, makers_, node.inputs[i + 1]);
    if (!given[i]) return Refuse(node, "its scale, shift, mean or variance is no constant");
  }
  const Shape& shape = ShapeOf(node.inputs[0]);
  if (shape.size() != 2 && shape.size() != 4) return Refuse(node, "its input has not 2 or 4 axes");
  const int64_t channels = shape[1];
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  absl::StatusOr<int> from = shape.size() == 4 ? AsImage(held) : AsPlain(held);
  DS_RETURN_IF_ERROR(from.status());
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               program_.tensors[*from].dims);
  Step& step = Emit(OperatorKind::kDepthwiseF32, node, {*from}, result);
  step.parameters = file::ConvF32Parameters{
      {1, 1, 1, 1, 1, 1, 0, 0, static_cast<uint32_t>(channels)}, 0, 0, 0, 0};
  for (int64_t c = 0; c < channels; ++c) {
    const auto at = [&](int i) { return static_cast<double>(given[i]->span<float>()[c]); };
    const double scale = at(0) / std::sqrt(at(3) + node.GetFloat("epsilon", 1e-5f));
    step.reals.push_back(static_cast<float>(scale));
    step.real_bias.push_back(static_cast<float>(at(1) - at(2) * scale));
  }
  return Held{result, shape.size() == 4};
}

}  // namespace ds::engine::compile
