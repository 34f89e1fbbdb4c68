// Shapes and refusals of recurrent layers, transposed convolutions, indexed reads and writes,
// Einsum and detection.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/builder.h"
#include "graph/schema/schema.h"
#include "graph/schema/structured/transposed_window.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<int64_t>;
constexpr int64_t kAny = kDynamicDim;

// An operator over inputs of these shapes; an index operand is int64.
struct Case {
  std::string op;
  std::vector<Shape> inputs;
  Attributes attributes = {};
  int index_input = -1;
  std::string expected = {};  // words of the refusal
};

absl::StatusOr<Graph> Build(const Case& c, int outputs) {
  Graph graph;
  Node node{.name = "node", .op = c.op, .attributes = c.attributes};
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const bool index = static_cast<int>(i) == c.index_input;
    node.inputs.push_back(graph.AddInput("x" + std::to_string(i),
                                         index ? DType::kInt64 : DType::kFloat32, c.inputs[i]));
  }
  for (int i = 0; i < outputs; ++i) {
    node.outputs.push_back(graph.AddValue("y" + std::to_string(i)));
    graph.MarkOutput(node.outputs.back());
  }
  graph.AddNode(node);
  const absl::Status inferred = InferShapes(graph);
  if (!inferred.ok()) return inferred;
  return graph;
}

std::vector<Shape> Shapes(const Case& c, int outputs = 1) {
  const auto graph = Build(c, outputs);
  EXPECT_TRUE(graph.ok()) << graph.status();
  std::vector<Shape> shapes;
  for (int i = 0; graph.ok() && i < outputs; ++i) {
    shapes.push_back(*graph->value(graph->outputs()[i]).shape);
  }
  return shapes;
}

TEST(StructuredSchemaTest, RecurrentLayersFollowStepsAndBatch) {
  const Case lstm{"LSTM",
                  {{kAny, kAny, 4}, {2, 24, 4}, {2, 24, 6}},
                  {{"direction", std::string("bidirectional")}}};
  EXPECT_EQ(Shapes(lstm, 3), (std::vector<Shape>{{kAny, 2, kAny, 6}, {2, kAny, 6}, {2, kAny, 6}}));
  EXPECT_EQ(Shapes({"GRU", {{5, 3, 4}, {1, 18, 4}, {1, 18, 6}}}, 2),
            (std::vector<Shape>{{5, 1, 3, 6}, {1, 3, 6}}));
}

TEST(StructuredSchemaTest, TransposedConvolutionsGrow) {
  const auto out = [](Shape x, Attributes attributes) {
    return Shapes({"ConvTranspose", {x, {4, 3, 3, 3}}, std::move(attributes)})[0];
  };
  const Ints two = {2, 2};
  EXPECT_EQ(out({1, 4, 5, 6}, {{"strides", two}}), (Shape{1, 3, 11, 13}));
  EXPECT_EQ(out({1, 4, 5, 6}, {{"strides", two}, {"auto_pad", std::string("SAME_UPPER")}}),
            (Shape{1, 3, 10, 12}));
  EXPECT_EQ(out({kAny, 4, kAny, 6}, {{"strides", two}}), (Shape{kAny, 3, kAny, 13}));
  EXPECT_EQ(out({1, 4, kAny, 6}, {{"output_shape", Ints{9, 14}}, {"strides", two}}),
            (Shape{1, 3, 9, 14}));
  EXPECT_EQ(out({1, 4, 5, 6}, {{"group", int64_t{2}}})[1], 6);
}

TEST(StructuredSchemaTest, AnUnknownExtentKeepsThePads) {
  Node node{
      .op = "ConvTranspose",
      .attributes = {{"pads", Ints{1, 2}}, {"output_padding", Ints{1}}, {"strides", Ints{2}}}};
  const auto window = ResolveTransposedWindow(node, {3}, {kAny});
  ASSERT_TRUE(window.ok()) << window.status();
  EXPECT_EQ(window->crop_begin, Ints{1});
  EXPECT_EQ(window->crop_end, Ints{1});
  EXPECT_EQ(window->output, Ints{kAny});
}

TEST(StructuredSchemaTest, IndexedReadsHaveTheShapeOfTheirIndices) {
  EXPECT_EQ(Shapes({"GatherND", {{3, 4, 5}, {7, 2}}, {}, 1})[0], (Shape{7, 5}));
  EXPECT_EQ(Shapes({"GatherND", {{kAny, 4, 5}, {kAny, 7, 1}}, {{"batch_dims", int64_t{1}}}, 1})[0],
            (Shape{kAny, 7, 5}));
  EXPECT_EQ(Shapes({"GatherElements", {{3, 4}, {3, 9}}, {{"axis", int64_t{-1}}}, 1})[0],
            (Shape{3, 9}));
  EXPECT_EQ(Shapes({"ScatterND", {{3, 4, 5}, {7, 2}, {7, 5}}, {}, 1})[0], (Shape{3, 4, 5}));
}

TEST(StructuredSchemaTest, EinsumReadsItsEquation) {
  const auto einsum = [](const char* equation, std::vector<Shape> shapes) {
    return Shapes({"Einsum", std::move(shapes), {{"equation", std::string(equation)}}})[0];
  };
  EXPECT_EQ(einsum("bij, bjk -> bik", {{kAny, 3, 4}, {kAny, 4, 5}}), (Shape{kAny, 3, 5}));
  EXPECT_EQ(einsum("...ij,...jk", {{2, 1, 3, 4}, {5, 4, 6}}), (Shape{2, 5, 3, 6}));
  EXPECT_EQ(einsum("ba", {{3, 4}}), (Shape{4, 3}));
  EXPECT_EQ(einsum("ii->", {{4, 4}}), Shape{});
}

class StructuredRefusal : public testing::TestWithParam<Case> {};

TEST_P(StructuredRefusal, SaysWhatDoesNotFit) {
  const auto graph = Build(GetParam(), 1);
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr(GetParam().expected));
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("'node'"));
}

std::vector<Case> Refusals() {
  const std::vector<Shape> rnn = {{5, 3, 4}, {1, 6, 4}, {1, 6, 6}};
  const std::vector<Shape> conv = {{1, 4, 5, 5}, {4, 3, 3, 3}};
  const auto text = [](const char* key, const char* value) {
    return Attributes{{key, std::string(value)}};
  };
  return {
      {"RNN", rnn, text("direction", "sideways"), -1, "direction"},
      {"RNN", rnn, {{"hidden_size", int64_t{5}}}, -1, "hidden_size"},
      {"RNN", rnn, {{"clip", 3.0F}}, -1, "'clip' is not supported"},
      {"RNN", rnn, {{"activations", std::vector<std::string>{"Affine"}}}, -1, "'Affine'"},
      {"RNN", rnn, {{"activations", std::vector<std::string>{"Tanh", "Tanh"}}}, -1, "2 names"},
      {"RNN", {{5, 3, 4}, {1, 6, 7}, {1, 6, 6}}, {}, -1, "W (input 1)"},
      {"GRU", rnn, {}, -1, "must be [1, 18, 4]"},
      {"LSTM", {{5, 4}, {1, 24, 4}, {1, 24, 6}}, {}, -1, "three axes"},
      {"ConvTranspose", {{1, 3, 5, 5}, {4, 3, 3, 3}}, {}, -1, "3 channels"},
      {"ConvTranspose", conv, {{"group", int64_t{3}}}, -1, "3 groups"},
      {"ConvTranspose", conv, {{"group", int64_t{0}}}, -1, "'group'"},
      {"ConvTranspose", conv, {{"pads", Ints{9, 9, 9, 9}}}, -1, "pads leave"},
      {"ConvTranspose", conv, {{"strides", Ints{0, 1}}}, -1, "'strides'"},
      {"ConvTranspose", conv, {{"output_shape", Ints{9}}}, -1, "'output_shape'"},
      {"ConvTranspose", conv, {{"kernel_shape", Ints{2, 2}}}, -1, "'kernel_shape'"},
      {"ConvTranspose", conv, text("auto_pad", "SAME"), -1, "'auto_pad'"},
      {"GatherND", {{3, 4}, {7, 3}}, {}, 1, "name 3 axes"},
      {"GatherND", {{3, 4}, {7, 2}}, {}, -1, "must be int64 or int32"},
      {"GatherND", {{3, 4}, {2, 7, 1}}, {{"batch_dims", int64_t{1}}}, 1, "batch axis 0"},
      {"GatherND", {{3, 4}, {7, 2}}, {{"batch_dims", int64_t{2}}}, 1, "batch axes"},
      {"GatherElements", {{3, 4}, {5, 4}}, {{"axis", int64_t{1}}}, 1, "does not fit data"},
      {"ScatterND", {{3, 4}, {7, 1}, {7, 5}}, {}, 1, "must be [7, 4]"},
      {"ScatterND", {{3, 4}, {7, 1}, {7, 4}}, text("reduction", "mean"), 1, "'reduction'"},
      {"ScatterElements", {{3, 4}, {3, 2}, {3, 3}}, {}, 1, "shape of the indices"},
      {"Einsum", {{3, 4}, {5, 6}}, text("equation", "ij,jk"), -1, "axis 'j'"},
      {"Einsum", {{3, 4}}, text("equation", "ij,jk"), -1, "2 terms for 1"},
      {"Einsum", {{3, 4}}, text("equation", "i1"), -1, "letters"},
      {"Einsum", {{3, 4}}, text("equation", "ijk"), -1, "names 3 axes"},
      {"Einsum", {{3, 4}}, text("equation", "ij->k"), -1, "'k'"},
      {"NonMaxSuppression", {{1, 9, 4}, {1, 2, 8}}, {}, -1, "[batch, boxes, 4]"},
      {"RoiAlign", {{1, 2, 8, 8}, {5, 4}, {6}}, {}, 2, "[regions]"},
      {"RoiAlign", {{1, 2, 8, 8}, {5, 4}, {5}}, text("mode", "max"), 2, "only avg"},
      {"RoiAlign", {{1, 2, 8, 8}, {5, 4}, {5}}, {{"output_width", int64_t{0}}}, 2, "output_width"},
  };
}

INSTANTIATE_TEST_SUITE_P(All, StructuredRefusal, testing::ValuesIn(Refusals()),
                         [](const auto& info) {
                           return info.param.op + std::to_string(info.index);
                         });

}  // namespace
}  // namespace ds
