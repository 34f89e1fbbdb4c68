// Windows along one axis as windows over images of one line; along three as images whose channels
// are those of neighbouring slices.
#include <string>
#include <vector>

#include "deploy/engine/compile/decompose/rewriter.h"
#include "graph/schema/window.h"

namespace ds::engine::compile {
namespace {

// [N, C, L] -> [N, C, 1, L].
Shape WithLine(Shape shape) {
  shape.insert(shape.end() - 1, 1);
  return shape;
}

Attributes WithLine(const Node& node) {
  Attributes attributes = node.attributes;
  for (auto& [name, value] : attributes) {
    auto* numbers = std::get_if<std::vector<int64_t>>(&value);
    if (numbers == nullptr || numbers->empty()) continue;
    if (name == "pads") {
      numbers->insert(numbers->begin(), 0);
      numbers->insert(numbers->end() - 1, 0);
    } else if (name == "output_padding") {
      numbers->insert(numbers->begin(), 0);
    } else if (name == "kernel_shape" || name == "strides" || name == "dilations" ||
               name == "output_shape") {
      numbers->insert(numbers->begin(), 1);
    }
  }
  return attributes;
}

// A weight as one of images: codes stay codes, with the scales that they have.
ValueId Weight(Rewriter& to, const Shape& shape) {
  const ValueId weight = to.In(1);
  if (const Tensor* constant = to.ConstantIn(1)) {
    auto reshaped = constant->Reshape(shape);
    if (reshaped.ok()) return to.Constant(*std::move(reshaped));
  }
  const Graph& graph = to.graph();
  const int maker = graph.Producer(weight);
  if (maker >= 0) {
    const Node node = graph.nodes()[static_cast<size_t>(maker)];
    const Tensor* codes = graph.Constant(node.inputs[0]);
    const int64_t axis = node.GetInt("axis", 1);
    // The axes of channels stay where they are.
    if (node.op == "DequantizeLinear" && codes != nullptr && (axis == 0 || axis == 1)) {
      auto reshaped = codes->Reshape(shape);
      std::vector<ValueId> inputs = node.inputs;
      if (reshaped.ok()) {
        inputs[0] = to.Constant(*std::move(reshaped));
        return to.Op("DequantizeLinear", std::move(inputs), node.attributes);
      }
    }
  }
  return to.Reshape(weight, shape);
}

bool AlongOneAxis(Rewriter& to) {
  const Node node = to.node();
  std::vector<ValueId> inputs = node.inputs;
  inputs[0] = to.Reshape(to.In(0), WithLine(to.ShapeIn()));
  if (inputs.size() > 1) inputs[1] = Weight(to, WithLine(to.ShapeIn(1)));
  to.FinishReshape(to.Op(node.op, inputs, WithLine(node)));
  return true;
}

ValueId Padded(Rewriter& to, ValueId x, size_t rank, int64_t axis, int64_t begin, int64_t end) {
  if (begin == 0 && end == 0) return x;
  std::vector<int64_t> pads(2 * rank, 0);
  pads[static_cast<size_t>(axis)] = begin;
  pads[rank + static_cast<size_t>(axis)] = end;
  return to.Op("Pad", {x, to.Ints(pads)});
}

Attributes Flat(const Window& w) {
  const auto last = [](const std::vector<int64_t>& three) {
    return std::vector<int64_t>{three[1], three[2]};
  };
  return {
      {"kernel_shape", last(w.kernel)},
      {"strides", last(w.strides)},
      {"dilations", last(w.dilations)},
      {"pads", std::vector<int64_t>{w.pad_begin[1], w.pad_begin[2], w.pad_end[1], w.pad_end[2]}}};
}

// The slices of a volume [N, D, C, H, W] that tap `tap` of each window lies on.
ValueId Slices(Rewriter& to, ValueId volume, const Window& w, int64_t tap) {
  const int64_t first = tap * w.dilations[0];
  const int64_t end = first + (w.output[0] - 1) * w.strides[0] + 1;
  return to.Op("Slice",
               {volume, to.Ints({first}), to.Ints({end}), to.Ints({1}), to.Ints({w.strides[0]})});
}

const std::vector<int64_t> kSlicesFirst = {0, 2, 1, 3, 4};

bool ConvOfVolumes(Rewriter& to) {
  const Node node = to.node();
  const Shape from = to.ShapeIn(), weight = to.ShapeIn(1), result = to.ShapeOut();
  const Tensor* constant = to.ConstantIn(1);
  if (node.GetInt("group", 1) != 1 || constant == nullptr || constant->dtype() != DType::kFloat32) {
    return false;
  }
  const auto window =
      ResolveWindow(node, {weight[2], weight[3], weight[4]}, {from[2], from[3], from[4]});
  if (!window.ok()) return false;
  ValueId volume = to.Op("Transpose", {to.In(0)}, {{"perm", kSlicesFirst}});
  volume = Padded(to, volume, 5, 1, window->pad_begin[0], window->pad_end[0]);
  std::vector<ValueId> slices;
  for (int64_t tap = 0; tap < weight[2]; ++tap) slices.push_back(Slices(to, volume, *window, tap));
  const ValueId deep =
      slices.size() == 1 ? slices[0] : to.Op("Concat", slices, {{"axis", int64_t{2}}});
  const ValueId images =
      to.Reshape(deep, {from[0] * result[2], weight[2] * from[1], from[3], from[4]});
  // [O, I, D, h, w] -> [O, D I, h, w].
  const int64_t outputs = weight[0], channels = weight[1], depth = weight[2],
                taps = weight[3] * weight[4];
  Tensor flat(DType::kFloat32, {outputs, depth * channels, weight[3], weight[4]});
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < channels; ++i) {
      for (int64_t d = 0; d < depth; ++d) {
        for (int64_t t = 0; t < taps; ++t) {
          flat.mutable_span<float>()[((o * depth + d) * channels + i) * taps + t] =
              constant->span<float>()[((o * channels + i) * depth + d) * taps + t];
        }
      }
    }
  }
  std::vector<ValueId> inputs = {images, to.Constant(std::move(flat))};
  if (to.Has(2)) inputs.push_back(to.In(2));
  const ValueId made = to.Op("Conv", inputs, Flat(*window));
  const ValueId apart = to.Reshape(made, {from[0], result[2], outputs, result[3], result[4]});
  to.Finish("Transpose", {apart}, {{"perm", kSlicesFirst}});
  return true;
}

// Over each slice, then over slices: the greatest of the greatest, the average of averages of as
// many.
bool PoolOfVolumes(Rewriter& to) {
  const std::string op = to.node().op;
  const Shape from = to.ShapeIn(), result = to.ShapeOut();
  const auto window =
      ResolveWindow(to.node(), to.node().GetInts("kernel_shape", {}), {from[2], from[3], from[4]});
  if (!window.ok()) return false;
  const ValueId images = to.Reshape(to.In(0), {from[0], from[1] * from[2], from[3], from[4]});
  Attributes flat = Flat(*window);
  const auto one = [&](const std::vector<int64_t>& three) {
    return std::vector<int64_t>{three[0], 1};
  };
  Attributes deep = {
      {"kernel_shape", one(window->kernel)},
      {"strides", one(window->strides)},
      {"dilations", one(window->dilations)},
      {"pads", std::vector<int64_t>{window->pad_begin[0], 0, window->pad_end[0], 0}}};
  for (Attributes* attributes : {&flat, &deep}) {
    (*attributes)["ceil_mode"] = to.node().GetInt("ceil_mode", 0);
    if (op == "AveragePool") {
      (*attributes)["count_include_pad"] = to.node().GetInt("count_include_pad", 0);
    }
  }
  const ValueId pooled = to.Op(op, {images}, flat);
  const ValueId lines = to.Reshape(pooled, {from[0], from[1], from[2], result[3] * result[4]});
  to.FinishReshape(to.Op(op, {lines}, deep));
  return true;
}

// Where ceil_mode lets a window hang over padding that counts, what is padded is made.
bool AverageOverPadding(Rewriter& to) {
  const Node node = to.node();
  const Shape from = to.ShapeIn();
  if (node.GetInt("count_include_pad", 0) == 0 || from.size() != 4) return false;
  const auto w = ResolveWindow(node, node.GetInts("kernel_shape", {}), {from[2], from[3]});
  if (!w.ok()) return false;
  bool hangs = false;
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t end =
        (w->output[axis] - 1) * w->strides[axis] + (w->kernel[axis] - 1) * w->dilations[axis] + 1;
    hangs |= end > from[2 + axis] + w->pad_begin[axis] + w->pad_end[axis];
  }
  if (!hangs) return false;
  ValueId x = Padded(to, to.In(0), 4, 2, w->pad_begin[0], w->pad_end[0]);
  x = Padded(to, x, 4, 3, w->pad_begin[1], w->pad_end[1]);
  to.Finish("AveragePool", {x},
            {{"kernel_shape", w->kernel},
             {"strides", w->strides},
             {"dilations", w->dilations},
             {"ceil_mode", int64_t{1}}});
  return true;
}

bool LpPool(Rewriter& to) {
  const Node node = to.node();
  const auto p = static_cast<float>(node.GetInt("p", 2));
  float taps = 1;
  for (const int64_t extent : node.GetInts("kernel_shape", {})) taps *= static_cast<float>(extent);
  Attributes attributes = node.attributes;
  attributes.erase("p");
  attributes["count_include_pad"] = int64_t{1};
  const ValueId powers = to.Op("Pow", {to.Op("Abs", {to.In(0)}), to.Number(p)});
  const ValueId mean = to.Op("AveragePool", {powers}, attributes);
  to.Finish("Pow", {to.Op("Mul", {mean, to.Number(taps)}), to.Number(1 / p)});
  return true;
}

bool GlobalPool(Rewriter& to) {
  const Node node = to.node();
  const std::vector<int64_t> axes = AxesFrom(2, to.ShapeIn().size());
  const bool image = to.ShapeIn().size() == 4;
  if (node.op == "GlobalLpPool") {
    const auto p = static_cast<float>(node.GetInt("p", 2));
    const ValueId powers = to.Op("Pow", {to.Op("Abs", {to.In(0)}), to.Number(p)});
    to.Finish("Pow", {to.Reduce("ReduceSum", powers, axes), to.Number(1 / p)});
    return true;
  }
  if (image || axes.empty()) return false;
  to.Finish(node.op == "GlobalMaxPool" ? "ReduceMax" : "ReduceMean", {to.In(0)},
            {{"axes", axes}, {"keepdims", int64_t{1}}});
  return true;
}

}  // namespace

bool DecomposeWindow(Rewriter& to) {
  const std::string& op = to.node().op;
  if (op == "GlobalAveragePool" || op == "GlobalMaxPool" || op == "GlobalLpPool") {
    return GlobalPool(to);
  }
  if (op == "LpPool") return LpPool(to);
  const bool windows =
      op == "Conv" || op == "ConvTranspose" || op == "MaxPool" || op == "AveragePool";
  if (!windows) return false;
  const size_t rank = to.ShapeIn().size();
  if (rank == 3) return AlongOneAxis(to);
  if (rank == 5 && op == "Conv") return ConvOfVolumes(to);
  if (rank == 5 && (op == "MaxPool" || op == "AveragePool")) return PoolOfVolumes(to);
  return op == "AveragePool" && AverageOverPadding(to);
}

}  // namespace ds::engine::compile
