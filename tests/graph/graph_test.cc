#include "graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// x -> Relu a -> Relu b -> y
struct Chain {
  Graph graph;
  ValueId x, middle, y;

  Chain() {
    x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 3});
    middle = graph.AddValue("middle");
    y = graph.AddValue("y");
    graph.AddNode(
        {.name = "a", .op = "Relu", .inputs = {x}, .outputs = {middle}, .attributes = {}});
    graph.AddNode(
        {.name = "b", .op = "Relu", .inputs = {middle}, .outputs = {y}, .attributes = {}});
    graph.MarkOutput(y);
  }
};

std::string ValidationError(const Graph& graph) {
  const absl::Status status = graph.Validate();
  EXPECT_FALSE(status.ok());
  return std::string(status.message());
}

TEST(GraphTest, TakenAndEmptyNamesAreMadeUnique) {
  Graph graph;
  const ValueId a = graph.AddValue("x");
  const ValueId b = graph.AddValue("x");
  const ValueId c = graph.AddValue("");
  EXPECT_EQ(graph.value(a).name, "x");
  EXPECT_NE(graph.value(b).name, "x");
  EXPECT_FALSE(graph.value(c).name.empty());
  EXPECT_EQ(graph.FindValue(graph.value(b).name), b);
  EXPECT_EQ(graph.FindValue("nothing"), kNoValue);
}

TEST(GraphTest, RenamingFreesTheOldName) {
  Chain chain;
  chain.graph.RenameValue(chain.middle, "centre");
  EXPECT_EQ(chain.graph.FindValue("centre"), chain.middle);
  EXPECT_EQ(chain.graph.FindValue("middle"), kNoValue);
  EXPECT_DEATH(chain.graph.RenameValue(chain.middle, "y"), "taken");
}

TEST(GraphTest, ProducersAndConsumersAreFound) {
  Chain chain;
  EXPECT_EQ(chain.graph.Producer(chain.x), -1);
  EXPECT_EQ(chain.graph.Producer(chain.y), 1);
  EXPECT_THAT(chain.graph.Consumers(chain.middle), ElementsAre(1));
  EXPECT_TRUE(chain.graph.Consumers(chain.y).empty());
}

TEST(GraphTest, ReplacingUsesReachesNodesAndOutputs) {
  Chain chain;
  chain.graph.ReplaceUses(chain.y, chain.middle);
  EXPECT_THAT(chain.graph.outputs(), ElementsAre(chain.middle));
  chain.graph.ReplaceUses(chain.middle, chain.x);
  EXPECT_THAT(chain.graph.nodes()[1].inputs, ElementsAre(chain.x));
}

TEST(GraphTest, SortingPutsProducersFirstAndKeepsARightOrder) {
  Chain chain;
  std::swap(chain.graph.mutable_nodes()[0], chain.graph.mutable_nodes()[1]);
  EXPECT_THAT(ValidationError(chain.graph), HasSubstr("SortTopologically"));
  ASSERT_TRUE(chain.graph.SortTopologically().ok());
  EXPECT_EQ(chain.graph.nodes()[0].name, "a");
  EXPECT_TRUE(chain.graph.Validate().ok());
  ASSERT_TRUE(chain.graph.SortTopologically().ok());
  EXPECT_EQ(chain.graph.nodes()[0].name, "a");
}

TEST(GraphTest, SortingNamesANodeOnACycle) {
  Chain chain;
  chain.graph.mutable_nodes()[0].inputs = {chain.y};
  const absl::Status status = chain.graph.SortTopologically();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cycle through node 'a'"));
}

TEST(GraphTest, ParametersAreTheTrainableElements) {
  Graph graph;
  EXPECT_EQ(graph.ParameterCount(), 0);
  graph.AddInitializer("w", Tensor(DType::kFloat32, {3, 5}), true);
  graph.AddInitializer("mean", Tensor(DType::kFloat32, {7}), false);
  EXPECT_EQ(graph.ParameterCount(), 15);
}

TEST(GraphTest, AttributesFallBackToDefaults) {
  Node node{.name = "n",
            .op = "Relu",
            .inputs = {},
            .outputs = {},
            .attributes = {{"axis", int64_t{3}}, {"list", std::vector<int64_t>{1, 2}}}};
  EXPECT_EQ(node.GetInt("axis", 7), 3);
  EXPECT_EQ(node.GetInt("other", 7), 7);
  EXPECT_EQ(node.GetFloat("other", 0.5f), 0.5f);
  EXPECT_THAT(node.GetInts("list", {}), ElementsAre(1, 2));
  EXPECT_DEATH(node.GetFloat("axis", 0.0f), "another type");
}

TEST(GraphValidateTest, NamesWhatIsWrongAndWhere) {
  {
    Chain c;
    c.graph.mutable_nodes()[1].op = "Frobnicate";
    EXPECT_EQ(c.graph.Validate().code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(ValidationError(c.graph),
                testing::AllOf(HasSubstr("'b'"), HasSubstr("Frobnicate")));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].name = "a";
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("unique"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].inputs = {99};
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("has id 99"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].inputs = {kNoValue};
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("required but absent"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].outputs = {c.middle};
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("written already"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].inputs = {c.middle, c.x};
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("has 2 inputs"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].attributes["slope"] = 0.5f;
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("unknown attribute 'slope'"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].op = "Softmax";
    c.graph.mutable_nodes()[1].attributes["axis"] = 0.5f;
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("must be int"));
  }
  {
    Chain c;
    c.graph.mutable_nodes()[1].op = "Concat";
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("lacks the attribute 'axis'"));
  }
  {
    Chain c;
    c.graph.mutable_outputs().clear();
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("no outputs"));
  }
  {
    Chain c;
    c.graph.MarkOutput(c.graph.AddValue("loose"));
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("loose"));
  }
  {
    Chain c;
    c.graph.mutable_inputs().push_back(c.x);
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("listed twice"));
  }
  {
    Chain c;
    const ValueId w = c.graph.AddInitializer("w", Tensor(DType::kFloat32, {3}), true);
    c.graph.mutable_value(w).dtype = DType::kInt64;
    EXPECT_THAT(ValidationError(c.graph), HasSubstr("initialiser 'w' holds"));
  }
}

}  // namespace
}  // namespace ds
