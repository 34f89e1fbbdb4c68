// Arrangements and choices, by what they are made of; sums of several by sums of two.
#include <algorithm>
#include <string>
#include <vector>

#include "deploy/engine/compile/decompose/rewriter.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

bool DepthToSpace(Rewriter& to) {
  const Shape s = to.ShapeIn();
  const int64_t b = to.node().GetInt("blocksize", 1);
  const bool depth_first = to.node().GetString("mode", "DCR") == "DCR";
  if (s.size() != 4) return false;
  const int64_t c = s[1] / (b * b);
  const Shape apart =
      depth_first ? Shape{s[0], b, b, c, s[2], s[3]} : Shape{s[0], c, b, b, s[2], s[3]};
  const std::vector<int64_t> order =
      depth_first ? std::vector<int64_t>{0, 3, 4, 1, 5, 2} : std::vector<int64_t>{0, 1, 4, 2, 5, 3};
  to.FinishReshape(to.Op("Transpose", {to.Reshape(to.In(0), apart)}, {{"perm", order}}));
  return true;
}

bool SpaceToDepth(Rewriter& to) {
  const Shape s = to.ShapeIn();
  const int64_t b = to.node().GetInt("blocksize", 1);
  if (s.size() != 4) return false;
  const ValueId apart = to.Reshape(to.In(0), {s[0], s[1], s[2] / b, b, s[3] / b, b});
  to.FinishReshape(to.Op("Transpose", {apart}, {{"perm", std::vector<int64_t>{0, 3, 5, 1, 2, 4}}}));
  return true;
}

// Each axis with one of repeats before it.
bool Tile(Rewriter& to) {
  const Shape from = to.ShapeIn(), result = to.ShapeOut();
  Shape apart, repeated;
  for (size_t i = 0; i < from.size(); ++i) {
    const int64_t times = result[i] / from[i];
    if (times > 1) {
      apart.push_back(1);
      repeated.push_back(times);
    }
    apart.push_back(from[i]);
    repeated.push_back(from[i]);
  }
  to.FinishReshape(to.Op("Expand", {to.Reshape(to.In(0), apart), to.Ints(repeated)}));
  return true;
}

// Sum, Mean, Max and Min of any number.
bool OfSeveral(Rewriter& to) {
  const Node& node = to.node();
  const size_t count = node.inputs.size();
  const bool mean = node.op == "Mean";
  const std::string op = node.op == "Sum" || mean ? "Add" : node.op;
  if (op != "Add" && count == 2) return false;
  ValueId sum = to.In(0);
  for (size_t i = 1; i < count; ++i) sum = to.Op(op, {sum, to.In(i)});
  if (mean) {
    to.Finish("Mul", {sum, to.Number(1.0f / static_cast<float>(count))});
  } else {
    to.Finish("Identity", {sum});
  }
  return true;
}

bool OneHot(Rewriter& to) {
  const Shape result = to.ShapeOut();
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), result.size());
  const int64_t depth = result[static_cast<size_t>(axis)];
  Shape shape = result;
  shape[static_cast<size_t>(axis)] = 1;
  const ValueId index = to.Reshape(to.Op("Cast", {to.In(0)}, {{"to", int64_t{7}}}), shape);
  const ValueId size = to.Constant(Tensor::Scalar<int64_t>(depth));
  const ValueId zero = to.Constant(Tensor::Scalar<int64_t>(0));
  const ValueId from_end = to.Op("Add", {index, size});
  const ValueId place = to.Op("Where", {to.Op("Less", {index, zero}), from_end, index});
  const ValueId hot =
      to.Op("Equal", {place, to.Counted(depth, axis, static_cast<int64_t>(result.size()))});
  const auto value = [&](int64_t which) {
    return to.Op("Gather", {to.In(2), to.Constant(Tensor::Scalar<int64_t>(which))},
                 {{"axis", int64_t{0}}});
  };
  to.Finish("Where", {hot, value(1), value(0)});
  return true;
}

bool Trilu(Rewriter& to) {
  const Shape shape = to.ShapeIn();
  int64_t k = 0;
  if (to.Has(1)) {
    const Tensor* given = to.ConstantIn(1);
    if (given == nullptr || given->dtype() != DType::kInt64) return false;
    k = given->span<int64_t>()[0];
  }
  const int64_t rows = shape[shape.size() - 2], columns = shape.back();
  const bool upper = to.node().GetInt("upper", 1) != 0;
  Tensor keep(DType::kBool, {rows, columns});
  auto* bytes = keep.mutable_data();
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int64_t ahead = i % columns - i / columns;
    bytes[i] = std::byte{static_cast<uint8_t>(upper ? ahead >= k : ahead <= k)};
  }
  const ValueId nothing = to.Constant(Tensor(to.TypeIn(), {}));
  to.Finish("Where", {to.Constant(std::move(keep)), to.In(0), nothing});
  return true;
}

bool EyeLike(Rewriter& to) {
  const Shape shape = to.ShapeOut();
  Tensor ones(DType::kFloat32, shape);
  const int64_t k = to.node().GetInt("k", 0);
  for (int64_t row = 0; row < shape[0]; ++row) {
    if (row + k >= 0 && row + k < shape[1]) {
      ones.mutable_span<float>()[row * shape[1] + row + k] = 1;
    }
  }
  to.Finish("Cast", {to.Constant(std::move(ones))}, {{"to", OnnxTypeNumber(to.TypeOut())}});
  return true;
}

// With bounds that are computed, or of integers.
bool Clip(Rewriter& to) {
  const auto scalar = [&](size_t slot) {
    const Tensor* bound = to.ConstantIn(slot);
    return !to.Has(slot) || (bound != nullptr && bound->dtype() == DType::kFloat32);
  };
  if (!to.Has(1) && !to.Has(2)) return false;
  if (to.ReadsFloats() && scalar(1) && scalar(2)) return false;
  ValueId x = to.In(0);
  if (to.Has(1)) x = to.Op("Max", {x, to.Reshape(to.In(1), {})});
  if (to.Has(2)) x = to.Op("Min", {x, to.Reshape(to.In(2), {})});
  to.Finish("Identity", {x});
  return true;
}

}  // namespace

bool DecomposeForm(Rewriter& to) {
  const std::string& op = to.node().op;
  if (op == "DepthToSpace") return DepthToSpace(to);
  if (op == "SpaceToDepth") return SpaceToDepth(to);
  if (op == "Tile") return Tile(to);
  if (op == "Sum" || op == "Mean" || op == "Max" || op == "Min") return OfSeveral(to);
  if (op == "OneHot") return OneHot(to);
  if (op == "Trilu") return Trilu(to);
  if (op == "EyeLike") return EyeLike(to);
  if (op == "Clip") return Clip(to);
  return false;
}

}  // namespace ds::engine::compile
