#include "executor/graph_module.h"

#include <cmath>
#include <cstring>

#include "ATen/ATen.h"
#include "absl/strings/str_cat.h"
#include "executor/dropout.h"
#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "torch/csrc/autograd/autograd.h"

namespace ds {
namespace {

using testing::HasSubstr;

std::unique_ptr<GraphModule> ModuleOf(absl::StatusOr<Graph> graph) {
  EXPECT_TRUE(graph.ok()) << graph.status();
  auto module = GraphModule::Create(*std::move(graph));
  EXPECT_TRUE(module.ok()) << module.status();
  return *std::move(module);
}

std::unique_ptr<GraphModule> ZooModule(const std::string& name, double dropout = 0) {
  ModelOptions options;
  options.channels = 1;
  options.height = options.width = 28;
  options.dropout = dropout;
  return ModuleOf(BuildModel(name, options));
}

at::Tensor Images(int64_t batch) {
  at::manual_seed(11);
  return at::randn({batch, 1, 28, 28});
}

// Loss of one training step; gradients are left in the parameters.
at::Tensor TrainOnce(GraphModule& module, const at::Tensor& images) {
  module.set_training(true);
  for (const NamedTensor& parameter : module.parameters()) {
    parameter.tensor.mutable_grad() = at::Tensor();
  }
  auto logits = module.Forward({images});
  EXPECT_TRUE(logits.ok()) << logits.status();
  const at::Tensor labels = at::arange(images.size(0), at::kLong).remainder(10);
  const at::Tensor loss = at::cross_entropy_loss((*logits)[0], labels);
  torch::autograd::backward({loss}, {});
  return (*logits)[0].detach();
}

TEST(GraphModule, AcceptsAnyBatchSize) {
  auto module = ZooModule("resnet8");
  for (const int64_t batch : {1, 2, 7}) {
    auto out = module->Forward({Images(batch)});
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ((*out)[0].sizes(), (std::vector<int64_t>{batch, 10}));
  }
}

TEST(GraphModule, EveryParameterHasAGradientAfterBackward) {
  for (const char* name : {"lenet", "mlp", "resnet8", "mobilenet_v3_small"}) {
    auto module = ZooModule(name);
    TrainOnce(*module, Images(4));
    for (const NamedTensor& parameter : module->parameters()) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << name << " " << parameter.name;
      EXPECT_EQ(parameter.tensor.grad().scalar_type(), at::kFloat);
    }
    std::vector<int> order = module->forward_order();
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), module->parameters().size());
    for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int>(i));
  }
}

TEST(GraphModule, ParametersSayWhoReadsThem) {
  auto module = ZooModule("resnet8");
  const NamedTensor& first = module->parameters()[static_cast<size_t>(module->forward_order()[0])];
  EXPECT_EQ(first.op, "Conv");
  EXPECT_EQ(first.slot, 1);
  EXPECT_TRUE(first.tensor.is_leaf());
  EXPECT_TRUE(first.tensor.requires_grad());
  for (const NamedTensor& buffer : module->buffers()) {
    EXPECT_EQ(buffer.op, "BatchNormalization");
    EXPECT_FALSE(buffer.tensor.requires_grad());
  }
}

TEST(GraphModule, SameSeedGivesTheSameBitsTwice) {
  const at::Tensor images = Images(16);
  auto a = ZooModule("resnet8");
  auto b = ZooModule("resnet8");
  EXPECT_TRUE(at::equal(TrainOnce(*a, images), TrainOnce(*b, images)));
  for (size_t i = 0; i < a->parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(a->parameters()[i].tensor.grad(), b->parameters()[i].tensor.grad()))
        << a->parameters()[i].name;
  }
}

TEST(GraphModule, ReducedPrecisionKeepsLogitsStatisticsAndGradientsInFp32) {
  const at::Tensor images = Images(16);
  auto exact = ZooModule("resnet8");
  const at::Tensor expected = TrainOnce(*exact, images);
  for (const Precision precision : {Precision::kBFloat16, Precision::kFloat16}) {
    auto module = ZooModule("resnet8");
    module->set_precision(precision);
    const at::Tensor logits = TrainOnce(*module, images);
    EXPECT_EQ(logits.scalar_type(), at::kFloat);
    EXPECT_FALSE(at::equal(logits, expected)) << "nothing was cast down";
    // Nine layers, each of which rounds to 8 (bf16) bits.
    EXPECT_LT((logits - expected).abs().max().item<double>(), 0.15);
    for (size_t i = 0; i < module->buffers().size(); ++i) {
      const NamedTensor& buffer = module->buffers()[i];
      EXPECT_EQ(buffer.tensor.scalar_type(), at::kFloat) << buffer.name;
      EXPECT_TRUE(at::allclose(buffer.tensor, exact->buffers()[i].tensor, 0.05, 0.02))
          << buffer.name;
    }
    for (const NamedTensor& parameter : module->parameters()) {
      EXPECT_EQ(parameter.tensor.grad().scalar_type(), at::kFloat) << parameter.name;
    }
  }
}

TEST(GraphModule, ExportReturnsPlainRowMajorWeights) {
  ModelOptions options;
  options.height = options.width = 32;
  const Graph graph = BuildModel("resnet8", options).value();
  auto module = ModuleOf(graph);
  const Graph out = module->ExportGraph();
  for (const auto& [id, initializer] : graph.initializers()) {
    const Tensor& exported = out.initializers().at(id).data;
    ASSERT_EQ(exported.shape(), initializer.data.shape());
    EXPECT_EQ(std::memcmp(exported.data(), initializer.data.data(),
                          static_cast<size_t>(exported.size_bytes())),
              0)
        << graph.value(id).name;
  }
}

TEST(GraphModule, ExportedGraphComputesWhatTheModuleComputes) {
  auto module = ZooModule("resnet8");
  TrainOnce(*module, Images(8));
  at::NoGradGuard no_grad;
  for (const NamedTensor& parameter : module->parameters()) {
    parameter.tensor.data().add_(parameter.tensor.grad(), -0.1);
  }
  module->set_training(false);
  auto copy = ModuleOf(module->ExportGraph());
  EXPECT_TRUE(
      at::equal(module->Forward({Images(3)}).value()[0], copy->Forward({Images(3)}).value()[0]));
}

TEST(GraphModule, TheCallersWeightsAreNotTouched) {
  ModelOptions options;
  const Graph graph = BuildModel("resnet8", options).value();
  const Tensor& first = graph.initializers().begin()->second.data;
  const Tensor before = first.Clone();
  auto module = ModuleOf(graph);
  at::NoGradGuard no_grad;
  for (const NamedTensor& parameter : module->parameters()) parameter.tensor.data().fill_(7);
  for (const NamedTensor& buffer : module->buffers()) buffer.tensor.data().fill_(7);
  EXPECT_EQ(std::memcmp(before.data(), first.data(), static_cast<size_t>(first.size_bytes())), 0);
}

TEST(GraphModule, FusionKeepsEvaluationResults) {
  auto module = ZooModule("resnet8");
  TrainOnce(*module, Images(8));
  module->set_training(false);
  const at::Tensor with_gradient = module->Forward({Images(5)}).value()[0].detach();
  at::NoGradGuard no_grad;
  const at::Tensor without = module->Forward({Images(5)}).value()[0];
  EXPECT_TRUE(at::allclose(with_gradient, without, 1e-5, 1e-5));
}

// Two normalised branches, added and clamped; `observed` makes outputs of what lies between, which
// forbids fusing.
Graph Branches(bool observed, bool clip) {
  Builder builder("net", 3);
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 3, 6, 5});
  const ValueId a = builder.BatchNorm(builder.Conv(x, "conv_a", {.channels = 17}), "bn_a");
  const ValueId b = builder.BatchNorm(builder.Conv(x, "conv_b", {.channels = 17}), "bn_b");
  const ValueId sum = builder.Add(b, a);
  builder.Output(clip ? builder.Relu6(sum) : builder.Relu(sum), "y");
  if (observed) {
    builder.Output(a, "a");
    builder.Output(b, "b");
    builder.Output(sum, "sum");
  }
  return builder.Finish().value();
}

TEST(GraphModule, FusingChangesNeitherResultsNorGradients) {
  for (const bool clip : {false, true}) {
    auto fused = ModuleOf(Branches(false, clip));
    auto plain = ModuleOf(Branches(true, clip));
    at::manual_seed(23);
    const at::Tensor x = at::randn({4, 3, 6, 5});
    const at::Tensor gradient = at::randn({4, 17, 6, 5});
    for (GraphModule* module : {fused.get(), plain.get()}) {
      module->set_training(true);
      torch::autograd::backward({module->Forward({x}).value()[0]}, {gradient});
    }
    ASSERT_EQ(fused->parameters().size(), plain->parameters().size());
    for (size_t i = 0; i < fused->parameters().size(); ++i) {
      const NamedTensor& parameter = fused->parameters()[i];
      EXPECT_TRUE(
          at::allclose(parameter.tensor.grad(), plain->parameters()[i].tensor.grad(), 1e-4, 1e-4))
          << parameter.name;
    }
    for (size_t i = 0; i < fused->buffers().size(); ++i) {
      EXPECT_TRUE(at::equal(fused->buffers()[i].tensor, plain->buffers()[i].tensor));
    }
    const at::Tensor y = fused->Forward({x}).value()[0].detach();
    EXPECT_TRUE(at::allclose(y, plain->Forward({x}).value()[0].detach(), 1e-5, 1e-5));
    EXPECT_EQ(y.min().item<float>(), 0.0f);
  }
}

TEST(GraphModule, OutputThatIsAlsoReadIsNotOverwritten) {
  Builder builder("net");
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 2, 4, 4});
  const ValueId conv = builder.Conv(x, "conv", {.channels = 3});
  builder.Output(builder.Relu(conv), "relu");
  builder.Output(conv, "conv_out");
  auto module = ModuleOf(builder.Finish());
  const auto out = module->Forward({at::randn({2, 2, 4, 4})}).value();
  EXPECT_LT(out[1].min().item<double>(), 0);
  EXPECT_TRUE(at::equal(out[0], at::relu(out[1])));
}

TEST(GraphModule, WrongInputShapeNamesTheNodeAndBothShapes) {
  auto module = ZooModule("lenet");
  const auto out = module->Forward({at::zeros({2, 3, 28, 28})});
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(out.status().message());
  EXPECT_THAT(message, HasSubstr("[2, 3, 28, 28]"));
  EXPECT_THAT(message, HasSubstr("input 'input'"));
  EXPECT_THAT(message, HasSubstr(module->graph().nodes()[0].name));
  EXPECT_TRUE(module->Forward({at::zeros({2, 1, 28, 28})}).ok()) << "usable after an error";
}

TEST(GraphModule, FailingNodeIsNamed) {
  Graph graph;
  const ValueId a = graph.AddInput("a", DType::kFloat32, {kDynamicDim, kDynamicDim});
  const ValueId b = graph.AddInput("b", DType::kFloat32, {kDynamicDim, kDynamicDim});
  const ValueId y = graph.AddValue("y");
  graph.AddNode({"product", "MatMul", {a, b}, {y}, {}});
  graph.MarkOutput(y);
  auto module = ModuleOf(std::move(graph));
  const auto out = module->Forward({at::zeros({2, 3}), at::zeros({4, 5})});
  ASSERT_FALSE(out.ok());
  EXPECT_THAT(std::string(out.status().message()), HasSubstr("node 'product' (MatMul)"));
  EXPECT_THAT(std::string(out.status().message()), HasSubstr("[4, 5]"));
}

TEST(GraphModule, UnknownOpIsUnimplementedByName) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {1});
  const ValueId y = graph.AddValue("y");
  graph.AddNode({"strange", "Frobnicate", {x}, {y}, {}});
  graph.MarkOutput(y);
  const auto module = GraphModule::Create(std::move(graph));
  ASSERT_FALSE(module.ok());
  EXPECT_EQ(module.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(module.status().message()), HasSubstr("'strange'"));
  EXPECT_THAT(std::string(module.status().message()), HasSubstr("Frobnicate"));
}

constexpr int64_t kFeatures = 3, kHidden = 4, kGates = 4 * kHidden;
constexpr float kStep = 0.01F;

// x * p into an LSTM whose weights are multiples of kStep: as codes, or as what these mean.
void AddCodedLstm(bool as_codes, Builder& b) {
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, kDynamicDim, kFeatures});
  const ValueId p = b.Parameter(
      "p", Tensor::From<float>({kFeatures, kFeatures}, {1, .5, -.5, .2, 1, .1, -.3, .4, 1}));
  std::vector<ValueId> operands = {b.Op("MatMul", {x, p})};
  for (const int64_t inner : {kFeatures, kHidden}) {
    const std::string name = inner == kFeatures ? "w" : "r";
    std::vector<int8_t> codes;
    for (int64_t i = 0; i < inner * kGates; ++i) codes.push_back(static_cast<int8_t>(i * 37 % 251));
    ValueId matrix = b.Constant(name, Tensor::From<int8_t>({1, inner, kGates}, codes));
    if (!as_codes) {
      const ValueId real =
          b.Op("DequantizeLinear", {matrix, b.Constant(name + ".step", Tensor::Scalar(kStep))});
      matrix = b.Op("Transpose", {real}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
    }
    operands.push_back(matrix);
  }
  const Attributes size = {{"hidden_size", kHidden}};
  if (as_codes) {
    operands.resize(8, kNoValue);
    for (const char* name : {"w", "r"}) {
      operands.push_back(b.Constant(absl::StrCat(name, "s"), Tensor::From<float>({1}, {kStep})));
      operands.push_back(b.Constant(absl::StrCat(name, "z"), Tensor::From<int8_t>({1}, {0})));
    }
  }
  b.Output(b.Op(as_codes ? "DynamicQuantizeLSTM" : "LSTM", operands, size), "y");
}

TEST(GraphModule, GradientsPassTheRoundingOfADynamicLstm) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({6, 2, kFeatures});
  at::Tensor outputs[2], gradients[2];
  for (const bool as_codes : {false, true}) {
    Builder b("lstm");
    AddCodedLstm(as_codes, b);
    auto module = ModuleOf(b.Finish());
    module->set_training(true);
    auto y = module->Forward({x});
    ASSERT_TRUE(y.ok()) << y.status();
    torch::autograd::backward({(*y)[0].pow(2).sum()}, {});
    outputs[as_codes] = (*y)[0].detach();
    gradients[as_codes] = module->parameters()[0].tensor.grad().clone();
  }
  const auto off = [](const at::Tensor* of) {
    return ((of[0] - of[1]).norm() / of[0].norm()).item<double>();
  };
  EXPECT_GT(off(outputs), 1e-5) << "nothing was rounded";
  EXPECT_LT(off(outputs), 0.02);
  EXPECT_LT(off(gradients), 0.02);
}

TEST(Dropout, MaskIsAPureFunctionOfItsKey) {
  using executor::DropoutMask;
  const executor::DropoutKey key{1, 2, 3};
  const uint64_t node = executor::DropoutNode("drop");
  const auto mask = [&](executor::DropoutKey k, uint64_t n) {
    return DropoutMask(k, n, 0.3, {101, 997}, at::kFloat);
  };
  const at::Tensor first = mask(key, node);
  EXPECT_TRUE(at::equal(first, mask(key, node)));
  EXPECT_FALSE(at::equal(first, mask({2, 2, 3}, node)));
  EXPECT_FALSE(at::equal(first, mask({1, 3, 3}, node)));
  EXPECT_FALSE(at::equal(first, mask({1, 2, 4}, node)));
  EXPECT_FALSE(at::equal(first, mask(key, executor::DropoutNode("drop2"))));
  // A longer row begins with the same elements.
  EXPECT_TRUE(
      at::equal(first.flatten().slice(0, 0, 50), DropoutMask(key, node, 0.3, {50}, at::kFloat)));
  // Binomial: five standard deviations.
  const double n = 101.0 * 997;
  EXPECT_NEAR(first.eq(0).sum().item<double>() / n, 0.3, 5 * std::sqrt(0.21 / n));
  EXPECT_FLOAT_EQ(first.max().item<float>(), 1.0f / 0.7f);
}

TEST(Dropout, ForwardDependsOnTheStepInTrainingOnly) {
  Builder builder("net");
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 50});
  builder.Output(builder.Dropout(x, 0.5), "y");
  auto module = ModuleOf(builder.Finish());
  const at::Tensor ones = at::ones({4, 50});
  EXPECT_TRUE(at::equal(module->Forward({ones}).value()[0], ones));
  module->set_training(true);
  module->set_dropout_key(1, 1, 0);
  const at::Tensor a = module->Forward({ones}).value()[0];
  EXPECT_TRUE(at::equal(a, module->Forward({ones}).value()[0]));
  module->set_dropout_key(1, 2, 0);
  EXPECT_FALSE(at::equal(a, module->Forward({ones}).value()[0]));
}

TEST(TensorBridge, RoundTripsEveryTypeAndSharesMemory) {
  const Tensor host = Tensor::From<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const at::Tensor shared = ToTorch(host);
  EXPECT_EQ(shared.const_data_ptr(), static_cast<const void*>(host.data()));
  const Tensor back = FromTorch(shared.t()).value();
  EXPECT_EQ(back.shape(), (Shape{3, 2}));
  EXPECT_THAT(back.span<float>(), testing::ElementsAre(1, 4, 2, 5, 3, 6));
  for (const DType dtype :
       {DType::kFloat64, DType::kFloat16, DType::kBFloat16, DType::kInt8, DType::kUInt8,
        DType::kInt16, DType::kInt32, DType::kInt64, DType::kBool}) {
    EXPECT_EQ(FromTorch(ToTorch(Tensor(dtype, {3}))).value().dtype(), dtype);
    EXPECT_EQ(FromTorch(ToTorch(Tensor(dtype, {0, 3}))).value().shape(), (Shape{0, 3}));
  }
  EXPECT_EQ(FromTorch(at::zeros({}, at::kComplexFloat)).status().code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace ds
