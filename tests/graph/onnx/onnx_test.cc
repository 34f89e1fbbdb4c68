#include "graph/onnx/onnx.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "tests/support/save_under_faults.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

Graph Build(const std::string& name) {
  absl::StatusOr<Graph> graph = BuildModel(name, {.channels = 1, .height = 28, .width = 28});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

std::string Export(const Graph& graph, OnnxExportOptions options = {}) {
  absl::StatusOr<std::string> bytes = ExportOnnxToBytes(graph, options);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return *std::move(bytes);
}

Graph Import(const std::string& bytes) {
  absl::StatusOr<Graph> graph = ImportOnnxFromBytes(bytes, "memory");
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

// y = op(x), x of shape [?, 4].
Graph OneNode(const std::string& op, Attributes attributes = {}) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId y = graph.AddValue("y");
  graph.AddNode(
      {.name = "node", .op = op, .inputs = {x}, .outputs = {y}, .attributes = attributes});
  graph.MarkOutput(y);
  return graph;
}

TEST(OnnxTest, TheSameGraphGivesTheSameBytes) {
  EXPECT_EQ(Export(Build("resnet8")), Export(Build("resnet8")));
}

TEST(OnnxTest, ARoundTripKeepsParametersAndWhatTrains) {
  for (const char* name : {"lenet", "resnet8", "mobilenet_v3_small", "vit_tiny"}) {
    const Graph before = Build(name);
    const Graph after = Import(Export(before));
    EXPECT_EQ(after.ParameterCount(), before.ParameterCount()) << name;
    EXPECT_EQ(after.nodes().size(), before.nodes().size()) << name;
    for (const auto& [id, initializer] : before.initializers()) {
      const ValueId found = after.FindValue(before.value(id).name);
      if (!initializer.trainable) continue;
      ASSERT_TRUE(after.IsInitializer(found)) << before.value(id).name;
      EXPECT_TRUE(after.initializers().at(found).trainable) << before.value(id).name;
      EXPECT_EQ(after.Constant(found)->bytes(), initializer.data.bytes()) << before.value(id).name;
    }
  }
}

TEST(OnnxTest, RunningStatisticsDoNotTrain) {
  const Graph graph = Import(Export(Build("resnet8")));
  int norms = 0;
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization") continue;
    ++norms;
    EXPECT_TRUE(graph.initializers().at(node.inputs[1]).trainable);
    EXPECT_FALSE(graph.initializers().at(node.inputs[3]).trainable);
    EXPECT_FALSE(graph.initializers().at(node.inputs[4]).trainable);
  }
  EXPECT_GT(norms, 0);
}

TEST(OnnxTest, WhatOpset17LacksIsFusedAgainOnImport) {
  for (const auto& [op, attributes] : std::vector<std::pair<std::string, Attributes>>{
           {"SiLU", {}}, {"HardSwish", {}}, {"Gelu", {}}}) {
    for (const int opset : {13, 17, 20}) {
      const Graph graph = Import(Export(OneNode(op, attributes), {.opset = opset}));
      ASSERT_EQ(graph.nodes().size(), 1u) << op << " by opset " << opset;
      EXPECT_EQ(graph.nodes()[0].op, op);
      EXPECT_TRUE(graph.initializers().empty()) << op;
    }
  }
}

TEST(OnnxTest, MetadataSurvives) {
  Graph graph = OneNode("Relu");
  graph.metadata = {{"author", "A. Nonymous"}, {"empty", ""}};
  EXPECT_EQ(Import(Export(graph)).metadata, graph.metadata);
}

TEST(OnnxTest, NamesOfInputsAndOutputsSurvive) {
  Graph graph = OneNode("SiLU");
  // What decomposition would like to call its own value.
  graph.RenameValue(graph.outputs()[0], "node.Sigmoid");
  const Graph after = Import(Export(graph));
  EXPECT_EQ(after.value(after.inputs()[0]).name, "x");
  EXPECT_EQ(after.value(after.outputs()[0]).name, "node.Sigmoid");
}

TEST(OnnxTest, UnknownExtentsStayUnknown) {
  const Graph graph = Import(Export(OneNode("Relu")));
  EXPECT_EQ(*graph.value(graph.inputs()[0]).shape, (Shape{kDynamicDim, 4}));
  EXPECT_EQ(*graph.value(graph.outputs()[0]).shape, (Shape{kDynamicDim, 4}));
}

TEST(OnnxTest, TheFileHasTheLeastOpsetThatHoldsItsConstants) {
  Graph graph = OneNode("Relu");
  Tensor nibbles(DType::kInt4, {3});
  nibbles.mutable_data()[0] = std::byte{0x8f};
  nibbles.mutable_data()[1] = std::byte{0x07};
  graph.MarkOutput(graph.AddInitializer("q", nibbles, false));
  for (const int asked : {17, 21, 22}) {
    int written = 0;
    const auto bytes = ExportOnnxToBytes(graph, {.opset = asked}, &written);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(written, std::max(asked, 21));
    const Graph after = Import(*bytes);
    EXPECT_EQ(after.Constant(after.FindValue("q"))->bytes(), nibbles.bytes());
  }
}

TEST(OnnxTest, OpsetsThatCannotBeWrittenAreRefused) {
  for (const int opset : {-1, 0, 12, 29, 1000}) {
    const absl::Status status = ExportOnnxToBytes(OneNode("Relu"), {.opset = opset}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("13 to 28"));
  }
}

TEST(OnnxTest, OperatorsRaiseTheOpset) {
  int written = 0;
  ASSERT_TRUE(ExportOnnxToBytes(Build("vit_tiny"), {.opset = 16}, &written).ok());
  EXPECT_EQ(written, 17);  // LayerNormalization
  ASSERT_TRUE(ExportOnnxToBytes(OneNode("Mish"), {.opset = 13}, &written).ok());
  EXPECT_EQ(written, 18);
  ASSERT_TRUE(ExportOnnxToBytes(OneNode("Gelu"), {.opset = 13}, &written).ok());
  EXPECT_EQ(written, 13) << "what can be decomposed is";
}

TEST(OnnxTest, WhatNoOpsetTakesIsRefusedByNodeAndType) {
  Graph graph = OneNode("Relu");
  const ValueId q = graph.AddInitializer("q", Tensor(DType::kInt4, {4}), false);
  const ValueId out = graph.AddValue("joined");
  graph.AddNode({.name = "joiner",
                 .op = "Concat",
                 .inputs = {q, q},
                 .outputs = {out},
                 .attributes = {{"axis", int64_t{0}}}});
  graph.MarkOutput(out);
  const absl::Status status = ExportOnnxToBytes(graph).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("\"joiner\" (Concat)"));
  EXPECT_THAT(status.message(), HasSubstr("int4"));
}

TEST(OnnxTest, FilesAreWrittenAndRead) {
  const std::string path = ::testing::TempDir() + "/onnx_test.onnx";
  const Graph graph = Build("lenet");
  ASSERT_TRUE(ExportOnnx(graph, path).ok());
  const absl::StatusOr<Graph> after = ImportOnnx(path);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->ParameterCount(), graph.ParameterCount());
}

// x + constant.
Graph Added(const std::vector<float>& constant, bool trainable) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId c =
      graph.AddInitializer("block.bias", Tensor::From<float>({4}, constant), trainable);
  const ValueId y = graph.AddValue("y");
  graph.AddNode({.name = "node", .op = "Add", .inputs = {x, c}, .outputs = {y}});
  graph.MarkOutput(y);
  return graph;
}

TEST(OnnxTest, AMaskOfInfinitiesIsNoWeight) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Import(Export(Added({0, 1, 2, 3}, true))).ParameterCount(), 4);
  const Graph masked = Import(Export(Added({0, -kInf, 0, -kInf}, false)));
  EXPECT_EQ(masked.ParameterCount(), 0);
  EXPECT_TRUE(ExportOnnxToBytes(masked).ok()) << "a mask is sound";
}

TEST(OnnxTest, WeightsThatAreLostAreNotWritten) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const std::string path = ::testing::TempDir() + "/lost.onnx";
    std::remove(path.c_str());
    const absl::Status added = ExportOnnx(Added({0, bad, 0, bad}, true), path);
    EXPECT_EQ(added.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(added.message(),
                HasSubstr("weight 'block.bias' holds NaN or Inf in 2 of its 4 values"));
    EXPECT_FALSE(std::ifstream(path).good());
    Graph graph = Build("resnet8");
    for (auto& [id, initializer] : graph.mutable_initializers()) {
      if (initializer.trainable) continue;
      if (initializer.data.dtype() != DType::kFloat32) continue;
      initializer.data.mutable_span<float>()[0] = bad;
      EXPECT_FALSE(ExportOnnxToBytes(graph).ok()) << "a statistic is a weight";
      break;
    }
  }
}

TEST(OnnxTest, TheOldModelOrTheNewOneIsThereWhateverFails) {
  const Graph graph = OneNode("Relu");
  SaveUnderFaults(Export(Build("lenet")), Export(graph),
                  [&](const std::string& path) { return ExportOnnx(graph, path); });
}

TEST(OnnxTest, AnAbsentFileIsNotFound) {
  EXPECT_EQ(ImportOnnx("/nowhere/model.onnx").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(ExportOnnx(OneNode("Relu"), "/nowhere/model.onnx").ok());
}

TEST(OnnxTest, EveryPrefixOfAModelIsRefused) {
  const std::string bytes = Export(OneNode("Relu"));
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto graph = ImportOnnxFromBytes(bytes.substr(0, length), "prefix");
    if (graph.ok()) {
      // Only a cut after the graph, before the opset, could parse; it lacks the opset.
      ADD_FAILURE() << "a prefix of " << length << " of " << bytes.size() << " bytes was taken";
    } else {
      EXPECT_THAT(graph.status().message(), HasSubstr("prefix"));
    }
  }
}

}  // namespace
}  // namespace ds
