// Every differentiable operator's gradient, in double precision, against central differences.
#include <cmath>
#include <functional>

#include "ATen/ATen.h"
#include "executor/graph_module.h"
#include "gtest/gtest.h"
#include "torch/csrc/autograd/autograd.h"

namespace ds {
namespace {

struct GradientCase {
  std::string name;  // also of the test
  std::string op;
  // Float inputs, all differentiated; constants come after them in the node where `constants` says.
  std::vector<Shape> inputs;
  std::map<int, Tensor> constants = {};  // by input slot
  Attributes attributes = {};
  double low = -1.5;  // range of the elements
  double high = 1.5;
  int outputs = 1;
  bool training = false;
};

void PrintTo(const GradientCase& test, std::ostream* out) { *out << test.name; }

Tensor Ints(std::vector<int64_t> values) {
  const int64_t count = static_cast<int64_t>(values.size());
  return Tensor::From<int64_t>({count}, values);
}
Tensor Doubles(Shape shape, std::vector<double> values) {
  return Tensor::From<double>(std::move(shape), values);
}
Attributes Window(std::vector<int64_t> kernel, std::vector<int64_t> strides,
                  std::vector<int64_t> pads) {
  return {{"kernel_shape", kernel}, {"strides", strides}, {"pads", pads}};
}
Attributes With(Attributes a, Attributes b) {
  a.insert(b.begin(), b.end());
  return a;
}

Graph OneNode(const GradientCase& test) {
  Graph graph;
  graph.name = test.name;
  Node node;
  node.name = "node";
  node.op = test.op;
  node.attributes = test.attributes;
  const size_t slots = test.inputs.size() + test.constants.size();
  size_t next = 0;
  int last_slot = static_cast<int>(slots) - 1;
  if (!test.constants.empty()) last_slot = std::max(last_slot, test.constants.rbegin()->first);
  for (int slot = 0; slot <= last_slot; ++slot) {
    const auto constant = test.constants.find(slot);
    if (constant != test.constants.end()) {
      node.inputs.push_back(
          graph.AddInitializer("c" + std::to_string(slot), constant->second.Clone(), false));
    } else if (next < test.inputs.size()) {
      node.inputs.push_back(
          graph.AddInput("x" + std::to_string(next), DType::kFloat64, test.inputs[next]));
      ++next;
    } else {
      node.inputs.push_back(kNoValue);
    }
  }
  for (int i = 0; i < test.outputs; ++i) {
    const ValueId out = graph.AddValue("y" + std::to_string(i), DType::kFloat64);
    node.outputs.push_back(out);
  }
  const std::vector<ValueId> outputs = node.outputs;
  graph.AddNode(std::move(node));
  for (const ValueId out : outputs) graph.MarkOutput(out);
  return graph;
}

class Gradient : public testing::TestWithParam<GradientCase> {};

// The derivative of sum(y * w) for random w along each element.
TEST_P(Gradient, EqualsCentralDifferences) {
  const GradientCase& test = GetParam();
  constexpr uint64_t kSeed = 20261;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  at::manual_seed(kSeed);
  auto module = GraphModule::Create(OneNode(test));
  ASSERT_TRUE(module.ok()) << module.status();
  (*module)->set_training(test.training);
  (*module)->set_dropout_key(1, 2, 3);
  std::vector<at::Tensor> inputs;
  for (const Shape& shape : test.inputs) {
    inputs.push_back(at::rand(shape, at::TensorOptions(at::kDouble)) * (test.high - test.low) +
                     test.low);
    inputs.back().set_requires_grad(true);
  }
  std::vector<at::Tensor> weights;
  const auto loss = [&] {
    auto outputs = (*module)->Forward(inputs);
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    at::Tensor total = at::zeros({}, at::TensorOptions(at::kDouble));
    for (size_t i = 0; i < outputs->size(); ++i) {
      if (weights.size() <= i) weights.push_back(at::randn_like((*outputs)[i].detach()));
      total = total + ((*outputs)[i] * weights[i]).sum();
    }
    return total;
  };
  const at::Tensor scalar = loss();
  ASSERT_GT(weights[0].numel(), 0);
  torch::autograd::backward({scalar}, {});
  // Error of a central difference: step^2 / 6 times the third derivative (tens at most on these
  // ranges), plus rounding of the sum over the step.
  constexpr double kStep = 1e-5;
  constexpr double kTolerance = 1e-7;
  double largest = 0;
  at::NoGradGuard no_grad;
  for (at::Tensor& input : inputs) {
    ASSERT_TRUE(input.grad().defined());
    double* data = input.data_ptr<double>();
    const at::Tensor gradient = input.grad().contiguous();
    for (int64_t i = 0; i < input.numel(); ++i) {
      const double before = data[i];
      data[i] = before + kStep;
      const double up = loss().item<double>();
      data[i] = before - kStep;
      const double down = loss().item<double>();
      data[i] = before;
      const double expected = (up - down) / (2 * kStep);
      const double actual = gradient.data_ptr<double>()[i];
      EXPECT_NEAR(actual, expected, kTolerance * (1 + std::abs(expected))) << "element " << i;
      largest = std::max(largest, std::abs(actual));
    }
  }
  EXPECT_GT(largest, 1e-3) << "a gradient of zero proves nothing";
}

std::vector<GradientCase> LinearCases() {
  return {
      {"Conv3x3",
       "Conv",
       {{2, 3, 5, 4}, {4, 3, 3, 3}, {4}},
       {},
       Window({3, 3}, {1, 1}, {1, 1, 1, 1})},
      {"ConvStridedAsymmetric",
       "Conv",
       {{1, 2, 6, 5}, {3, 2, 3, 2}},
       {},
       Window({3, 2}, {2, 1}, {0, 1, 1, 0})},
      {"ConvDepthwise",
       "Conv",
       {{2, 4, 4, 4}, {4, 1, 3, 3}},
       {},
       With(Window({3, 3}, {1, 1}, {1, 1, 1, 1}), {{"group", int64_t{4}}})},
      {"ConvDilated",
       "Conv",
       {{1, 2, 7, 7}, {2, 2, 3, 3}},
       {},
       {{"dilations", std::vector<int64_t>{2, 2}}}},
      {"ConvSameUpper",
       "Conv",
       {{1, 2, 5, 5}, {2, 2, 3, 3}},
       {},
       {{"auto_pad", std::string("SAME_UPPER")},
        {"strides", std::vector<int64_t>{2, 2}},
        {"kernel_shape", std::vector<int64_t>{3, 3}}}},
      {"Conv1D",
       "Conv",
       {{2, 3, 7}, {2, 3, 3}, {2}},
       {},
       {{"pads", std::vector<int64_t>{1, 1}}, {"kernel_shape", std::vector<int64_t>{3}}}},
      {"Gemm", "Gemm", {{3, 5}, {4, 5}, {4}}, {}, {{"transB", int64_t{1}}}},
      {"GemmScaled",
       "Gemm",
       {{5, 3}, {5, 4}, {3, 1}},
       {},
       {{"transA", int64_t{1}}, {"alpha", 0.5f}, {"beta", 2.0f}}},
      {"MatMulBroadcast", "MatMul", {{2, 3, 4, 5}, {5, 2}}},
  };
}

std::vector<GradientCase> ElementwiseCases() {
  std::vector<GradientCase> cases;
  // Ranges keep clear of the kinks at 0 and at the ends of the hard functions.
  for (const char* op : {"Sigmoid", "SiLU", "Tanh", "Erf", "Exp", "Neg", "Gelu", "Identity"}) {
    cases.push_back({op, op, {{3, 7}}});
  }
  for (const char* op : {"Relu", "LeakyRelu", "Abs", "Sqrt", "Log", "Reciprocal"}) {
    cases.push_back({std::string(op) + "Positive", op, {{3, 7}}, {}, {}, 0.3, 2.0});
  }
  for (const char* op : {"LeakyRelu", "Abs", "Reciprocal"}) {
    cases.push_back({std::string(op) + "Negative", op, {{3, 7}}, {}, {}, -2.0, -0.3});
  }
  cases.push_back({"HardSwish", "HardSwish", {{3, 7}}, {}, {}, -2.5, 2.5});
  cases.push_back({"HardSigmoid", "HardSigmoid", {{3, 7}}, {}, {{"alpha", 1.0f / 6}}, -2.5, 2.5});
  cases.push_back({"HardSigmoidSteep", "HardSigmoid", {{3, 7}}, {}, {{"alpha", 0.2f}}, -2, 2});
  cases.push_back({"GeluTanh", "Gelu", {{3, 7}}, {}, {{"approximate", std::string("tanh")}}});
  cases.push_back(
      {"ClipInside", "Clip", {{3, 7}}, {{1, Tensor::Scalar(-2.0)}, {2, Tensor::Scalar(2.0)}}});
  for (const char* op : {"Add", "Sub", "Mul"}) cases.push_back({op, op, {{2, 3, 4}, {3, 1}}});
  cases.push_back({"Div", "Div", {{2, 3}, {3}}, {}, {}, 0.5, 2.0});
  cases.push_back({"PowConstant", "Pow", {{2, 3}}, {{1, Tensor::Scalar(3.0)}}, {}, 0.5, 2.0});
  cases.push_back({"PowTensor", "Pow", {{2, 3}, {3}}, {}, {}, 0.5, 2.0});
  cases.push_back(
      {"Where", "Where", {{2, 3}, {3}}, {{0, Tensor::From<bool>({2, 1}, {true, false})}}});
  cases.push_back({"CastToDouble", "Cast", {{5}}, {}, {{"to", int64_t{11}}}});
  GradientCase dropout{"Dropout", "Dropout", {{4, 8}}, {{1, Tensor::Scalar(0.4f)}}};
  dropout.training = true;
  cases.push_back(dropout);
  return cases;
}

std::vector<GradientCase> FunctionCases() {
  std::vector<GradientCase> cases;
  for (const char* op :
       {"Softplus", "Softsign", "Mish", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh"}) {
    cases.push_back({op, op, {{3, 7}}});
  }
  cases.push_back({"Tan", "Tan", {{3, 7}}, {}, {}, -1.0, 1.0});
  for (const char* op : {"Asin", "Acos", "Atanh"}) {
    cases.push_back({op, op, {{3, 7}}, {}, {}, -0.8, 0.8});
  }
  cases.push_back({"Acosh", "Acosh", {{3, 7}}, {}, {}, 1.2, 3.0});
  // Ranges keep clear of the kinks.
  for (const char* op : {"Elu", "Selu", "Celu"}) {
    cases.push_back({std::string(op) + "Positive", op, {{3, 7}}, {}, {}, 0.1, 2.0});
    cases.push_back(
        {std::string(op) + "Negative", op, {{3, 7}}, {}, {{"alpha", 0.7f}}, -2.0, -0.1});
  }
  cases.push_back({"ThresholdedRelu", "ThresholdedRelu", {{3, 7}}, {}, {}, 1.1, 2.0});
  cases.push_back({"Shrink", "Shrink", {{3, 7}}, {}, {{"bias", 0.2f}}, 0.6, 2.0});
  cases.push_back({"PRelu", "PRelu", {{2, 3, 4}, {3, 1}}, {}, {}, -2.0, -0.2});
  // Random operands are ties nowhere.
  cases.push_back({"Max", "Max", {{2, 3, 4}, {3, 1}, {4}}});
  cases.push_back({"Min", "Min", {{2, 3, 4}, {3, 1}}});
  cases.push_back({"Sum", "Sum", {{2, 3}, {3}, {2, 1}}});
  cases.push_back({"Mean", "Mean", {{2, 3}, {3}, {2, 1}}});
  cases.push_back({"ModInC",
                   "Mod",
                   {{2, 3}},
                   {{1, Doubles({3}, {0.7, 1.9, 2.3})}},
                   {{"fmod", int64_t{1}}},
                   0.1,
                   0.6});
  return cases;
}

std::vector<GradientCase> ReductionCases() {
  std::vector<GradientCase> cases;
  for (const char* op : {"ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                         "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}) {
    cases.push_back({op,
                     op,
                     {{2, 3, 4}},
                     {},
                     {{"axes", std::vector<int64_t>{-1, 0}}, {"keepdims", int64_t{0}}},
                     0.3,
                     2.0});
  }
  cases.push_back({"ReduceMeanComputedAxes", "ReduceMean", {{2, 3, 4}}, {{1, Ints({1})}}});
  cases.push_back({"CumSum",
                   "CumSum",
                   {{2, 5}},
                   {{1, Ints({1})}},
                   {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}}});
  cases.push_back({"TopKValues", "TopK", {{3, 6}}, {{1, Ints({2})}}});
  return cases;
}

std::vector<GradientCase> NormalizationCases() {
  return {
      {"InstanceNorm", "InstanceNormalization", {{2, 3, 4, 3}, {3}, {3}}},
      {"GroupNorm",
       "GroupNormalization",
       {{2, 4, 3, 3}, {4}, {4}},
       {},
       {{"num_groups", int64_t{2}}}},
      {"RmsNorm", "RMSNormalization", {{3, 4, 5}, {5}}},
      {"Lrn", "LRN", {{2, 5, 3}}, {}, {{"size", int64_t{3}}, {"alpha", 0.3f}}},
      {"LpNorm1", "LpNormalization", {{3, 5}}, {}, {{"p", int64_t{1}}}, 0.3, 2.0},
      {"LpNorm2", "LpNormalization", {{3, 5, 2}}, {}, {{"axis", int64_t{1}}}},
      {"MeanVariance", "MeanVarianceNormalization", {{2, 3, 4, 2}}},
      {"AveragePoolDilated",
       "AveragePool",
       {{1, 2, 6, 7}},
       {},
       With(Window({2, 3}, {2, 1}, {1, 0, 0, 1}), {{"dilations", std::vector<int64_t>{2, 2}}})},
      {"AveragePool3D",
       "AveragePool",
       {{1, 2, 4, 3, 4}},
       {},
       {{"kernel_shape", std::vector<int64_t>{2, 2, 2}},
        {"pads", std::vector<int64_t>{1, 0, 0, 0, 0, 1}}}},
      {"MaxPool3D",
       "MaxPool",
       {{1, 2, 4, 3, 4}},
       {},
       {{"kernel_shape", std::vector<int64_t>{2, 2, 2}}}},
      {"LpPool", "LpPool", {{1, 2, 5, 6}}, {}, Window({2, 3}, {2, 2}, {1, 0, 0, 1}), 0.3, 2.0},
      {"GlobalMaxPool", "GlobalMaxPool", {{2, 3, 4, 5}}},
      {"GlobalLpPool", "GlobalLpPool", {{2, 3, 4}}},
  };
}

std::vector<GradientCase> ArrangementCases() {
  const auto resize = [](const char* mode) { return Attributes{{"mode", std::string(mode)}}; };
  std::vector<GradientCase> cases = {
      {"DepthToSpace", "DepthToSpace", {{1, 8, 2, 3}}, {}, {{"blocksize", int64_t{2}}}},
      {"SpaceToDepth", "SpaceToDepth", {{1, 2, 4, 6}}, {}, {{"blocksize", int64_t{2}}}},
      {"Trilu", "Trilu", {{2, 3, 4}}, {{1, Ints({1})}}},
      {"PadWrap", "Pad", {{2, 3}}, {{1, Ints({1, 0, 0, 2})}}, {{"mode", std::string("wrap")}}},
      {"ResizeCubic", "Resize", {{1, 1, 4, 5}}, {{3, Ints({1, 1, 7, 3})}}, resize("cubic")},
      {"ResizeAntialias",
       "Resize",
       {{1, 1, 6, 7}},
       {{3, Ints({1, 1, 3, 4})}},
       With(resize("linear"), {{"antialias", int64_t{1}}})},
  };
  for (const char* mode : {"linear", "cubic"}) {
    // Of the grid too; its range keeps clear of the borders' kinks.
    cases.push_back({std::string("GridSample_") + mode,
                     "GridSample",
                     {{1, 2, 4, 4}, {1, 2, 3, 2}},
                     {},
                     With(resize(mode), {{"padding_mode", std::string("zeros")}}),
                     -0.6,
                     0.6});
  }
  return cases;
}

std::vector<GradientCase> StatisticsCases() {
  const std::map<int, Tensor> running = {{3, Doubles({3}, {0.1, -0.2, 0.3})},
                                         {4, Doubles({3}, {1.5, 0.7, 1.1})}};
  GradientCase training{
      "BatchNormTraining", "BatchNormalization", {{4, 3, 2, 3}, {3}, {3}}, running};
  training.training = true;
  return {
      training,
      {"BatchNormEval", "BatchNormalization", {{2, 3, 2}, {3}, {3}}, running},
      {"LayerNorm", "LayerNormalization", {{3, 4, 5}, {5}, {5}}},
      {"LayerNormTwoAxesNoBias",
       "LayerNormalization",
       {{3, 4, 5}, {4, 5}},
       {},
       {{"axis", int64_t{1}}}},
      {"Softmax", "Softmax", {{3, 5, 2}}, {}, {{"axis", int64_t{1}}}},
      {"LogSoftmax", "LogSoftmax", {{3, 5}}},
      {"ReduceMean",
       "ReduceMean",
       {{2, 3, 4}},
       {},
       {{"axes", std::vector<int64_t>{-1, 0}}, {"keepdims", int64_t{0}}}},
      {"ReduceSum", "ReduceSum", {{2, 3, 4}}, {{1, Ints({1})}}},
      {"ReduceSumAll", "ReduceSum", {{2, 3}}},
      {"MaxPool", "MaxPool", {{1, 2, 6, 6}}, {}, Window({3, 3}, {2, 2}, {1, 1, 1, 1})},
      {"MaxPoolAsymmetricCeil",
       "MaxPool",
       {{1, 2, 6, 7}},
       {},
       With(Window({3, 2}, {2, 2}, {0, 1, 1, 0}), {{"ceil_mode", int64_t{1}}})},
      {"AveragePool", "AveragePool", {{1, 2, 5, 5}}, {}, Window({2, 3}, {2, 1}, {1, 1, 0, 1})},
      {"AveragePoolCountPad",
       "AveragePool",
       {{1, 2, 5, 6}},
       {},
       With(Window({3, 3}, {2, 2}, {1, 1, 1, 1}),
            {{"ceil_mode", int64_t{1}}, {"count_include_pad", int64_t{1}}})},
      {"AveragePool1D", "AveragePool", {{1, 2, 7}}, {}, Window({3}, {2}, {1, 0})},
      {"GlobalAveragePool", "GlobalAveragePool", {{2, 3, 4, 5}}},
  };
}

std::vector<GradientCase> MovementCases() {
  const auto resize = [](const char* mode, const char* coordinates) {
    return Attributes{{"mode", std::string(mode)},
                      {"coordinate_transformation_mode", std::string(coordinates)}};
  };
  GradientCase split{"Split", "Split", {{2, 7}}, {{1, Ints({3, 4})}}, {{"axis", int64_t{1}}}};
  split.outputs = 2;
  return {
      {"Flatten", "Flatten", {{2, 3, 4}}, {}, {{"axis", int64_t{2}}}},
      {"Reshape", "Reshape", {{2, 3, 4}}, {{1, Ints({0, -1})}}},
      {"Transpose", "Transpose", {{2, 3, 4}}, {}, {{"perm", std::vector<int64_t>{2, 0, 1}}}},
      {"Concat", "Concat", {{2, 3}, {2, 1}}, {}, {{"axis", int64_t{-1}}}},
      split,
      {"Slice",
       "Slice",
       {{5, 7}},
       {{1, Ints({1, -2})}, {2, Ints({5, 0})}, {3, Ints({0, 1})}, {4, Ints({2, -2})}}},
      {"Gather",
       "Gather",
       {{4, 3}},
       {{1, Tensor::From<int64_t>({2, 2}, {0, -1, 2, 0})}},
       {{"axis", int64_t{0}}}},
      {"PadConstant", "Pad", {{2, 3}}, {{1, Ints({1, 0, 0, 2})}}},
      {"PadReflect",
       "Pad",
       {{1, 1, 4, 5}},
       {{1, Ints({0, 0, 2, 1, 0, 0, 1, 3})}},
       {{"mode", std::string("reflect")}}},
      {"PadEdge", "Pad", {{2, 3}}, {{1, Ints({1, 0, 0, 2})}}, {{"mode", std::string("edge")}}},
      {"ResizeNearest",
       "Resize",
       {{1, 2, 3, 3}},
       {{2, Tensor::From<float>({4}, {1, 1, 2, 2})}},
       resize("nearest", "asymmetric")},
      {"ResizeLinear",
       "Resize",
       {{1, 2, 3, 4}},
       {{3, Ints({1, 2, 5, 7})}},
       resize("linear", "half_pixel")},
      {"Expand", "Expand", {{3, 1}}, {{1, Ints({2, 1, 4})}}},
      {"Tile", "Tile", {{2, 3}}, {{1, Ints({2, 3})}}},
      {"Squeeze", "Squeeze", {{1, 3, 1}}, {{1, Ints({0})}}},
      {"Unsqueeze", "Unsqueeze", {{2, 3}}, {{1, Ints({-1, 0})}}},
  };
}

std::vector<GradientCase> StructuredCases() {
  const auto recurrent = [](const std::string& direction) {
    return Attributes{{"hidden_size", int64_t{2}}, {"direction", direction}};
  };
  const Tensor lengths = Tensor::From<int32_t>({2}, {3, 1});
  const Tensor pairs = Tensor::From<int64_t>({3, 2}, {1, 2, -1, 0, 0, 1});
  const Tensor rows = Tensor::From<int64_t>({2, 3}, {0, 2, -1, 1, 0, 1});
  const auto text = [](const char* key, const char* value) {
    return Attributes{{key, std::string(value)}};
  };
  return {
      {"ConvTransposeStrided",
       "ConvTranspose",
       {{1, 2, 3, 3}, {2, 3, 3, 2}, {3}},
       {},
       Window({3, 2}, {2, 2}, {1, 0, 1, 0})},
      {"ConvTransposeAsymmetric",
       "ConvTranspose",
       {{1, 4, 3, 3}, {4, 1, 3, 3}, {2}},
       {},
       With(Window({3, 3}, {2, 2}, {0, 1, 2, 0}), {{"group", int64_t{2}}})},
      {"ConvTransposeShape",
       "ConvTranspose",
       {{1, 2, 4}, {2, 2, 3}, {2}},
       {},
       {{"output_shape", std::vector<int64_t>{9}}, {"strides", std::vector<int64_t>{2}}}},
      {.name = "LstmBothWays",
       .op = "LSTM",
       .inputs = {{3, 2, 2}, {2, 8, 2}, {2, 8, 2}, {2, 16}, {2, 2, 2}, {2, 2, 2}},
       .constants = {{4, lengths}},
       .attributes = recurrent("bidirectional"),
       .outputs = 3},
      {.name = "GruReverse",
       .op = "GRU",
       .inputs = {{3, 2, 2}, {1, 6, 2}, {1, 6, 2}, {1, 12}},
       .attributes = recurrent("reverse"),
       .outputs = 2},
      {.name = "GruLinearBeforeReset",
       .op = "GRU",
       .inputs = {{3, 2, 2}, {1, 6, 2}, {1, 6, 2}, {1, 12}},
       .attributes = With(recurrent("forward"), {{"linear_before_reset", int64_t{1}}}),
       .outputs = 2},
      {.name = "Rnn",
       .op = "RNN",
       .inputs = {{3, 2, 2}, {1, 2, 2}, {1, 2, 2}, {1, 4}},
       .attributes = recurrent("forward"),
       .outputs = 2},
      {"GatherND", "GatherND", {{2, 3}}, {{1, pairs}}},
      {"GatherElements", "GatherElements", {{2, 3}}, {{1, rows}}, {{"axis", int64_t{1}}}},
      {"ScatterNDAdd", "ScatterND", {{2, 3}, {3}}, {{1, pairs}}, text("reduction", "add")},
      {"ScatterNDMultiply", "ScatterND", {{2, 3}, {3}}, {{1, pairs}}, text("reduction", "mul")},
      {"ScatterND", "ScatterND", {{2, 3}, {3}}, {{1, pairs}}},
      {"ScatterElements",
       "ScatterElements",
       {{3, 3}, {2, 3}},
       {{1, Tensor::From<int64_t>({2, 3}, {0, 2, -1, 1, 0, 1})}}},
      {"RoiAlign",
       "RoiAlign",
       {{1, 2, 5, 5}},
       {{1, Tensor::From<double>({2, 4}, {0.5, 0.2, 4, 3, -1, 1, 2.5, 6})},
        {2, Tensor::From<int64_t>({2}, {0, 0})}},
       {{"output_height", int64_t{2}}, {"output_width", int64_t{2}}}},
      {"Einsum", "Einsum", {{2, 3, 4}, {2, 5, 4}}, {}, text("equation", "bhd,bkd->bhk")},
  };
}

std::string CaseName(const testing::TestParamInfo<GradientCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Linear, Gradient, testing::ValuesIn(LinearCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Elementwise, Gradient, testing::ValuesIn(ElementwiseCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Functions, Gradient, testing::ValuesIn(FunctionCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Reductions, Gradient, testing::ValuesIn(ReductionCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Normalization, Gradient, testing::ValuesIn(NormalizationCases()),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(Arrangement, Gradient, testing::ValuesIn(ArrangementCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Statistics, Gradient, testing::ValuesIn(StatisticsCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Structured, Gradient, testing::ValuesIn(StructuredCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Movement, Gradient, testing::ValuesIn(MovementCases()), CaseName);

}  // namespace
}  // namespace ds
