// What is trained is what is exported, and how a module of fake quantisation behaves towards the
// trainer.
#include "trainer/qat/qat_module.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "deploy/insert_qdq.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "quant/torch/quantizer.h"
#include "tests/executor/graph_outputs.h"
#include "tests/quant/torch/batches.h"
#include "torch/csrc/autograd/variable.h"
#include "trainer/qat/distillation.h"

namespace ds {
namespace {

at::Tensor Images(int64_t count, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({count, 3, 16, 16}).contiguous(at::MemoryFormat::ChannelsLast);
}

Graph Network(const std::string& name = "resnet8") {
  ModelOptions options;
  options.channels = 3;
  options.height = options.width = 16;
  options.classes = 10;
  options.seed = 3;
  return *BuildModel(name, options);
}

// Batch norms as training may leave them.
Graph Worn(const std::string& name = "resnet8") {
  Graph graph = Network(name);
  at::manual_seed(7);
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization") continue;
    const auto fill = [&](int slot, const at::Tensor& values) {
      graph.mutable_initializers().at(node.inputs[static_cast<size_t>(slot)]).data =
          *FromTorch(values);
    };
    const int64_t channels = graph.Constant(node.inputs[1])->num_elements();
    // Some gammas are negative.
    fill(1, at::randn({channels}) + 0.5);
    fill(2, at::randn({channels}) * 0.3);
    fill(3, at::randn({channels}) * 0.3);
    fill(4, at::rand({channels}) + 0.5);
  }
  return graph;
}

QuantizedModel Calibrated(int bits, const Graph& network) {
  QuantizerOptions options;
  options.bits = options.activation_bits = bits;
  options.method = "mse";
  options.bias_correction = false;
  options.for_training = true;
  auto model = Quantizer(network, options).calibrate(Batches({Images(64, 1)})).convert();
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

QuantizedModel Calibrated(int bits, const std::string& network = "resnet8") {
  return Calibrated(bits, Worn(network));
}

std::unique_ptr<QatModule> Module(const QuantizedModel& model,
                                  const std::string& network = "resnet8") {
  auto module = QatModule::Create(Worn(network), model.graph, model.plan);
  EXPECT_TRUE(module.ok()) << module.status();
  return *std::move(module);
}

const NamedTensor& Parameter(const QatModule& module, const std::string& suffix) {
  for (const NamedTensor& parameter : module.parameters()) {
    if (parameter.name.ends_with(suffix)) return parameter;
  }
  ADD_FAILURE() << "no parameter " << suffix;
  return module.parameters()[0];
}

// A few plain gradient steps, so that steps, weights and biases are no longer where they began.
void Train(QatModule& module, int steps, double rate) {
  module.set_training(true);
  for (int i = 0; i < steps; ++i) {
    const at::Tensor labels = at::arange(32) % 10;
    const auto outputs = module.Forward({Images(32, 10 + static_cast<uint64_t>(i))});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    at::cross_entropy_loss((*outputs)[0], labels).backward();
    const at::NoGradGuard no_grad;
    for (const NamedTensor& parameter : module.parameters()) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
      parameter.tensor.sub_(parameter.tensor.grad() * rate);
      parameter.tensor.mutable_grad().reset();
    }
  }
  module.set_training(false);
}

TEST(QatModule, TheExportedGraphComputesWhatWasTrained) {
  for (const std::string network : {"resnet8", "lenet", "mobilenet_v2"}) {
    for (const int bits : {2, 3, 4, 8}) {
      // So deep a network of random weights says the same of all images at other widths.
      if (network == "mobilenet_v2" && bits != 4) continue;
      const auto module = Module(Calibrated(bits, network), network);
      Train(*module, 3, 1e-3);
      const auto exported = InsertQdq(module->ExportGraph(), module->Plan());
      ASSERT_TRUE(exported.ok()) << exported.status();
      const auto integers = GraphModule::Create(*exported);
      ASSERT_TRUE(integers.ok()) << integers.status();
      const at::Tensor images = Images(64, 99);
      const at::Tensor trained = Outputs(*module, images), run = Outputs(**integers, images);
      EXPECT_TRUE(trained.argmax(1).equal(run.argmax(1))) << network << ", bits " << bits;
      // Images differ in it, so that equal means something.
      EXPECT_GT((trained - trained.mean(0)).norm().item<double>(),
                0.05 * trained.norm().item<double>());
      // But for the odd value that lies between two codes, to float rounding.
      const at::Tensor off = (trained - run).norm(2, 1) > 1e-5 * trained.norm(2, 1);
      EXPECT_LE(off.sum().item<int64_t>(), 3) << network << ", bits " << bits;
      // And it is not the float network's output: something was rounded.
      const auto latent = GraphModule::Create(module->ExportGraph());
      EXPECT_GT((trained - Outputs(**latent, images)).norm().item<double>(),
                1e-3 * trained.norm().item<double>());
    }
  }
}

TEST(QatModule, EveryWeightAndRoundedValueHasAStepThatTrains) {
  const QuantizedModel model = Calibrated(4);
  const auto module = Module(model);
  std::set<std::string> names;
  for (const NamedTensor& parameter : module->parameters()) names.insert(parameter.name);
  EXPECT_EQ(names.size(), module->parameters().size());
  EXPECT_EQ(module->forward_order().size(), names.size());
  EXPECT_EQ(std::set<int>(module->forward_order().begin(), module->forward_order().end()).size(),
            names.size());
  int steps = 0;
  for (const std::string& name : names) steps += name.ends_with(".weight.step") ? 1 : 0;
  EXPECT_EQ(steps, static_cast<int>(model.plan.weights.size()));
  const auto before = module->Plan();
  Train(*module, 1, 1e-2);
  const auto after = module->Plan();
  for (const auto& [name, params] : after.weights)
    EXPECT_NE(params.scales, before.weights.at(name).scales) << name;
  for (const auto& [name, params] : after.activations) {
    EXPECT_EQ(params.zero_points, before.activations.at(name).zero_points) << name;
  }
}

// Weights of 8 bits start at the plan's step and codes of 15 or more a side lose little.
TEST(QatModule, ItStartsAsTheFloatNetworkWhereStepsAreFine) {
  const auto module = Module(Calibrated(8));
  const at::Tensor images = Images(64, 3), plain = Outputs(**GraphModule::Create(Worn()), images);
  EXPECT_LT((Outputs(*module, images) - plain).norm().item<double>(),
            0.05 * plain.norm().item<double>());
}

TEST(QatModule, FrozenNormsTrainWithTheStatisticsThatTheFileWillHave) {
  const auto module = Module(Calibrated(4));
  const auto statistics = [&] {
    std::vector<at::Tensor> copies;
    for (const NamedTensor& buffer : module->buffers()) copies.push_back(buffer.tensor.clone());
    return copies;
  };
  const auto same = [](const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    return std::equal(a.begin(), a.end(), b.begin(),
                      [](const at::Tensor& x, const at::Tensor& y) { return x.equal(y); });
  };
  const auto first = statistics();
  Train(*module, 1, 1e-3);
  const auto moved = statistics();
  EXPECT_FALSE(same(first, moved));
  module->set_norms_frozen(true);
  Train(*module, 1, 1e-3);
  EXPECT_TRUE(same(moved, statistics()));
  // In training it computes what it does in evaluation.
  const at::Tensor images = Images(16, 5), evaluated = Outputs(*module, images);
  module->set_training(true);
  EXPECT_LT((Outputs(*module, images) - evaluated).norm().item<double>(),
            1e-4 * evaluated.norm().item<double>());
}

TEST(QatModule, GammasStayPositiveSoThatFoldingKeepsTheCodes) {
  const auto module = Module(Calibrated(4));
  int norms = 0;
  for (const NamedTensor& parameter : module->parameters()) {
    if (parameter.op != "BatchNormalization" || parameter.slot != 1) continue;
    ++norms;
    EXPECT_GT(parameter.tensor.min().item<double>(), 0) << parameter.name;
    const at::NoGradGuard no_grad;
    parameter.tensor.neg_();
  }
  EXPECT_GT(norms, 5);
  for (const auto& [name, params] : module->Plan().weights) EXPECT_GT(params.scales[0], 0) << name;
}

TEST(QatModule, AWeightThatTwoNormsShareIsRefusedByName) {
  Graph graph = Worn();
  Node* first = nullptr;
  for (Node& node : graph.mutable_nodes()) {
    if (node.op != "Conv" || node.inputs[1] == graph.nodes()[0].inputs[1]) continue;
    if (first == nullptr) {
      first = &node;
    } else if (graph.Constant(node.inputs[1])->shape() ==
               graph.Constant(first->inputs[1])->shape()) {
      node.inputs[1] = first->inputs[1];
      break;
    }
  }
  const std::string weight = graph.value(first->inputs[1]).name;
  const QuantizedModel model = Calibrated(4, graph);
  const auto module = QatModule::Create(graph, model.graph, model.plan);
  ASSERT_FALSE(module.ok());
  EXPECT_NE(module.status().message().find(weight), std::string::npos) << module.status();
  EXPECT_NE(module.status().message().find("shared by 2"), std::string::npos) << module.status();
}

TEST(QatModule, TheFirstAndTheLastLayerKeepTheirBits) {
  const QuantPlan plan = Module(Calibrated(2))->Plan();
  std::map<int, int> widths;
  for (const auto& [name, params] : plan.weights) ++widths[params.type.bits];
  EXPECT_EQ(widths[8], 2);
  EXPECT_EQ(widths[2], static_cast<int>(plan.weights.size()) - 2);
}

TEST(QatModule, WhatIsOnlyAddedKeepsItsBits) {
  const auto module = Module(Calibrated(2));
  const auto count = [&](int bits) {
    const auto activations = module->Plan().activations;
    return std::count_if(activations.begin(), activations.end(),
                         [bits](const auto& named) { return named.second.type.bits == bits; });
  };
  // The image, the classifier's input, and the results of three second convolutions and two
  // shortcuts.
  const auto wide = count(8);
  EXPECT_GE(wide, 2 + 5);
  module->ChangeBits({.weights = 2, .activations = 2, .end = 8, .sums = 3});
  EXPECT_EQ(count(3), 5);
  EXPECT_EQ(count(8), wide - 5);
}

TEST(QatModule, StepsStayPositiveWhateverTheOptimiserDoes) {
  const auto module = Module(Calibrated(4));
  const at::Tensor step = Parameter(*module, ".step").tensor;
  {
    const at::NoGradGuard no_grad;
    step.fill_(-1);
  }
  module->set_training(true);
  ASSERT_TRUE(module->Forward({Images(4, 1)}).ok());
  EXPECT_TRUE(step.eq(QatModule::kLeastStep).all().item<bool>());
  for (const auto& [name, params] : module->Plan().weights) EXPECT_GT(params.scales[0], 0);
}

TEST(QatModule, FewerBitsMoveStepsAndZeroPointsWithTheRange) {
  const auto module = Module(Calibrated(4));
  const QuantPlan before = module->Plan();
  module->ChangeBits({.weights = 2, .activations = 3, .end = 8});
  const QuantPlan after = module->Plan();
  int changed = 0;
  for (const auto& [name, params] : after.activations) {
    const QuantParams& old = before.activations.at(name);
    if (old.type.bits == 8) {
      EXPECT_EQ(params, old) << name;
      continue;
    }
    ++changed;
    EXPECT_EQ(params.type.bits, 3);
    EXPECT_FLOAT_EQ(params.scales[0], old.scales[0] * std::sqrt(15.0f / 7.0f));
    EXPECT_EQ(params.zero_points[0], std::lround(old.zero_points[0] * 7.0 / 15.0));
  }
  EXPECT_GT(changed, 5);
  for (const auto& [name, params] : after.weights) {
    EXPECT_EQ(params.type.bits, before.weights.at(name).type.bits == 8 ? 8 : 2) << name;
  }
  // What it computes now is again what is exported.
  const auto exported = InsertQdq(module->ExportGraph(), after);
  ASSERT_TRUE(exported.ok()) << exported.status();
  const at::Tensor images = Images(16, 5), run = Outputs(**GraphModule::Create(*exported), images);
  EXPECT_LT((run - Outputs(*module, images)).norm().item<double>(),
            1e-5 * run.norm().item<double>());
}

TEST(QatModule, UnderBf16TheRoundingIsStillThatOfFp32) {
  const auto module = Module(Calibrated(8));
  const QuantPlan plan = module->Plan();
  module->set_precision(Precision::kBFloat16);
  int seen = 0;
  module->set_value_transform([&](ValueId id, const at::Tensor& tensor) {
    const auto planned = plan.activations.find(module->graph().value(id).name);
    if (planned == plan.activations.end()) return at::Tensor();
    ++seen;
    EXPECT_EQ(tensor.scalar_type(), at::kFloat);
    // Whole multiples of the fp32 step.
    const at::Tensor codes =
        tensor.to(at::kDouble) / static_cast<double>(planned->second.scales[0]);
    EXPECT_LT((codes - codes.round()).abs().max().item<double>(), 1e-4) << planned->first;
    return at::Tensor();
  });
  Outputs(*module, Images(4, 2));
  EXPECT_GT(seen, 5);
}

TEST(QatModule, GroupsOfWeightsAreRefused) {
  QuantizedModel model = Calibrated(4);
  for (auto& [name, params] : model.plan.weights) params.group = 32;
  const auto module = QatModule::Create(Worn(), model.graph, model.plan);
  ASSERT_FALSE(module.ok());
  EXPECT_NE(module.status().message().find("group"), std::string::npos) << module.status();
}

TEST(SoftTargetLoss, IsTheDivergenceInClosedForm) {
  const at::Tensor student = at::tensor({1.0f, -2.0f, 0.5f, 3.0f}).reshape({2, 2}),
                   teacher = at::tensor({0.0f, 1.0f, 2.0f, -1.0f}).reshape({2, 2});
  const double t = 3;
  double expected = 0;
  for (int row = 0; row < 2; ++row) {
    const auto log_share = [&](const at::Tensor& logits, int i) {
      const double a = logits[row][0].item<double>() / t, b = logits[row][1].item<double>() / t;
      return (i == 0 ? a : b) - std::log(std::exp(a) + std::exp(b));
    };
    for (int i = 0; i < 2; ++i)
      expected += std::exp(log_share(teacher, i)) * (log_share(teacher, i) - log_share(student, i));
  }
  EXPECT_NEAR(SoftTargetLoss(student, teacher, t).item<double>(), t * t * expected / 2, 1e-6);
  EXPECT_NEAR(SoftTargetLoss(teacher, teacher, t).item<double>(), 0, 1e-7);
}

TEST(Distillation, WeighsTheLabelsLossAgainstTheTeacher) {
  const auto teacher = *GraphModule::Create(Network());
  const at::Tensor images = Images(8, 4), own = Outputs(*teacher, images),
                   loss = at::scalar_tensor(2.0f);
  Distillation half(*teacher, {.weight = 0.25, .temperature = 2});
  const auto same = half({images}, own, loss, Precision::kFloat32);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_NEAR(same->item<double>(), 1.5, 1e-5);
  const auto other = half({images}, own.flip(1), loss, Precision::kFloat32);
  EXPECT_NEAR(other->item<double>(),
              1.5 + 0.25 * SoftTargetLoss(own.flip(1), own, 2).item<double>(), 1e-5);
  EXPECT_FALSE(half({images}, own.slice(1, 0, 3), loss, Precision::kFloat32).ok());
}

}  // namespace
}  // namespace ds
