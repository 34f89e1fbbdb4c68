#include "tests/executor/conv_passes.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/cpu/cpu_features.h"
#include "torch/csrc/autograd/autograd.h"

namespace ds {

namespace {

constexpr const char* kPass[] = {"result", "gradient of the input", "gradient of the weight",
                                 "gradient of the bias"};

struct Operands {
  at::Tensor x, weight, bias;  // bias undefined if there is none
  at::Tensor gradient;         // of the result
};

using Convolution = std::function<at::Tensor(const Operands&)>;

at::ScalarType LowType(Precision precision) {
  if (precision == Precision::kBFloat16) return at::kBFloat16;
  return precision == Precision::kFloat16 ? at::kHalf : at::kFloat;
}

// Standard normal, and exact in the precision that the convolution runs in.
at::Tensor Numbers(const std::vector<int64_t>& sizes, const ConvShape& shape) {
  return at::randn(sizes).to(LowType(shape.precision)).to(at::kFloat);
}

// The same elements in the order that the shape asks for.
at::Tensor Ordered(const at::Tensor& tensor, const ConvShape& shape) {
  if (!shape.channels_last) return tensor.contiguous();
  if (tensor.dim() == 4) return tensor.contiguous(at::MemoryFormat::ChannelsLast);
  return tensor.transpose(1, 2).contiguous().transpose(1, 2);
}

std::vector<int64_t> Repeated(const ConvShape& shape, int64_t value) {
  return std::vector<int64_t>(shape.image.size(), value);
}

at::Tensor Convolve(const ConvShape& shape, const Operands& operands) {
  std::optional<at::Tensor> bias;
  if (operands.bias.defined()) bias = operands.bias;
  return at::convolution(operands.x, operands.weight, bias, shape.stride,
                         Repeated(shape, shape.pad), Repeated(shape, shape.dilation),
                         /*transposed=*/false, Repeated(shape, 0), shape.group);
}

std::vector<int64_t> ResultSizes(const ConvShape& shape) {
  std::vector<int64_t> sizes = {shape.batch, shape.out};
  for (size_t i = 0; i < shape.image.size(); ++i) {
    const int64_t reach = shape.image[i] + 2 * shape.pad - shape.dilation * (shape.kernel - 1) - 1;
    sizes.push_back(reach / shape.stride[i] + 1);
  }
  return sizes;
}

Operands MakeOperands(const ConvShape& shape) {
  std::vector<int64_t> input = {shape.batch, shape.in};
  input.insert(input.end(), shape.image.begin(), shape.image.end());
  std::vector<int64_t> weight = {shape.out, shape.in / shape.group};
  weight.insert(weight.end(), shape.image.size(), shape.kernel);
  Operands made{Numbers(input, shape), Numbers(weight, shape), {}, {}};
  if (shape.bias) made.bias = Numbers({shape.out}, shape);
  made.gradient = Numbers(ResultSizes(shape), shape);
  return made;
}

// The result, then the gradient of each operand.
std::vector<at::Tensor> Passes(Operands operands, const Convolution& convolution) {
  std::vector<at::Tensor> leaves = {operands.x, operands.weight};
  if (operands.bias.defined()) leaves.push_back(operands.bias);
  for (at::Tensor& leaf : leaves) leaf.set_requires_grad(true);
  const at::Tensor result = convolution(operands);
  std::vector<at::Tensor> passes =
      torch::autograd::grad({result}, leaves, {operands.gradient.to(result.scalar_type())});
  passes.insert(passes.begin(), result.detach());
  return passes;
}

std::vector<at::Tensor> Expected(const ConvShape& shape, const Operands& operands) {
  const auto wide = [](const at::Tensor& t) { return t.defined() ? t.to(at::kDouble) : t; };
  return Passes(
      {wide(operands.x), wide(operands.weight), wide(operands.bias), wide(operands.gradient)},
      [&](const Operands& o) { return Convolve(shape, o); });
}

std::vector<at::Tensor> OfLibrary(const ConvShape& shape, const Operands& operands) {
  const at::ScalarType type = LowType(shape.precision);
  const auto low = [&](const at::Tensor& t) { return Ordered(t.to(type), shape); };
  return Passes(
      {low(operands.x), low(operands.weight),
       operands.bias.defined() ? operands.bias.to(type) : operands.bias, low(operands.gradient)},
      [&](const Operands& o) { return Convolve(shape, o); });
}

Tensor Constant(const at::Tensor& tensor) {
  auto made = FromTorch(tensor);
  DS_CHECK(made.ok()) << made.status();
  return *std::move(made);
}

Graph OneConv(const ConvShape& shape, const Operands& operands) {
  Graph graph;
  Node node;
  node.name = "conv";
  node.op = "Conv";
  node.attributes = {{"strides", shape.stride},
                     {"pads", std::vector<int64_t>(2 * shape.image.size(), shape.pad)},
                     {"dilations", Repeated(shape, shape.dilation)},
                     {"kernel_shape", Repeated(shape, shape.kernel)},
                     {"group", shape.group}};
  node.inputs = {graph.AddInput("x", DType::kFloat32, operands.x.sizes().vec()),
                 graph.AddInitializer("weight", Constant(operands.weight), true)};
  if (shape.bias) {
    node.inputs.push_back(graph.AddInitializer("bias", Constant(operands.bias), true));
  }
  const ValueId result = graph.AddValue("y", DType::kFloat32);
  node.outputs = {result};
  graph.AddNode(std::move(node));
  graph.MarkOutput(result);
  return graph;
}

std::vector<at::Tensor> OfExecutor(const ConvShape& shape, const Operands& operands) {
  auto made = GraphModule::Create(OneConv(shape, operands));
  DS_CHECK(made.ok()) << made.status();
  GraphModule& module = **made;
  module.set_training(true);
  module.set_precision(shape.precision);
  Operands own{Ordered(operands.x, shape), {}, {}, Ordered(operands.gradient, shape)};
  for (const NamedTensor& parameter : module.parameters()) {
    (parameter.name == "bias" ? own.bias : own.weight) = parameter.tensor;
  }
  return Passes(own, [&](const Operands& o) {
    auto outputs = module.Forward({o.x});
    DS_CHECK(outputs.ok()) << outputs.status();
    return outputs->front();
  });
}

// A sum of n products of standard normals is off by about n * epsilon / 2 in fp32, whatever the
// order; the largest of many by some times that. Below fp32 the roundings of the result are on top:
// as a walk of so many steps.
double Tolerance(const ConvShape& shape, int64_t products, int64_t roundings, double largest) {
  const double sum = 16 * std::ldexp(1.0, -24) * static_cast<double>(products + 8);
  if (shape.precision == Precision::kFloat32) return sum;
  const int bits = shape.precision == Precision::kBFloat16 ? 8 : 11;
  const double walk = std::sqrt(static_cast<double>(roundings));
  return sum + 2 * walk * std::ldexp(std::max(largest, 1.0), -bits);
}

std::string Compare(const ConvShape& shape, const std::vector<at::Tensor>& actual,
                    const std::vector<at::Tensor>& expected) {
  const int64_t taps =
      static_cast<int64_t>(std::pow(shape.kernel, static_cast<double>(shape.image.size())));
  const int64_t places = expected[0].numel() / shape.out;
  const int64_t products[] = {shape.in / shape.group * taps, shape.out / shape.group * taps, places,
                              places};
  // Without AVX-512 oneDNN has no low precision, and LibTorch's own kernels add the taps of the
  // input's gradient in it, one by one.
  const int64_t roundings[] = {1, Cpu().avx512 ? 1 : taps, 1, 1};
  std::vector<std::string> wrong;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double largest = expected[i].abs().max().item<double>();
    const double off = (actual[i].to(at::kDouble) - expected[i]).abs().max().item<double>();
    const double tolerance = Tolerance(shape, products[i], roundings[i], largest);
    if (off <= tolerance) continue;  // a NaN is not
    wrong.push_back(absl::StrCat(kPass[i], ": off by ", off, ", may be ", tolerance));
  }
  return absl::StrJoin(wrong, "; ");
}

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int64_t Of(const std::vector<int64_t>& choices) {
    return choices[std::uniform_int_distribution<size_t>(0, choices.size() - 1)(random_)];
  }
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

 private:
  std::mt19937_64 random_;
};

void DrawChannels(Draw& draw, ConvShape* shape) {
  const std::vector<int64_t> channels = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,
                                         17, 20, 24, 31, 32, 33, 40, 48, 63, 64};
  shape->in = draw.Of(channels);
  shape->out = draw.Of(channels);
  const int64_t kind = draw.Between(0, 4);
  if (kind == 0) {  // depthwise
    shape->group = shape->in;
    shape->out = shape->in * draw.Of({1, 1, 2});
  } else if (kind == 1) {
    shape->group = draw.Of({2, 3, 4});
    shape->in = shape->group * draw.Of({1, 2, 3, 4, 5, 8, 12, 15, 16, 17});
    shape->out = shape->group * draw.Of({1, 2, 3, 4, 8, 15, 16, 17});
  }
}

ConvShape DrawShape(Draw& draw, const std::vector<Precision>& precisions) {
  ConvShape shape;
  shape.kernel = draw.Of({1, 1, 3, 3, 5, 7});
  shape.dilation = shape.kernel > 1 ? draw.Of({1, 1, 1, 2}) : 1;
  const int64_t same = (shape.kernel - 1) * shape.dilation / 2;
  shape.pad = draw.Of({0, same, same, draw.Between(0, same + 1)});
  DrawChannels(draw, &shape);
  const size_t axes = draw.Between(0, 9) == 0 ? 1 : 2;
  const int64_t stride = draw.Of({1, 2, 2, 3});
  const int64_t side = draw.Of({7, 8, 13, 14, 16, 23, 24, 28, 31, 32, 48, 56});
  const bool uneven = draw.Between(0, 5) == 0;
  for (size_t i = 0; i < axes; ++i) {
    shape.stride.push_back(uneven ? draw.Of({1, 2, 3}) : stride);
    shape.image.push_back(uneven ? draw.Of({3, 8, 15, 24, 33, 48}) : side);
  }
  shape.batch = draw.Of({1, 2, 3, 5});
  shape.precision =
      precisions[static_cast<size_t>(draw.Between(0, static_cast<int64_t>(precisions.size()) - 1))];
  shape.bias = draw.Between(0, 1) == 0;
  shape.channels_last = draw.Between(0, 3) != 0;
  return shape;
}

// Products of the forward pass.
int64_t Cost(const ConvShape& shape) {
  const std::vector<int64_t> result = ResultSizes(shape);
  int64_t cost = shape.in / shape.group;
  for (const int64_t size : result) cost *= size;
  for (size_t i = 0; i < shape.image.size(); ++i) cost *= shape.kernel;
  return cost;
}

}  // namespace

std::string Describe(const ConvShape& shape) {
  constexpr const char* kNames[] = {"fp32", "bf16", "fp16"};
  return absl::StrCat(shape.batch, "x", shape.in, "x", absl::StrJoin(shape.image, "x"), " to ",
                      shape.out, ", kernel ", shape.kernel, ", stride ",
                      absl::StrJoin(shape.stride, "x"), ", pad ", shape.pad, ", dilation ",
                      shape.dilation, ", group ", shape.group, ", ",
                      kNames[static_cast<int>(shape.precision)], shape.bias ? ", bias" : "",
                      shape.channels_last ? ", channels last" : ", channels first");
}

std::vector<ConvShape> RandomConvShapes(uint64_t seed, int count,
                                        const std::vector<Precision>& precisions) {
  constexpr int64_t kLargestCost = 12'000'000;  // some ms in double precision
  Draw draw(seed);
  std::vector<ConvShape> shapes;
  while (shapes.size() < static_cast<size_t>(count)) {
    ConvShape shape = DrawShape(draw, precisions);
    const int64_t least = *std::min_element(shape.image.begin(), shape.image.end());
    const int64_t reach = (shape.kernel - 1) * shape.dilation + 1;
    if (least + 2 * shape.pad < reach || Cost(shape) > kLargestCost) continue;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

std::vector<ConvShape> FewChannelsStrided1x1() {
  std::vector<ConvShape> shapes;
  for (const int64_t in : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16}) {
    for (const std::vector<int64_t>& stride :
         {std::vector<int64_t>{2, 2}, std::vector<int64_t>{1, 2}, std::vector<int64_t>{3, 3}}) {
      ConvShape shape;
      shape.image = {48, 48};
      shape.stride = stride;
      shape.batch = 3;
      shape.in = in;
      shape.out = 24;
      shape.bias = true;
      shapes.push_back(shape);
    }
  }
  return shapes;
}

std::vector<ConvShape> OneColumnWide() {
  std::vector<ConvShape> shapes;
  for (const int64_t kernel : {1, 3, 7}) {
    for (const int64_t stride : {1, 2, 3}) {
      for (const int64_t pad : {int64_t{0}, kernel / 2}) {
        ConvShape shape;
        shape.image = {24, std::max<int64_t>(1, kernel - 2 * pad + stride - 1)};
        shape.stride = {2, stride};
        shape.batch = 2;
        shape.in = 32;
        shape.out = 16;
        shape.kernel = kernel;
        shape.pad = pad;
        shape.precision = Precision::kBFloat16;
        shapes.push_back(shape);
      }
    }
  }
  return shapes;
}

std::vector<ConvShape> DilatedGroups() {
  struct Groups {
    int64_t count, in, out;  // channels of one
  };
  std::vector<ConvShape> shapes;
  for (const Groups& groups : {Groups{6, 1, 1}, {33, 1, 1}, {8, 1, 2}, {4, 8, 8}}) {
    for (const int64_t dilation : {1, 2, 4}) {
      for (const int64_t side : {28, 32, 40}) {
        ConvShape shape;
        shape.image = {side, side};
        shape.stride = {1, 1};
        shape.batch = 2;
        shape.group = groups.count;
        shape.in = groups.count * groups.in;
        shape.out = groups.count * groups.out;
        shape.kernel = 3;
        shape.pad = shape.dilation = dilation;
        shape.precision = Precision::kBFloat16;
        shape.bias = true;
        shapes.push_back(shape);
      }
    }
  }
  return shapes;
}

std::string CheckConvPasses(const ConvShape& shape, ConvRunner runner, uint64_t seed) {
  at::manual_seed(seed);
  const Operands operands = MakeOperands(shape);
  return Compare(
      shape,
      runner == ConvRunner::kExecutor ? OfExecutor(shape, operands) : OfLibrary(shape, operands),
      Expected(shape, operands));
}

}  // namespace ds
