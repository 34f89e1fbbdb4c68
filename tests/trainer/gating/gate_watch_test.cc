#include "trainer/gating/gate_watch.h"

#include <cmath>
#include <limits>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "graph/builder.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// [N, C] images' saliencies, some of them 0, and their spread in double precision.
struct Case {
  std::vector<std::vector<double>> s;

  double Spread() const {
    double sum = 0;
    for (const std::vector<double>& row : s) {
      const auto [m, q] = Norms(row);
      sum += m / q;
    }
    return sum / static_cast<double>(s.size());
  }
  double Gradient(size_t n, size_t c) const {
    const auto [m, q] = Norms(s[n]);
    return (1 / q - m * s[n][c] / (q * q * q)) / static_cast<double>(s[n].size() * s.size());
  }
  at::Tensor Tensor() const {
    at::Tensor t =
        at::empty({static_cast<int64_t>(s.size()), static_cast<int64_t>(s[0].size()), 1, 1});
    for (size_t n = 0; n < s.size(); ++n) {
      for (size_t c = 0; c < s[n].size(); ++c)
        t[static_cast<int64_t>(n)][static_cast<int64_t>(c)] = s[n][c];
    }
    return t;
  }

 private:
  static std::pair<double, double> Norms(const std::vector<double>& row) {
    double m = 0, q = 0;
    for (const double x : row) {
      m += x;
      q += x * x;
    }
    const auto count = static_cast<double>(row.size());
    return {m / count, std::sqrt(q / count + 1e-12)};
  }
};

const Case kCase = {{{1, 0.5, 0, 2, 0.25}, {0, 0, 3, 0, 0}, {0.7, 0.7, 0.7, 0.7, 0.7}}};
// A few roundings of sums of five numbers.
constexpr double kTolerance = 16 * std::numeric_limits<float>::epsilon();

TEST(SaliencySpread, IsTheMeanOverImagesOfL1OverL2) {
  EXPECT_NEAR(SaliencySpread(kCase.Tensor()).item<double>(), kCase.Spread(), kTolerance);
  EXPECT_NEAR(SaliencySpread(kCase.Tensor().slice(0, 2, 3)).item<double>(), 1, kTolerance);
  EXPECT_NEAR(SaliencySpread(kCase.Tensor().slice(0, 1, 2)).item<double>(), std::sqrt(0.2),
              kTolerance);
}

TEST(SaliencySpread, DoesNotKnowTheScale) {
  EXPECT_NEAR(SaliencySpread(kCase.Tensor() * 100).item<double>(), kCase.Spread(), kTolerance);
}

TEST(SaliencySpread, HasTheGradientThatTheHeaderGives) {
  const at::Tensor s = kCase.Tensor().set_requires_grad(true);
  SaliencySpread(s).backward();
  for (size_t n = 0; n < kCase.s.size(); ++n) {
    for (size_t c = 0; c < kCase.s[n].size(); ++c) {
      const double gradient =
          s.grad()[static_cast<int64_t>(n)][static_cast<int64_t>(c)].item<double>();
      EXPECT_NEAR(gradient, kCase.Gradient(n, c), kTolerance) << n << ", " << c;
    }
  }
}

TEST(SaliencySpread, ALayerWithEveryGateShutHasAFiniteGradient) {
  const at::Tensor s = at::zeros({2, 3, 1, 1}).set_requires_grad(true);
  const at::Tensor spread = SaliencySpread(s);
  spread.backward();
  EXPECT_EQ(spread.item<double>(), 0);
  EXPECT_TRUE(s.grad().isfinite().all().item<bool>());
}

// Two gated convolutions of 3 and 6 channels.
Graph TwoGates() {
  Builder b("two", 3);
  ValueId x = b.Input("input", DType::kFloat32, {kDynamicDim, 2, 5, 5});
  x = b.Relu(b.Conv(x, "a", {.channels = 3, .bias = true}));
  x = b.Relu(b.Conv(x, "b", {.channels = 6, .bias = true}));
  b.Output(b.Conv(x, "c", {.channels = 1}), "y");
  auto graph = b.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(AddChannelGates(*graph, {.weight_scale = 3, .bias = 0.05}).ok());
  return *std::move(graph);
}

TEST(GateWatch, AddsUpTheLayersByTheirChannelsAndCountsZeros) {
  const Graph graph = TwoGates();
  const auto module = GraphModule::Create(graph);
  ASSERT_TRUE(module.ok()) << module.status();
  const std::vector<ChannelGate> gates = FindChannelGates(graph);
  ASSERT_EQ(gates.size(), 2u);
  const GateWatch watch(**module, gates);
  EXPECT_FALSE(watch.Penalty().defined());
  at::manual_seed(1);
  const at::Tensor images = at::rand({4, 2, 5, 5});
  // Twice: nothing of the first pass may be left in the second.
  for (int pass = 0; pass < 2; ++pass) ASSERT_TRUE((*module)->Forward({images}).ok());
  const at::Tensor penalty = watch.Penalty();
  const GateCount count = watch.LastCount();
  EXPECT_EQ(count.gates, 4 * 9);

  double expected = 0, zeros = 0;
  (*module)->set_value_observer([&](ValueId id, const at::Tensor& value) {
    for (const ChannelGate& gate : gates) {
      if (gate.saliency != id) continue;
      expected += SaliencySpread(value).item<double>() * static_cast<double>(gate.channels) / 9;
      zeros += value.eq(0).sum().item<double>();
    }
  });
  ASSERT_TRUE((*module)->Forward({images}).ok());
  EXPECT_NEAR(penalty.item<double>(), expected, kTolerance);
  EXPECT_EQ(count.zeros, zeros);
  EXPECT_GT(zeros, 0);
  EXPECT_LT(zeros, 36);
  penalty.backward();
  for (const NamedTensor& parameter : (*module)->parameters()) {
    if (parameter.name.find(".gate.") == std::string::npos) continue;
    EXPECT_GT(parameter.tensor.grad().abs().max().item<double>(), 0) << parameter.name;
  }
}

TEST(GateWatch, CountsWithoutGradientToo) {
  const auto module = GraphModule::Create(TwoGates());
  ASSERT_TRUE(module.ok());
  GateWatch watch(**module, FindChannelGates((*module)->graph()));
  const at::NoGradGuard no_grad;
  ASSERT_TRUE((*module)->Forward({at::rand({3, 2, 5, 5})}).ok());
  watch.StartCounting();
  for (int pass = 0; pass < 2; ++pass)
    ASSERT_TRUE((*module)->Forward({at::rand({3, 2, 5, 5})}).ok());
  EXPECT_EQ(watch.Counted().gates, 2 * 3 * 9);
  EXPECT_FALSE(watch.Penalty().defined());
}

TEST(GateWatch, MayGoBeforeItsModule) {
  const auto module = GraphModule::Create(TwoGates());
  ASSERT_TRUE(module.ok());
  { const GateWatch watch(**module, FindChannelGates((*module)->graph())); }
  EXPECT_TRUE((*module)->Forward({at::rand({1, 2, 5, 5})}).ok());
}

}  // namespace
}  // namespace ds
