// Normalisations, by what they are made of.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "deploy/engine/compile/decompose/rewriter.h"

namespace ds::engine::compile {
namespace {

ValueId Ones(Rewriter& to, int64_t count) {
  return to.Constant(Tensor::From<float>({count}, std::vector<float>(count, 1.0f)));
}

// Bounds below which a root of a sum is 0.
constexpr float kLeast = 1e-37f;

bool LogSoftmax(Rewriter& to) {
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), to.ShapeIn().size());
  to.Finish("Sub", {to.In(0), to.Reduce("ReduceLogSumExp", to.In(0), {axis})});
  return true;
}

// Over an axis that is neither the last nor an image's channels.
bool Softmax(Rewriter& to) {
  const size_t rank = to.ShapeIn().size();
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), rank);
  const auto last = static_cast<int64_t>(rank) - 1;
  if (axis == last || (rank == 4 && axis == 1)) return false;
  std::vector<int64_t> order = AxesFrom(0, rank);
  std::swap(order[static_cast<size_t>(axis)], order.back());
  const ValueId turned = to.Op("Transpose", {to.In(0)}, {{"perm", order}});
  to.Finish("Transpose", {to.Op("Softmax", {turned}, {{"axis", int64_t{-1}}})}, {{"perm", order}});
  return true;
}

bool Hardmax(Rewriter& to) {
  const Shape shape = to.ShapeIn();
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), shape.size());
  const ValueId best = to.Op("ArgMax", {to.In(0)}, {{"axis", axis}, {"keepdims", int64_t{1}}});
  const ValueId places =
      to.Counted(shape[static_cast<size_t>(axis)], axis, static_cast<int64_t>(shape.size()));
  to.Finish("Cast", {to.Op("Equal", {best, places})}, {{"to", int64_t{1}}});
  return true;
}

bool LpNormalization(Rewriter& to) {
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), to.ShapeIn().size());
  const std::string norm = to.node().GetInt("p", 2) == 1 ? "ReduceL1" : "ReduceL2";
  const ValueId length = to.Reduce(norm, to.In(0), {axis});
  to.Finish("Div", {to.In(0), to.Op("Max", {length, to.Number(kLeast)})});
  return true;
}

bool MeanVariance(Rewriter& to) {
  const std::vector<int64_t> axes = to.node().GetInts("axes", {0, 2, 3});
  const ValueId rest = to.Op("Sub", {to.In(0), to.Reduce("ReduceMean", to.In(0), axes)});
  const ValueId variance = to.Reduce("ReduceMean", to.Op("Mul", {rest, rest}), axes);
  const ValueId deviation = to.Op("Add", {to.Op("Sqrt", {variance}), to.Number(1e-9f)});
  to.Finish("Div", {rest, deviation});
  return true;
}

bool RmsNormalization(Rewriter& to) {
  const size_t rank = to.ShapeIn().size();
  const int64_t axis = to.Axis(to.node().GetInt("axis", -1), rank);
  const ValueId square = to.Op("Mul", {to.In(0), to.In(0)});
  const ValueId mean = to.Reduce("ReduceMean", square, AxesFrom(axis, rank));
  const ValueId epsilon = to.Number(to.node().GetFloat("epsilon", 1e-5f));
  const ValueId root = to.Op("Sqrt", {to.Op("Add", {mean, epsilon})});
  to.Finish("Mul", {to.Op("Div", {to.In(0), root}), to.In(1)});
  return true;
}

// A layer norm whose mean and deviation are read, too.
bool WithStatistics(Rewriter& to, int64_t axis) {
  const Node node = to.node();
  const std::vector<int64_t> axes = AxesFrom(axis, to.ShapeIn().size());
  const ValueId mean = to.Reduce("ReduceMean", to.In(0), axes);
  const ValueId rest = to.Op("Sub", {to.In(0), mean});
  const ValueId variance = to.Reduce("ReduceMean", to.Op("Mul", {rest, rest}), axes);
  const ValueId sum = to.Op("Add", {variance, to.Number(node.GetFloat("epsilon", 1e-5f))});
  const ValueId inverse = to.Op("Reciprocal", {to.Op("Sqrt", {sum})});
  const ValueId scaled = to.Op("Mul", {to.Op("Mul", {rest, inverse}), to.In(1)});
  if (to.Has(2)) {
    to.Finish("Add", {scaled, to.In(2)});
  } else {
    to.Finish("Identity", {scaled});
  }
  if (node.outputs[1] != kNoValue) to.Finish("Identity", {mean}, {}, 1);
  if (node.outputs.size() > 2 && node.outputs[2] != kNoValue) {
    to.Finish("Identity", {inverse}, {}, 2);
  }
  return true;
}

// As of an image: of sequences and volumes, that is.
bool BatchNormalizationOfImage(Rewriter& to) {
  const Shape shape = to.ShapeIn();
  const size_t rank = shape.size();
  if (rank < 3 || rank == 4) return false;
  std::vector<ValueId> inputs = to.node().inputs;
  inputs[0] =
      to.Reshape(to.In(0), {shape[0], shape[1], Product(shape, 2, rank - 1), shape[rank - 1]});
  to.FinishReshape(to.Op("BatchNormalization", std::move(inputs), to.node().attributes));
  return true;
}

// With numbers that are computed.
bool BatchNormalization(Rewriter& to) {
  bool constant = true;
  for (size_t slot = 1; slot < 5; ++slot) constant &= to.IsWeight(slot);
  if (to.node().outputs.size() > 1 || to.ShapeIn().size() < 2) return false;
  if (constant) return BatchNormalizationOfImage(to);
  Shape channels(to.ShapeIn().size(), 1);
  channels[1] = to.ShapeIn()[1];
  const auto a_channel = [&](size_t slot) { return to.Reshape(to.In(slot), channels); };
  const ValueId epsilon = to.Number(to.node().GetFloat("epsilon", 1e-5f));
  const ValueId deviation = to.Op("Sqrt", {to.Op("Add", {a_channel(4), epsilon})});
  const ValueId factor = to.Op("Div", {a_channel(1), deviation});
  const ValueId rest = to.Op("Sub", {to.In(0), a_channel(3)});
  to.Finish("Add", {to.Op("Mul", {rest, factor}), a_channel(2)});
  return true;
}

// Over several axes, or with a scale that is computed: over one axis of as many elements, the rest
// apart.
bool LayerNormalization(Rewriter& to) {
  const Shape shape = to.ShapeIn();
  const auto axis = static_cast<size_t>(to.Axis(to.node().GetInt("axis", -1), shape.size()));
  const bool constant = to.IsWeight(1) && (!to.Has(2) || to.IsWeight(2));
  if (to.node().outputs.size() > 1) return WithStatistics(to, static_cast<int64_t>(axis));
  if (constant && axis + 1 == shape.size()) return false;
  const int64_t columns = Product(shape, axis, shape.size());
  const ValueId flat = to.Reshape(to.In(0), {Product(shape, 0, axis), columns});
  const ValueId norm =
      to.Op("LayerNormalization", {flat, Ones(to, columns)},
            {{"axis", int64_t{-1}}, {"epsilon", to.node().GetFloat("epsilon", 1e-5f)}});
  const ValueId scaled = to.Op("Mul", {to.Reshape(norm, shape), to.In(1)});
  if (to.Has(2)) {
    to.Finish("Add", {scaled, to.In(2)});
  } else {
    to.Finish("Identity", {scaled});
  }
  return true;
}

// A norm over each group of channels, then a scale and a shift a channel.
bool ByGroups(Rewriter& to, int64_t groups) {
  const Shape shape = to.ShapeIn();
  if (shape.size() < 2 || groups < 1 || shape[1] % groups != 0) return false;
  const int64_t columns = Product(shape, 1, shape.size()) / groups;
  const ValueId flat = to.Reshape(to.In(0), {shape[0] * groups, columns});
  const ValueId norm =
      to.Op("LayerNormalization", {flat, Ones(to, columns)},
            {{"axis", int64_t{-1}}, {"epsilon", to.node().GetFloat("epsilon", 1e-5f)}});
  Shape channels(shape.size(), 1);
  channels[1] = shape[1];
  const auto a_channel = [&](size_t slot) {
    // One number a group, as opset 18 has them.
    ValueId values = to.In(slot);
    const int64_t count = Product(to.ShapeIn(slot), 0, to.ShapeIn(slot).size());
    if (count == groups && count != shape[1]) {
      values =
          to.Op("Expand", {to.Reshape(values, {groups, 1}), to.Ints({groups, shape[1] / groups})});
    }
    return to.Reshape(values, channels);
  };
  const ValueId scaled = to.Op("Mul", {to.Reshape(norm, shape), a_channel(1)});
  to.Finish("Add", {scaled, a_channel(2)});
  return true;
}

// Krizhevsky et al. 2012: neighbouring channels as the lines of an image.
bool LocalResponse(Rewriter& to) {
  const Shape shape = to.ShapeIn();
  const int64_t size = to.node().GetInt("size", 1);
  if (shape.size() < 3 || size < 1) return false;
  const ValueId lines = to.Reshape(to.Op("Mul", {to.In(0), to.In(0)}),
                                   {shape[0], 1, shape[1], Product(shape, 2, shape.size())});
  const std::vector<int64_t> pads = {(size - 1) / 2, 0, size - 1 - (size - 1) / 2, 0};
  const ValueId mean = to.Op("AveragePool", {lines},
                             {{"kernel_shape", std::vector<int64_t>{size, 1}},
                              {"strides", std::vector<int64_t>{1, 1}},
                              {"pads", pads},
                              {"count_include_pad", int64_t{1}}});
  const ValueId part = to.Op("Mul", {mean, to.Number(to.node().GetFloat("alpha", 1e-4f))});
  const ValueId sum = to.Op("Add", {part, to.Number(to.node().GetFloat("bias", 1.0f))});
  const ValueId power = to.Op("Pow", {sum, to.Number(to.node().GetFloat("beta", 0.75f))});
  to.Finish("Div", {to.In(0), to.Reshape(power, shape)});
  return true;
}

}  // namespace

bool DecomposeNorm(Rewriter& to) {
  const Node& node = to.node();
  if (node.inputs.empty() || !to.ReadsFloats()) return false;
  if (node.op == "LogSoftmax") return LogSoftmax(to);
  if (node.op == "Softmax") return Softmax(to);
  if (node.op == "Hardmax") return Hardmax(to);
  if (node.op == "LpNormalization") return LpNormalization(to);
  if (node.op == "MeanVarianceNormalization") return MeanVariance(to);
  if (node.op == "RMSNormalization") return RmsNormalization(to);
  if (node.op == "LayerNormalization") return LayerNormalization(to);
  if (node.op == "InstanceNormalization") return ByGroups(to, to.ShapeIn()[1]);
  if (node.op == "GroupNormalization") return ByGroups(to, node.GetInt("num_groups", 1));
  if (node.op == "BatchNormalization") return BatchNormalization(to);
  if (node.op == "LRN") return LocalResponse(to);
  return false;
}

}  // namespace ds::engine::compile
