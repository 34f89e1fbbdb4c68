// What gated graphs compute: at first what the ungated ones do, and always what they would with
// closed channels left out. The executor is the oracle; it knows nothing of gates.
#include <map>
#include <random>
#include <string>

#include "ATen/Functions.h"
#include "executor/graph_module.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "prune/channel_gates.h"
#include "tests/executor/graph_outputs.h"

namespace ds {
namespace {

constexpr int64_t kSide = 32;

// Two gated convolutions, one behind the other, and a reader of two groups behind a pool.
absl::StatusOr<Graph> Chain() {
  Builder b("chain", 7);
  ValueId x = b.Input("input", DType::kFloat32, {kDynamicDim, 3, kSide, kSide});
  x = b.Relu(b.BatchNorm(b.Conv(x, "a", {.channels = 8, .stride = 2}), "an"));
  x = b.Relu(b.BatchNorm(b.Conv(x, "b", {.channels = 12}), "bn"));
  x = b.Conv(b.MaxPool(x, {}), "c", {.channels = 6, .groups = 2});
  b.Output(b.Linear(b.Flatten(x), "fc", 5), "y");
  return b.Finish();
}

// With norms and biases that matter.
Graph Network(const std::string& name) {
  auto graph = name == "chain"
                   ? Chain()
                   : BuildModel(name, {.channels = 3, .height = kSide, .width = kSide, .seed = 7});
  EXPECT_TRUE(graph.ok()) << graph.status();
  std::mt19937_64 random(11);
  std::uniform_real_distribution<float> near_one(0.5f, 1.5f);
  for (const Node& node : graph->nodes()) {
    if (node.op != "BatchNormalization") continue;
    for (size_t slot = 1; slot <= 4; ++slot) {
      Tensor& data = graph->mutable_initializers().at(node.inputs[slot]).data;
      for (float& x : data.mutable_span<float>())
        x = near_one(random) - (slot == 2 || slot == 3 ? 1 : 0);
    }
  }
  return *std::move(graph);
}

at::Tensor Images(int64_t count) {
  at::manual_seed(5);
  return at::randn({count, 3, kSide, kSide});
}

class GatedExecution : public ::testing::TestWithParam<const char*> {};

TEST_P(GatedExecution, GatesOfOneWithoutWeightsChangeNoBit) {
  const Graph plain = Network(GetParam());
  Graph gated = plain;
  ASSERT_TRUE(AddChannelGates(gated, {.weight_scale = 0, .bias = 1}).ok());
  const at::Tensor images = Images(5);
  EXPECT_TRUE(at::equal(Outputs(plain, images), Outputs(gated, images)));
  Graph halved = plain;
  ASSERT_TRUE(AddChannelGates(halved, {.weight_scale = 0, .bias = 0.5}).ok());
  EXPECT_FALSE(at::equal(Outputs(plain, images), Outputs(halved, images))) << "gates must count";
}

// A gated graph whose gates differ from image to image and are 0 for about half.
Graph HalfShut(const std::string& name) {
  Graph graph = Network(name);
  EXPECT_TRUE(AddChannelGates(graph, {.weight_scale = 4, .bias = 1e-3, .seed = 9}).ok());
  return graph;
}

// Fills what belongs to `channel` along `axis` of an initialiser.
void Fill(Graph& graph, ValueId id, int64_t axis, int64_t channel, float number) {
  Tensor& data = graph.mutable_initializers().at(id).data;
  data = data.Clone();
  ToTorch(data).select(axis, channel).fill_(number);
}

// At once or behind a pool.
bool Reads(const Graph& graph, const Node& node, const ChannelGate& gate) {
  if (node.inputs[0] == gate.gated) return true;
  const int maker = graph.Producer(node.inputs[0]);
  if (maker < 0) return false;
  const Node& pool = graph.nodes()[static_cast<size_t>(maker)];
  return pool.op == "MaxPool" && pool.inputs[0] == gate.gated;
}

// The weights by which a convolution of one or more groups meets input channel `channel`.
void FillInput(Graph& graph, const Node& node, int64_t channel, float number) {
  Tensor& data = graph.mutable_initializers().at(node.inputs[1]).data;
  data = data.Clone();
  const int64_t groups = node.GetInt("group", 1), inputs = data.dim(1),
                outputs = data.dim(0) / groups;
  const int64_t group = channel / inputs;
  ToTorch(data)
      .slice(0, group * outputs, (group + 1) * outputs)
      .select(1, channel % inputs)
      .fill_(number);
}

// For one image at a time: closed channels' filters and readers' weights are replaced by other
// numbers, and the result keeps its bits. So neither need be computed.
TEST_P(GatedExecution, ClosedChannelsNeedNotBeComputed) {
  const Graph gated = HalfShut(GetParam());
  const std::vector<ChannelGate> gates = FindChannelGates(gated);
  double zeros = 0, all = 0;
  for (int64_t n = 0; n < 3; ++n) {
    const at::Tensor image = Images(3).slice(0, n, n + 1);
    auto module = GraphModule::Create(gated);
    ASSERT_TRUE(module.ok());
    std::map<ValueId, at::Tensor> saliency;
    (*module)->set_value_observer([&](ValueId id, const at::Tensor& value) {
      for (const ChannelGate& gate : gates) {
        if (gate.saliency == id) saliency[id] = value.flatten().clone();
      }
    });
    const at::Tensor expected = Outputs(**module, image);
    Graph changed = gated;
    for (const ChannelGate& gate : gates) {
      const at::Tensor& s = saliency.at(gate.saliency);
      all += static_cast<double>(s.numel());
      for (int64_t c = 0; c < s.numel(); ++c) {
        if (s[c].item<float>() != 0) continue;
        zeros += 1;
        for (const Node& node : gated.nodes()) {
          if (node.op != "Conv") continue;
          if (node.name == gate.conv) Fill(changed, node.inputs[1], 0, c, 3.0f);
          if (Reads(gated, node, gate)) FillInput(changed, node, c, -2.0f);
        }
      }
    }
    EXPECT_TRUE(at::equal(Outputs(changed, image), expected)) << "image " << n;
  }
  EXPECT_GT(zeros / all, 0.2);
  EXPECT_LT(zeros / all, 0.8);
}

INSTANTIATE_TEST_SUITE_P(Networks, GatedExecution, ::testing::Values("resnet8", "lenet", "chain"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace ds
