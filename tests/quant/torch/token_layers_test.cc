// Layers of tokens, as transformers have them: matrices with what follows them are Gemms that
// compute the same; what layer norms and Softmax read stays float, and so do averages of windows.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "graph/builder.h"
#include "graph/passes/matrices_to_gemms.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "gtest/gtest.h"
#include "quant/repair/norm_migration.h"
#include "quant/selection.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/quantizer.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/graph_runs.h"
#include "tests/quant/torch/small_net.h"

namespace ds {
namespace {

constexpr int64_t kTokens = 5, kWidth = 8;

// The ops that are left, after it was checked that the output is as before.
std::map<std::string, int> AfterMatricesToGemms(Graph graph, const at::Tensor& x) {
  const at::Tensor before = Computed(graph, x);
  const absl::Status status = MatricesToGemms(graph);
  EXPECT_TRUE(status.ok()) << status;
  const at::Tensor after = Computed(graph, x);
  EXPECT_EQ(before.sizes(), after.sizes());
  // Sums of at most 30 products.
  const double bound = 30 * 0x1p-24 * before.abs().max().item<double>();
  EXPECT_LT((before - after).abs().max().item<double>(), bound);
  return Ops(graph);
}

at::Tensor Tokens(int64_t count) {
  at::manual_seed(kSeed);
  return at::randn({count, kTokens, kWidth});
}

ValueId Input(Builder& b) { return b.Input("x", DType::kFloat32, {kDynamicDim, kTokens, kWidth}); }

// Numbers that are not alike, of about 1.
ValueId Numbers(Builder& b, const std::string& name, Shape shape, uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor drawn = at::rand({NumElements(shape).value()}) + 0.5;
  const float* first = drawn.data_ptr<float>();
  return b.Parameter(name, Tensor::From<float>(shape, {first, first + drawn.numel()}));
}

ValueId Matrix(Builder& b, ValueId x, const std::string& name, int64_t in, int64_t out) {
  return b.Op("MatMul", {x, Numbers(b, name, {in, out}, kSeed + in + out)});
}

ValueId NormOfRows(Builder& b, ValueId x, const std::string& name, int64_t channels) {
  std::vector<ValueId> inputs = {x};
  for (uint64_t i = 0; i < 4; ++i) {
    inputs.push_back(Numbers(b, name + std::to_string(i), {channels}, kSeed + i));
  }
  return b.Op("BatchNormalization", inputs);
}

TEST(MatricesToGemms, BiasesAndScalesOfChannelsGoIntoTheMatrix) {
  Builder b("biased", kSeed);
  ValueId y = Matrix(b, Input(b), "w", kWidth, 6);
  y = b.Add(Numbers(b, "bias", {6}, 3), y);
  y = b.Op("Div", {y, Numbers(b, "by", {1, 1, 6}, 4)});
  b.Output(b.Op("Sub", {y, b.Scalar(0.5f)}), "y");
  EXPECT_EQ(AfterMatricesToGemms(b.Finish().value(), Tokens(3)),
            (std::map<std::string, int>{{"Gemm", 1}, {"Reshape", 2}}));
}

// LeViT's layers: the norm of all rows between two Reshapes.
TEST(MatricesToGemms, ANormOfRowsBehindAReshapeGoesIntoTheMatrix) {
  Builder b("levit", kSeed);
  const ValueId y = b.Reshape(Matrix(b, Input(b), "w", kWidth, 6), {-1, 6});
  b.Output(b.Reshape(NormOfRows(b, y, "norm", 6), {-1, kTokens, 2, 3}), "y");
  EXPECT_EQ(AfterMatricesToGemms(b.Finish().value(), Tokens(3)),
            (std::map<std::string, int>{{"Gemm", 1}, {"Reshape", 2}}));
}

TEST(MatricesToGemms, ANormBehindALinearLayerGoesIntoIt) {
  Builder b("perceptron", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, kWidth});
  const ValueId weight = Numbers(b, "w", {6, kWidth}, 3);
  const ValueId y = b.Op("Gemm", {x, weight, Numbers(b, "bias", {6}, 4)}, {{"transB", int64_t{1}}});
  b.Output(NormOfRows(b, y, "norm", 6), "y");
  EXPECT_EQ(AfterMatricesToGemms(b.Finish().value(), Tokens(3).select(1, 0)),
            (std::map<std::string, int>{{"Gemm", 1}}));
}

TEST(MatricesToGemms, ActivationsWorkOnRows) {
  Builder b("perceptron of tokens", kSeed);
  ValueId y = b.Add(Matrix(b, Input(b), "a", kWidth, 6), Numbers(b, "c", {6}, 3));
  y = b.Op("LeakyRelu", {b.Op("Gelu", {y})});
  b.Output(b.Add(Matrix(b, y, "b", 6, 7), Numbers(b, "d", {7}, 3)), "y");
  EXPECT_EQ(
      AfterMatricesToGemms(b.Finish().value(), Tokens(3)),
      (std::map<std::string, int>{{"Gemm", 2}, {"Reshape", 2}, {"Gelu", 1}, {"LeakyRelu", 1}}));
}

TEST(MatricesToGemms, WhatIsNoConstantOfAChannelStays) {
  Builder b("apart", kSeed);
  // One number a token; a product that two read; a constant minus the result; a Reshape that takes
  // channels apart.
  ValueId y = b.Add(Matrix(b, Input(b), "a", kWidth, kWidth), Numbers(b, "t", {kTokens, 1}, 3));
  y = Matrix(b, y, "b", kWidth, kWidth);
  y = b.Add(b.Add(y, Numbers(b, "c", {kWidth}, 4)), y);
  y = b.Op("Sub", {b.Scalar(1.0f), Matrix(b, y, "d", kWidth, kWidth)});
  y = b.Reshape(Matrix(b, y, "e", kWidth, kWidth), {-1, kTokens * 2, 4});
  b.Output(b.Mul(y, Numbers(b, "f", {4}, 5)), "y");
  EXPECT_EQ(AfterMatricesToGemms(b.Finish().value(), Tokens(3)),
            (std::map<std::string, int>{
                {"MatMul", 4}, {"Add", 3}, {"Sub", 1}, {"Reshape", 1}, {"Mul", 1}}));
}

TEST(MatricesToGemms, AShapeWithTwoUnknownExtentsStays) {
  Builder b("text", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, kDynamicDim, kWidth});
  b.Output(b.Add(Matrix(b, x, "w", kWidth, 6), Numbers(b, "bias", {6}, 3)), "y");
  EXPECT_EQ(AfterMatricesToGemms(b.Finish().value(), Tokens(3)),
            (std::map<std::string, int>{{"MatMul", 1}, {"Add", 1}}));
}

// Two blocks of x + out(relu(in(norm(x)))), a constant added first; `outliers`: a few of the
// channels that are carried along are a hundred times the others, as trained transformers have
// them.
Graph Blocks(bool outliers) {
  Builder b("blocks", kSeed);
  std::vector<float> sizes(kWidth, 1.0f);
  if (outliers) sizes[2] = sizes[5] = 200.0f;
  ValueId x = b.Mul(Input(b), b.Constant("sizes", Tensor::From<float>({kWidth}, sizes)));
  for (const std::string block : {"first", "second"}) {
    const ValueId in = b.TokenLinear(b.LayerNorm(x, block + ".norm"), block + ".in", 16, 0.3);
    x = b.Add(x, b.TokenLinear(b.Relu(in), block + ".out", kWidth, 0.3));
  }
  b.Output(b.TokenLinear(b.LayerNorm(x, "norm"), "head", 4, 0.3), "y");
  return b.Finish().value();
}

TEST(TokenLayers, SumsBetweenLayerNormsStayFloat) {
  const auto model = Quantizer(Blocks(false), {}).calibrate(Batches({Tokens(16)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Ops(model->graph).at("Gemm"), 5);  // biases are theirs
  int rounded = 0;
  for (const Node& node : model->graph.nodes()) {
    const bool has = model->plan.activations.contains(model->graph.value(node.outputs[0]).name);
    if (node.op == "Add") {
      EXPECT_FALSE(has) << node.name;
    }
    if (node.op == "LayerNormalization" || node.op == "Relu") {
      EXPECT_TRUE(has) << node.name;
    }
    if (has) ++rounded;
  }
  EXPECT_EQ(rounded, 3 + 2 + 3);  // norms, clamps, and the norms' rows
}

// One scale for all channels of the sum would leave 255 codes for 200 and few for 1.
TEST(TokenLayers, ChannelsThatAreCarriedAlongMayBeLarge) {
  const Graph graph = Blocks(true);
  const at::Tensor x = Tokens(64);
  const auto model = Quantizer(graph, {}).calibrate(Batches({x})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  const auto error = RoundedOutputError(graph, model->graph, model->plan, {{x}});
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_LT(*error, 1e-3);  // 30 dB
}

// Rows of text have two unknown extents, and so their layers stay products and sums: of these ONNX
// Runtime would make a Gemm in float.
TEST(TokenLayers, AProductWithABiasOfItsOwnIsRoundedBeforeIt) {
  Builder b("text", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, kDynamicDim, kWidth});
  const ValueId product = Matrix(b, x, "w", kWidth, 6);
  const ValueId plain = Matrix(b, x, "v", kWidth, 6);
  const ValueId sum = b.Add(product, Numbers(b, "bias", {6}, 3));
  b.Output(b.LayerNorm(b.Add(sum, plain), "norm"), "y");
  const Graph graph = b.Finish().value();
  std::set<ValueId> rounded;
  for (const ActivationSite& site : SelectForQuantization(graph, true).activations) {
    rounded.insert(site.value);
  }
  EXPECT_EQ(rounded, (std::set<ValueId>{x, product}));
}

// Two products read one norm, two of whose channels are a hundred times the others; the products
// make up for that, as training does.
Graph UnlikeChannels(bool read_elsewhere) {
  Builder b("unlike", kSeed);
  std::vector<float> gamma(kWidth, 0.5f), beta(kWidth, 0.25f);
  gamma[1] = 60.0f;
  beta[6] = -80.0f;
  const ValueId norm = b.Op("LayerNormalization",
                            {Input(b), b.Parameter("gamma", Tensor::From<float>({kWidth}, gamma)),
                             b.Parameter("beta", Tensor::From<float>({kWidth}, beta))});
  const auto product = [&](const std::string& name, uint64_t seed) {
    at::manual_seed(seed);
    at::Tensor rows = at::randn({kWidth, 6});
    rows[1] *= 0.01;
    rows[6] *= 0.01;
    const float* first = rows.data_ptr<float>();
    return b.Op(
        "MatMul",
        {norm, b.Parameter(name, Tensor::From<float>({kWidth, 6}, {first, first + 6 * kWidth}))});
  };
  b.Output(b.Add(product("a", 3), product("b", 4)), "y");
  if (read_elsewhere) b.Output(b.Relu(norm), "z");
  Graph graph = b.Finish().value();
  EXPECT_TRUE(InferShapes(graph).ok());
  return graph;
}

TEST(NormMigration, TheFunctionStaysAndTheSpreadGoes) {
  Graph graph = UnlikeChannels(false);
  const at::Tensor x = Tokens(3), before = Computed(graph, x);
  const std::vector<MigratedNorm> migrated = MigrateNorms(graph);
  ASSERT_EQ(migrated.size(), 1u);
  EXPECT_GT(migrated[0].spread, 50);
  EXPECT_LT(NormSpread(graph), 1.01);
  const double bound = 30 * 0x1p-24 * before.abs().max().item<double>();
  EXPECT_LT((Computed(graph, x) - before).abs().max().item<double>(), bound);
}

TEST(NormMigration, ANormThatSomethingElseReadsStays) {
  Graph graph = UnlikeChannels(true);
  EXPECT_TRUE(MigrateNorms(graph).empty());
  EXPECT_EQ(NormSpread(graph), 1);
}

TEST(NormMigration, ItIsTakenWhereItHelps) {
  const Graph graph = UnlikeChannels(false);
  const at::Tensor x = Tokens(64);
  std::map<std::string, double> errors;
  for (const std::string equalization : {"off", "auto"}) {
    const auto model = Quantizer(graph, {.equalization = equalization, .least_snr_db = 0})
                           .calibrate(Batches({x}))
                           .convert();
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->equalized, equalization == "auto");
    const auto error = RoundedOutputError(graph, model->graph, model->plan, {{x}});
    ASSERT_TRUE(error.ok()) << error.status();
    errors[equalization] = *error;
  }
  EXPECT_LT(errors["auto"], errors["off"] / 10) << errors["auto"] << " " << errors["off"];
}

// One product for queries, keys and values, split, scaled by a constant, multiplied by one another.
TEST(TokenLayers, AttentionHasIntegersButForItsSoftmax) {
  Builder b("attention", kSeed);
  const ValueId all = b.TokenLinear(Input(b), "qkv", 24);
  const auto part = [&](int64_t from) {
    return b.Op("Slice", {all, b.Ints({from}), b.Ints({from + 8}), b.Ints({2})});
  };
  const ValueId scaled = b.Mul(part(0), b.Scalar(0.35f));
  const ValueId scores = b.Op("MatMul", {scaled, b.Transpose(part(8), {0, 2, 1})});
  const ValueId weights = b.Op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.Op("MatMul", {weights, part(16)});
  b.Output(b.TokenLinear(mixed, "out", 4), "y");
  const Graph graph = b.Finish().value();
  const auto model = Quantizer(graph, {}).calibrate(Batches({Tokens(16)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  const auto has = [&](ValueId id) {
    return model->plan.activations.contains(graph.value(id).name);
  };
  for (const ValueId id : {all, scaled, weights, mixed}) EXPECT_TRUE(has(id)) << id;
  EXPECT_FALSE(has(scores));
}

// Tokens that are nearly the same weigh the same, exact ones; rounded ones differ by whole steps,
// and a few of them take all. Where the range held the even weights alone, most of each sum was cut
// off.
TEST(TokenLayers, SharesHaveRoomForWhatRoundingMakesOfThem) {
  Builder b("even", kSeed);
  const ValueId x = Input(b);
  const ValueId scores =
      b.Op("MatMul", {Matrix(b, x, "q", kWidth, kWidth),
                      b.Transpose(Matrix(b, x, "k", kWidth, kWidth), {0, 2, 1})});
  const ValueId scaled = b.Mul(scores, b.Scalar(0.004f));
  const ValueId weights = b.Op("Softmax", {scaled}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.Op("MatMul", {weights, Matrix(b, x, "v", kWidth, kWidth)});
  b.Output(b.TokenLinear(mixed, "out", 4), "y");
  const Graph graph = b.Finish().value();
  at::manual_seed(kSeed);
  const at::Tensor tokens =
      at::randn({32, 1, kWidth}) * 40 + at::randn({32, kTokens, kWidth}) * 0.02;
  const auto model = Quantizer(graph, {.least_snr_db = 0}).calibrate(Batches({tokens})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  const QuantParams& params = model->plan.activations.at(graph.value(weights).name);
  EXPECT_GT(params.scales[0] * 255, 0.5f);  // exact weights are 1/5
  const auto error = RoundedOutputError(model->calibrated, model->graph, model->plan, {{tokens}});
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_LT(*error, 0.001);
}

TEST(TokenLayers, AveragesOfWindowsAreFloatAtInferenceOnly) {
  Builder b("pools", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const ValueId sum = b.Add(b.Conv(x, "a", {.channels = 4}), b.Conv(x, "b", {.channels = 4}));
  const ValueId pool = b.AveragePool(sum, {.kernel = 2, .stride = 2});
  b.Output(b.AveragePool(b.Conv(pool, "c", {.channels = 4}), {.kernel = 2, .stride = 2}), "y");
  const Graph graph = b.Finish().value();
  for (const bool for_runtime : {false, true}) {
    std::map<ValueId, size_t> readers;
    for (const ActivationSite& site : SelectForQuantization(graph, for_runtime).activations) {
      readers[site.value] = site.readers.size();
    }
    // The sum is rounded either way: behind the window a convolution multiplies it.
    EXPECT_EQ(readers.at(sum), for_runtime ? 0u : 1u);
    EXPECT_EQ(readers.at(pool), 1u);
    EXPECT_EQ(readers.contains(graph.outputs()[0]), !for_runtime);
  }
}

}  // namespace
}  // namespace ds
