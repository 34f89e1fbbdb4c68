// Arenas of whole networks, drawn at random and of the zoo: plans are valid (the compiler opens
// what it writes as the runtime does), near their bound, and another order of steps changes no bit.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "graph/zoo/zoo.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileOptions;
using engine::compile::CompileReport;
using engine::compile::PlanStory;

PlanStory PlanOf(const Graph& graph, const CompileOptions& options = {}) {
  CompileReport report;
  const auto bytes = CompileModel(graph, options, &report);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? report.plans.at(0) : PlanStory{};
}

bool NearBound(const PlanStory& plan) {
  return plan.least || static_cast<double>(plan.arena_bytes) <=
                           1.02 * static_cast<double>(plan.arena_bound_bytes);
}

void ExpectNearBound(const PlanStory& plan) {
  EXPECT_GT(plan.arena_bytes, 0);
  EXPECT_LE(plan.arena_bytes, plan.unplanned_bytes);
  EXPECT_TRUE(NearBound(plan)) << plan.arena_bytes << " of at least " << plan.arena_bound_bytes
                               << ", " << plan.way;
}

// Branches, joins by sums and by concatenation, element-wise chains that work in place, and pools
// that halve the image; whatever nobody reads in the end is joined to one output.
Graph RandomNetwork(uint32_t seed) {
  std::mt19937 random(seed);
  Builder builder("random");
  struct Node {
    ValueId id;
    int64_t channels, side;
    bool read = false;
  };
  std::vector<Node> nodes = {{builder.Input("x", DType::kFloat32, {1, 3, 16, 16}), 3, 16}};
  const auto draw = [&](size_t bound) { return random() % bound; };
  const auto add = [&](ValueId id, int64_t channels, int64_t side) {
    nodes.push_back({id, channels, side});
  };
  const auto other_like = [&](size_t one, bool channels_too) {
    std::vector<size_t> fit;
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (i != one && nodes[i].side == nodes[one].side &&
          (!channels_too || nodes[i].channels == nodes[one].channels))
        fit.push_back(i);
    }
    return fit.empty() ? one : fit[draw(fit.size())];
  };
  const int steps = 6 + static_cast<int>(draw(18));
  for (int i = 0; i < steps; ++i) {
    // Rather a new one, but any.
    const size_t at = draw(2) == 0 ? nodes.size() - 1 : draw(nodes.size());
    Node& from = nodes[at];
    from.read = true;
    const auto [id, channels, side, read] = from;
    const std::string name = "c" + std::to_string(i);
    switch (draw(6)) {
      case 0:
      case 1: {
        const auto out = 1 + static_cast<int64_t>(draw(24));
        add(builder.Conv(id, name, {.channels = out, .kernel = draw(2) == 0 ? 1 : 3}), out, side);
        break;
      }
      case 2:
        add(builder.Op(draw(2) == 0 ? "Tanh" : "Sigmoid", {id}), channels, side);
        break;
      case 3: {
        const size_t with = other_like(at, true);
        nodes[with].read = true;
        add(draw(2) == 0 ? builder.Add(id, nodes[with].id) : builder.Mul(id, nodes[with].id),
            channels, side);
        break;
      }
      case 4: {
        const size_t with = other_like(at, false);
        nodes[with].read = true;
        add(builder.Concat({id, nodes[with].id}, 1), channels + nodes[with].channels, side);
        break;
      }
      default:
        if (side < 4) break;
        add(builder.MaxPool(id, {.kernel = 2, .stride = 2}), channels, side / 2);
    }
  }
  std::vector<ValueId> ends;
  for (const Node& node : nodes) {
    if (!node.read) ends.push_back(builder.GlobalAveragePool(node.id));
  }
  builder.Output(ends.size() == 1 ? ends[0] : builder.Concat(ends, 1), "y");
  absl::StatusOr<Graph> graph = builder.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

TEST(ArenasTest, RandomNetworksAreNearTheirBoundOrProven) {
  int reordered = 0, near = 0;
  constexpr int kNetworks = 80;
  for (uint32_t seed = 1; seed <= kNetworks; ++seed) {
    SCOPED_TRACE(seed);
    const Graph graph = RandomNetwork(seed);
    CompileOptions as_written;
    as_written.passes.reorder_steps = false;
    const PlanStory plan = PlanOf(graph), before = PlanOf(graph, as_written);
    ExpectNearBound(before);
    EXPECT_LE(plan.arena_bytes, before.arena_bytes);
    near += NearBound(plan);
    if (plan.arena_bytes == before.arena_bytes) continue;
    ++reordered;
    const Numbers input = SomeNumbers({1, 3, 16, 16});
    const auto got = RunEngine(graph, {input}), wanted = RunEngine(graph, {input}, as_written);
    ASSERT_EQ(got.size(), 1u);
    ASSERT_EQ(wanted.size(), 1u);
    EXPECT_EQ(got[0].values, wanted[0].values);
  }
  EXPECT_GT(reordered, kNetworks / 10);
  // Another order has a lower bound of its own, which its plan, smaller in any case, may miss.
  EXPECT_GE(near, kNetworks - 2);
  std::printf("%d networks, %d reordered, %d of the plans near their bound or proven least\n",
              kNetworks, reordered, near);
}

TEST(ArenasTest, NetworksOfTheZoo) {
  for (const char* name : {"resnet20", "mobilenet_v2", "vit_tiny"}) {
    SCOPED_TRACE(name);
    const auto graph = BuildModel(name, {.height = 32, .width = 32});
    ASSERT_TRUE(graph.ok()) << graph.status();
    ExpectNearBound(PlanOf(*graph));
  }
}

TEST(ArenasTest, ATransformersIsFortyPercentBelowOneBufferATensor) {
  const auto graph = BuildModel("gpt_nano", {.classes = 50, .sequence_length = 64});
  ASSERT_TRUE(graph.ok()) << graph.status();
  const PlanStory plan = PlanOf(*graph);
  ExpectNearBound(plan);
  EXPECT_LE(static_cast<double>(plan.arena_bytes), 0.6 * static_cast<double>(plan.unplanned_bytes));
}

}  // namespace
}  // namespace ds::testing
