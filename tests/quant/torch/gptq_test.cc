// Roundings that make up for each other: against brute force, closed forms, and nearest rounding on
// pictures not seen.
#include "quant/torch/reconstruction/gptq.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "deploy/insert_qdq.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/reconstruction/layer_columns.h"
#include "quant/torch/reconstruction/nearest_plane.h"
#include "quant/torch/reconstruction/shrunk_covariance.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/graph_runs.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 20261129;

// Of rows of errors.
double Distance(const at::Tensor& off, const at::Tensor& covariance) {
  const at::Tensor exact = off.to(at::kDouble);
  return exact.matmul(covariance.to(at::kDouble)).mul(exact).sum().item<double>();
}

// [n, n], of `n` neighbours: the covariance falls by `ratio` a step.
at::Tensor Neighbours(int64_t n, double ratio) {
  const at::Tensor at = at::arange(n, at::kDouble);
  return at::pow(at::scalar_tensor(ratio, at::kDouble), (at.unsqueeze(1) - at).abs())
      .to(at::kFloat);
}

TEST(NearestPlane, RoundsWhatDoesNotResembleAnythingToTheNearest) {
  at::manual_seed(kSeed);
  const at::Tensor steps = at::randn({5, 200}) * 20;
  const at::Tensor codes = NearestPlane(steps, at::diag(at::rand({200}) + 0.1), -32, 31);
  EXPECT_TRUE(codes.equal(steps.round().clamp(-32, 31)));
}

// 3^4 integers about each of the reals: the plane is the best of them or close to it, and nearer
// than rounding.
TEST(NearestPlane, IsCloseToTheBestOfAll) {
  at::manual_seed(kSeed);
  const at::Tensor covariance = Neighbours(4, 0.8), steps = at::randn({50, 4}) * 5;
  const at::Tensor codes = NearestPlane(steps, covariance, -128, 127);
  double plane = 0, nearest = 0, best = 0;
  for (int64_t row = 0; row < steps.size(0); ++row) {
    double least = 1e9;
    for (int choice = 0; choice < 81; ++choice) {
      at::Tensor at = steps[row].round();
      for (int i = 0, rest = choice; i < 4; ++i, rest /= 3) at[i] += rest % 3 - 1;
      least = std::min(least, Distance((at - steps[row]).unsqueeze(0), covariance));
    }
    best += least;
    plane += Distance((codes[row] - steps[row]).unsqueeze(0), covariance);
    nearest += Distance((steps[row].round() - steps[row]).unsqueeze(0), covariance);
  }
  EXPECT_LT(plane, 0.8 * nearest);
  EXPECT_LT(plane, 1.3 * best);
}

// More columns than are rounded at a time, and clipped ones among them.
TEST(NearestPlane, ColumnsOfOtherBlocksMakeUpForEachOtherToo) {
  at::manual_seed(kSeed);
  const int64_t n = 300;
  const at::Tensor mixing = at::randn({20, n});
  const at::Tensor covariance = mixing.t().matmul(mixing) / 20 + 0.01 * at::eye(n);
  at::Tensor steps = at::randn({8, n}) * 10;
  steps.narrow(1, 100, 50).zero_();
  steps[0][7] = 60;
  const at::Tensor codes = NearestPlane(steps, covariance, -31, 31);
  EXPECT_EQ(codes.abs().max().item<float>(), 31);
  EXPECT_TRUE(codes.equal(codes.round()));
  EXPECT_EQ(codes.narrow(1, 100, 50).ne(0).sum().item<int64_t>(), 0) << "pruned weights stay zero";
  // Chance leaves each of 20 directions n errors of 1/12; the plane, next to nothing.
  const at::Tensor off = codes - steps, nearest = steps.round().clamp(-31, 31) - steps;
  EXPECT_LT(Distance(off.slice(0, 1), covariance), 0.1 * Distance(nearest.slice(0, 1), covariance));
}

TEST(NearestPlane, RoundsPlainlyByWhatIsNoCovariance) {
  const at::Tensor steps = at::tensor({0.4f, 1.6f}).unsqueeze(0);
  const at::Tensor codes = NearestPlane(steps, -at::eye(2), -8, 7);
  EXPECT_TRUE(codes.equal(at::tensor({0.0f, 2.0f}).unsqueeze(0)));
}

// Ledoit and Wolf's formula, sample by sample in double.
TEST(ShrunkCovariance, IsTheClosedForm) {
  at::manual_seed(kSeed);
  const int64_t samples = 6, rows = 5, positions = 3;
  const at::Tensor columns =
      at::randn({samples, 2, rows, positions}) * at::arange(1, 6).reshape({1, 1, 5, 1}) + 2;
  const at::Tensor shrunk = ShrunkCovariance(columns);
  for (int64_t g = 0; g < 2; ++g) {
    const at::Tensor x = columns.select(1, g).to(at::kDouble);
    const at::Tensor mean = x.mean({0, 2}).unsqueeze(1);
    std::vector<at::Tensor> own;
    at::Tensor all = at::zeros({rows, rows}, at::kDouble);
    for (int64_t k = 0; k < samples; ++k) {
      own.push_back((x[k] - mean).matmul((x[k] - mean).t()) / double{positions});
      all += own.back() / double{samples};
    }
    double chance = 0;
    for (const at::Tensor& one : own)
      chance += (one - all).square().sum().item<double>() / double{samples * samples};
    const double scale = all.trace().item<double>() / double{rows};
    const at::Tensor identity = scale * at::eye(rows, at::kDouble);
    const double share = std::min(1.0, chance / (all - identity).square().sum().item<double>());
    EXPECT_GT(share, 0.05);
    EXPECT_LT(share, 0.95);
    EXPECT_LT((shrunk[g] - (share * identity + (1 - share) * all)).abs().max().item<double>(),
              1e-4 * scale);
  }
}

TEST(ShrunkCovariance, OneSampleOrNoVarianceTellsNothing) {
  at::manual_seed(kSeed);
  const at::Tensor one = ShrunkCovariance(at::randn({1, 1, 4, 50}));
  EXPECT_LT((one[0] - one[0][0][0] * at::eye(4)).abs().max().item<double>(), 1e-6);
  EXPECT_TRUE(ShrunkCovariance(at::full({3, 1, 4, 2}, 7.0f))[0].equal(at::eye(4)));
}

// A convolution is its weights times the columns.
TEST(LayerColumns, TimesTheWeightsTheyAreTheLayersOutputs) {
  at::manual_seed(kSeed);
  Builder b("layer", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 6, 9, 7});
  b.Output(
      b.Conv(x, "conv",
             {.channels = 4, .kernel = 3, .stride = 2, .padding = 2, .groups = 2, .dilation = 2}),
      "y");
  const Graph graph = *b.Finish();
  const Node& node = graph.nodes()[0];
  const Tensor& weight = *graph.Constant(node.inputs[1]);
  const at::Tensor images = at::randn({3, 6, 9, 7});
  const at::Tensor columns = LayerColumns(node, weight.shape(), images, 3, 1 << 20);
  const at::Tensor wanted = Computed(graph, images);
  ASSERT_TRUE(columns.defined());
  const at::Tensor rows = ToTorch(weight).reshape({2, 2, -1});  // groups, outputs, inputs
  EXPECT_LT((at::matmul(rows, columns).reshape(wanted.sizes()) - wanted).abs().max().item<float>(),
            1e-4f);
  // Fewer positions: some of those, of all parts of the picture.
  const at::Tensor some = LayerColumns(node, weight.shape(), images, 3, 3 * 54 * 5);
  EXPECT_EQ(some.sizes(), at::IntArrayRef({3, 2, 27, 5}));
}

TEST(LayerColumns, RowsOfAMatrixBelongToTheirSamples) {
  at::manual_seed(kSeed);
  Node node;
  node.op = "MatMul";
  const at::Tensor tokens = at::randn({2 * 5, 8});  // five of each sample
  const at::Tensor columns = LayerColumns(node, {8, 3}, tokens, 2, 1 << 20);
  EXPECT_EQ(columns.sizes(), at::IntArrayRef({2, 1, 8, 5}));
  EXPECT_TRUE(columns[1][0].t().equal(tokens.narrow(0, 5, 5)));
  EXPECT_FALSE(LayerColumns(node, {9, 3}, tokens, 2, 1 << 20).defined());
  EXPECT_FALSE(LayerColumns(node, {8, 3}, tokens, 3, 1 << 20).defined());
}

// Blocks of RepVGG as they are run: the identity is among a convolution's small weights and takes
// most of their scale, so that rounding to the nearest leaves them few codes.
Graph ReparameterisedBlocks() {
  Builder b("blocks", kSeed);
  at::manual_seed(kSeed);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 16, 16, 16});
  for (int block = 0; block < 3; ++block) {
    const std::string name = "conv" + std::to_string(block);
    x = b.Relu(b.Conv(x, name, {.channels = 16, .kernel = 3, .bias = true}));
  }
  b.Output(b.Conv(x, "head", {.channels = 4, .kernel = 1}), "y");
  Graph graph = b.Finish().value();
  for (const Node& node : graph.nodes()) {
    if (node.op != "Conv" || graph.Constant(node.inputs[1])->dim(2) != 3) continue;
    at::Tensor weight = at::randn({16, 16, 3, 3}) * 0.05;
    for (int64_t c = 0; c < 16; ++c) weight[c][c][1][1] += 2;
    graph.mutable_initializers().at(node.inputs[1]).data = FromTorch(weight).value();
  }
  return graph;
}

// Smooth, as pictures are.
at::Tensor Pictures(int64_t count, uint64_t seed) {
  at::manual_seed(seed);
  return at::avg_pool2d(at::randn({count, 16, 20, 20}), {5, 5}, {1, 1}) * 5;
}

struct Outcome {
  double error = 0;
  QuantizedModel model;
};

Outcome Quantised(const Graph& graph, const std::string& method) {
  QuantizerOptions options = {.reconstruction = {.method = method}};
  auto model = Quantizer(graph, options).calibrate(Batches({Pictures(16, kSeed)})).convert();
  EXPECT_TRUE(model.ok()) << model.status();
  const auto placed = InsertQdq(model->graph, model->plan);
  EXPECT_TRUE(placed.ok()) << placed.status();
  const at::Tensor test = Pictures(16, kSeed + 1);
  const at::Tensor off = Computed(*placed, test) - Computed(graph, test);
  return {off.to(at::kDouble).square().mean().item<double>(), *std::move(model)};
}

// Of 8 bits, by default, as exported, on pictures that were not calibrated on.
TEST(Gptq, TheExportedNetworkIsNearerToTheFloatOne) {
  const Graph graph = ReparameterisedBlocks();
  const Outcome nearest = Quantised(graph, "none"), chosen = Quantised(graph, "auto");
  EXPECT_LT(chosen.error, 0.7 * nearest.error);
  EXPECT_EQ(Quantised(graph, "gptq").error, chosen.error);
  EXPECT_TRUE(nearest.model.units.empty());
  ASSERT_EQ(chosen.model.units.size(), 4u);
  int64_t flipped = 0;
  for (const UnitReconstruction& layer : chosen.model.units) {
    EXPECT_LE(layer.error, layer.nearest_error) << layer.last;
    flipped += layer.flipped;
  }
  EXPECT_GT(flipped, 0);
}

// Nothing is known of inputs that no second sample shows, of blocks' scales, and of a weight's
// other readers.
TEST(Gptq, LayersThatItDoesNotKnowStayAsTheyAre) {
  const Graph graph = ReparameterisedBlocks();
  const QuantSelection selection = SelectForQuantization(graph);
  QuantPlan plan;
  for (const WeightSite& site : selection.weights) {
    plan.weights[graph.value(site.weight).name] = {.type = {.bits = 4, .is_signed = true},
                                                   .axis = 0,
                                                   .scales = std::vector<float>(16, 0.3f),
                                                   .zero_points = std::vector<int32_t>(16, 0)};
  }
  plan.weights.erase(graph.value(selection.weights.back().weight).name);
  const auto changed = [&](const InputBatches& batches, size_t layers) {
    Graph rounded = graph;
    const auto units = RoundByGptq(rounded, selection, plan, batches);
    EXPECT_TRUE(units.ok()) << units.status();
    EXPECT_EQ(units->size(), layers);
    int64_t count = 0;
    for (const WeightSite& site : selection.weights)
      count +=
          !ToTorch(*rounded.Constant(site.weight)).equal(ToTorch(*graph.Constant(site.weight)));
    return count;
  };
  EXPECT_EQ(changed({{Pictures(4, kSeed)}}, 3), 3);
  EXPECT_EQ(changed({{Pictures(1, kSeed)}}, 0), 0);
  EXPECT_EQ(changed({}, 0), 0);
  for (auto& [name, params] : plan.weights) params.group = 32;
  EXPECT_EQ(changed({{Pictures(4, kSeed)}}, 0), 0);
}

}  // namespace
}  // namespace ds
