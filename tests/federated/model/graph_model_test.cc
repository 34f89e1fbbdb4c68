// Graphs to flat vectors and back: every zoo model with its statistics, through ONNX files.
#include "federated/model/graph_model.h"

#include <set>

#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

Graph Zoo(const std::string& name) {
  absl::StatusOr<Graph> graph = BuildModel(name, {.channels = 1, .height = 28, .width = 28});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

TEST(GraphModel, HoldsWhatTrainsAndTheStatisticsOfBatchNorms) {
  const Graph graph = Zoo("resnet8");
  const auto model = MakeGraphModel(graph);
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t parameters = 0, statistics = 0, variances = 0;
  for (const ModelSlot& slot : model->layout.slots) {
    (slot.kind == SlotKind::kParameter   ? parameters
     : slot.kind == SlotKind::kStatistic ? statistics
                                         : variances) += slot.count;
  }
  EXPECT_EQ(parameters, graph.ParameterCount());
  EXPECT_GT(statistics, 0);
  EXPECT_EQ(statistics, variances);
}

TEST(GraphModel, OtherWeightsGoThroughAFileAndBack) {
  const TempFolder folder;
  for (const char* name : {"lenet", "resnet8"}) {
    const auto model = MakeGraphModel(Zoo(name));
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<float> weights = model->Weights();
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i) / 64;
    const std::string path = folder.path() + "/" + name + ".onnx";
    ASSERT_TRUE(ExportOnnx(WithWeights(*model, weights), path).ok());
    const auto read = ReadGraphModel(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->Weights(), weights) << name;
    ASSERT_EQ(read->layout.slots.size(), model->layout.slots.size());
    for (size_t i = 0; i < model->layout.slots.size(); ++i) {
      EXPECT_EQ(read->layout.slots[i].name, model->layout.slots[i].name);
      EXPECT_EQ(read->layout.slots[i].kind, model->layout.slots[i].kind);
    }
  }
}

TEST(GraphModel, ExtraStatisticsAreZerosBehindTheGraphsOwnAndStayInTheFile) {
  const TempFolder folder;
  Graph graph = Zoo("lenet");
  const int64_t own = MakeGraphModel(graph)->layout.size();
  SetExtraStatistics({{"a.step", 3}, {"b.\"step\"", 1}}, graph);
  const std::string path = folder.path() + "/model.onnx";
  ASSERT_TRUE(ExportOnnx(graph, path).ok());
  const auto read = ReadGraphModel(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->layout.size(), own + 4);
  EXPECT_EQ(read->layout.slots.back().name, "b.\"step\"");
  EXPECT_EQ(read->layout.slots.back().kind, SlotKind::kStatistic);
  std::vector<float> weights = read->Weights();
  ASSERT_EQ(weights.size(), static_cast<size_t>(own + 4));
  for (size_t i = weights.size() - 4; i < weights.size(); ++i) EXPECT_EQ(weights[i], 0);
  weights[0] = 7;
  EXPECT_EQ(MakeGraphModel(WithWeights(*read, weights))->Weights()[0], 7);
}

TEST(GraphModel, ExtraStatisticsOfADamagedFileAreRefused) {
  for (const char* text :
       {"", "{}", "[3]", "[[\"a\"]]", "[[\"a\", -1]]", "[[\"a\", 0]]", "[[\"a\", 1.5]]", "[[3, 1]]",
        "[[\"a\", 18446744073709551615]]", "[[\"a\", 4294967295], [\"b\", 4294967295]]", "[[[["}) {
    Graph graph = Zoo("lenet");
    graph.metadata[kExtraStatistics] = text;
    EXPECT_EQ(MakeGraphModel(std::move(graph)).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(GraphModel, AGraphWithoutWeightsIsRefused) {
  Graph graph;
  graph.MarkOutput(graph.AddInput("x", DType::kFloat32, {1}));
  EXPECT_EQ(MakeGraphModel(std::move(graph)).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds::federated
