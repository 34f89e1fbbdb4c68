// Quantisation with scales that are computed, several, or of other integers than 8 bits: by
// arithmetic of floats. What lowering knows as codes stays.
#include <string>
#include <vector>

#include "deploy/engine/compile/decompose/rewriter.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

bool IsByte(DType type) { return type == DType::kUInt8 || type == DType::kInt8; }

// One number, or one for each index of the axis.
bool Covers(Rewriter& to, Shape& spread) {
  const Shape shape = to.ShapeIn(0), scales = to.ShapeIn(1);
  const int64_t count = Product(scales, 0, scales.size());
  if (to.node().GetInt("block_size", 0) != 0) return false;
  spread.assign(count == 1 ? 0 : shape.size(), 1);
  if (count == 1) return true;
  const auto axis = static_cast<size_t>(to.Axis(to.node().GetInt("axis", 1), shape.size()));
  if (axis >= shape.size() || shape[axis] != count) return false;
  spread[axis] = count;
  return true;
}

ValueId Float(Rewriter& to, ValueId x) { return to.Op("Cast", {x}, {{"to", int64_t{1}}}); }

bool IsCodes(Rewriter& to, DType type) {
  const Shape scales = to.ShapeIn(1);
  return IsByte(type) && Product(scales, 0, scales.size()) == 1 && to.IsWeight(1) &&
         (!to.Has(2) || to.IsWeight(2));
}

bool Dequantise(Rewriter& to) {
  Shape spread;
  if (IsCodes(to, to.TypeIn()) || to.IsWeight(0) || !Covers(to, spread)) {
    return false;
  }
  ValueId x = Float(to, to.In(0));
  if (to.Has(2)) x = to.Op("Sub", {x, to.Reshape(Float(to, to.In(2)), spread)});
  to.Finish("Mul", {x, to.Reshape(to.In(1), spread)});
  return true;
}

bool Quantise(Rewriter& to) {
  Shape spread;
  const DType type = to.TypeOut();
  if (!IsByte(type) || IsCodes(to, type) || !to.ReadsFloats() || !Covers(to, spread)) return false;
  ValueId x = to.Op("Round", {to.Op("Div", {to.In(0), to.Reshape(to.In(1), spread)})});
  if (to.Has(2)) x = to.Op("Add", {x, to.Reshape(Float(to, to.In(2)), spread)});
  const bool negative = type == DType::kInt8;
  x = to.Op("Clip",
            {x, to.Number(negative ? -128.0f : 0.0f), to.Number(negative ? 127.0f : 255.0f)});
  to.Finish("Cast", {x}, {{"to", OnnxTypeNumber(type)}});
  return true;
}

// As ONNX defines it: from the least to the greatest, 0 among them.
bool DynamicQuantise(Rewriter& to) {
  const Node node = to.node();
  if (node.outputs.size() != 3) return false;
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) return false;
  }
  const std::vector<int64_t> axes = AxesFrom(0, to.ShapeIn().size());
  const Attributes all = {{"axes", axes}, {"keepdims", int64_t{0}}};
  const ValueId zero = to.Number(0);
  const ValueId most = to.Op("Max", {to.Op("ReduceMax", {to.In(0)}, all), zero});
  const ValueId least = to.Op("Min", {to.Op("ReduceMin", {to.In(0)}, all), zero});
  const ValueId scale = to.Op("Div", {to.Op("Sub", {most, least}), to.Number(255)});
  const ValueId first = to.Op("Round", {to.Op("Div", {to.Op("Sub", {zero, least}), scale})});
  const auto bounded = [&](ValueId x) { return to.Op("Clip", {x, to.Number(0), to.Number(255)}); };
  const ValueId point = bounded(first);
  const ValueId codes = to.Op("Round", {to.Op("Div", {to.In(0), scale})});
  to.Finish("Cast", {bounded(to.Op("Add", {codes, point}))},
            {{"to", OnnxTypeNumber(DType::kUInt8)}}, 0);
  to.Finish("Identity", {scale}, {}, 1);
  to.Finish("Cast", {point}, {{"to", OnnxTypeNumber(DType::kUInt8)}}, 2);
  return true;
}

}  // namespace

bool DecomposeQuantiser(Rewriter& to) {
  const std::string& op = to.node().op;
  if (op == "DequantizeLinear") return Dequantise(to);
  if (op == "QuantizeLinear") return Quantise(to);
  if (op == "DynamicQuantizeLinear") return DynamicQuantise(to);
  return false;
}

}  // namespace ds::engine::compile
