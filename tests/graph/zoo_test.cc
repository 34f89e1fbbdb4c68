#include "graph/zoo/zoo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "graph/builder.h"
#include "graph/initialization.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Graph Build(const std::string& name, const ModelOptions& options) {
  auto graph = BuildModel(name, options);
  EXPECT_TRUE(graph.ok()) << name << ": " << graph.status();
  return graph.ok() ? *std::move(graph) : Graph();
}

int64_t TotalMacs(const Graph& graph) {
  int64_t sum = 0;
  for (const Node& node : graph.nodes()) sum += MultiplyAccumulates(graph, node);
  return sum;
}

ModelOptions ImageNet() { return {.channels = 3, .height = 224, .width = 224, .classes = 1000}; }

struct Known {
  const char* name;
  ModelOptions options;
  int64_t parameters;
  double giga_macs;  // 0: not compared
};

class ZooCounts : public ::testing::TestWithParam<Known> {};

TEST_P(ZooCounts, MatchThePublishedNetworks) {
  const Known& known = GetParam();
  const Graph graph = Build(known.name, known.options);
  EXPECT_EQ(graph.ParameterCount(), known.parameters);
  if (known.giga_macs > 0) {
    EXPECT_NEAR(TotalMacs(graph) / 1e9, known.giga_macs, 0.01 * known.giga_macs);
  }
}

// ImageNet numbers are torchvision's. resnet20: the paper's 269,722 with parameter-free shortcuts,
// and two projections with batch norm: 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64.
INSTANTIATE_TEST_SUITE_P(
    Published, ZooCounts,
    ::testing::Values(Known{"resnet18", ImageNet(), 11'689'512, 1.814},
                      Known{"resnet50", ImageNet(), 25'557'032, 4.089},
                      Known{"mobilenet_v2", ImageNet(), 3'504'872, 0.3008},
                      Known{"mobilenet_v3_small", ImageNet(), 2'542'856, 0.0565},
                      Known{"mobilenet_v3_large", ImageNet(), 5'483'032, 0.2166},
                      Known{"resnet20", {}, 269'722 + 512 + 64 + 2048 + 128, 0.0412},
                      // LeNet-5 on 28x28 grey images, by hand: 156 + 2416 + 48120 + 10164 + 850.
                      Known{"lenet", {.channels = 1, .height = 28, .width = 28}, 61'706, 0.0},
                      Known{"mlp",
                            {.channels = 1, .height = 28, .width = 28},
                            784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10,
                            0.0}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ZooTest, ResNetsOfCifarDifferByWholeBlocks) {
  // A block of width w has 2 * 9 * w^2 weights and 4 * w batch norm parameters; n grows by 1 each 6
  // layers.
  const int64_t per_n = 18 * (16 * 16 + 32 * 32 + 64 * 64) + 4 * (16 + 32 + 64);
  const int64_t twenty = Build("resnet20", {}).ParameterCount();
  EXPECT_EQ(Build("resnet8", {}).ParameterCount(), twenty - 2 * per_n);
  EXPECT_EQ(Build("resnet32", {}).ParameterCount(), twenty + 2 * per_n);
  EXPECT_EQ(Build("resnet56", {}).ParameterCount(), twenty + 6 * per_n);
}

TEST(ZooTest, EveryModelBuildsForGreySmallImagesOrSaysWhatItNeeds) {
  for (const std::string& name : ModelNames()) {
    const ModelOptions options{.channels = 1,
                               .height = 28,
                               .width = 28,
                               .classes = 7,
                               .sequence_length = 13,
                               .dropout = 0.1,
                               .seed = 3};
    auto graph = BuildModel(name, options);
    if (name == "yolo_nano") {
      EXPECT_THAT(std::string(graph.status().message()), HasSubstr("multiples of 32"));
      continue;
    }
    ASSERT_TRUE(graph.ok()) << name << ": " << graph.status();
    ASSERT_TRUE(graph->Validate().ok()) << graph->Validate();
    ASSERT_EQ(graph->inputs().size(), 1u);
    EXPECT_EQ(graph->value(graph->inputs()[0]).name, "input");
    ASSERT_EQ(graph->outputs().size(), 1u);
    const Value& out = graph->value(graph->outputs()[0]);
    EXPECT_EQ(out.name, "logits");
    const Shape expected = name == "gpt_nano" ? Shape{kDynamicDim, 13, 7} : Shape{kDynamicDim, 7};
    EXPECT_EQ(out.shape, expected) << name;
  }
}

TEST(ZooTest, DetectorGivesThreeScales) {
  const Graph graph = Build("yolo_nano", {.height = 96, .width = 64, .classes = 4});
  ASSERT_EQ(graph.outputs().size(), 3u);
  EXPECT_EQ(graph.value(graph.FindValue("p3")).shape, (Shape{kDynamicDim, 27, 12, 8}));
  EXPECT_EQ(graph.value(graph.FindValue("p4")).shape, (Shape{kDynamicDim, 27, 6, 4}));
  EXPECT_EQ(graph.value(graph.FindValue("p5")).shape, (Shape{kDynamicDim, 27, 3, 2}));
}

TEST(ZooTest, WeightsAreAFunctionOfSeedAndName) {
  const Graph a = Build("resnet8", {.seed = 5});
  const Graph b = Build("resnet8", {.seed = 5});
  const Graph c = Build("resnet8", {.seed = 6});
  int differing = 0;
  for (const auto& [id, initializer] : a.initializers()) {
    EXPECT_EQ(initializer.data.bytes(), b.Constant(id)->bytes()) << a.value(id).name;
    differing += initializer.data.bytes() != c.Constant(id)->bytes();
  }
  EXPECT_GT(differing, 0);
  // The same layer in a deeper network starts from the same bits.
  const Graph deep = Build("resnet20", {.seed = 5});
  const std::string name = "layer1.0.conv1.weight";
  EXPECT_EQ(a.Constant(a.FindValue(name))->bytes(), deep.Constant(deep.FindValue(name))->bytes());
}

TEST(ZooTest, ConvolutionsStartWithHesVariance) {
  const Graph graph = Build("resnet18", ImageNet());
  const Tensor* weight = graph.Constant(graph.FindValue("layer3.0.conv2.weight"));
  ASSERT_NE(weight, nullptr);
  double squares = 0;
  double sum = 0;
  for (float w : weight->span<float>()) {
    sum += w;
    squares += static_cast<double>(w) * w;
  }
  const double n = static_cast<double>(weight->num_elements());
  const double variance = 2.0 / (256 * 9);
  // The sample variance of n normal numbers deviates by sqrt(2 / n) of itself, their mean by
  // sqrt(variance / n).
  EXPECT_NEAR(squares / n, variance, 5 * variance * std::sqrt(2 / n));
  EXPECT_NEAR(sum / n, 0.0, 5 * std::sqrt(variance / n));
}

TEST(ZooTest, OnlyRunningStatisticsAndConstantsAreNotTrainable) {
  const Graph graph = Build("mobilenet_v3_small", {});
  for (const auto& [id, initializer] : graph.initializers()) {
    const std::string& name = graph.value(id).name;
    const bool statistic = name.find(".running_") != std::string::npos;
    EXPECT_EQ(initializer.trainable, !statistic) << name;
  }
}

TEST(ZooTest, CausalMaskHidesTheFuture) {
  const Graph graph = Build("gpt_nano", {.classes = 256, .sequence_length = 3});
  const Tensor* mask = graph.Constant(graph.FindValue("causal_mask"));
  ASSERT_NE(mask, nullptr);
  const auto m = mask->span<float>();
  EXPECT_THAT(std::vector<float>(m.begin(), m.end()),
              ::testing::ElementsAre(0, -1e4f, -1e4f, 0, 0, -1e4f, 0, 0, 0));
  EXPECT_EQ(graph.value(graph.inputs()[0]).dtype, DType::kInt64);
}

TEST(ZooTest, UnknownNameListsTheNearestFirst) {
  const absl::Status status = BuildModel("resnet-20", {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("nearest first: resnet20,"), HasSubstr("vit_tiny")));
}

TEST(ZooTest, ImpossibleOptionsAreRefusedByName) {
  const std::pair<ModelOptions, const char*> cases[] = {
      {{.channels = 0}, "channels"},
      {{.height = 0}, "height"},
      {{.width = 70000}, "width"},
      {{.classes = 0}, "classes"},
      {{.dropout = 1.0}, "dropout"},
      {{.dropout = -0.1}, "dropout"},
      {{.sequence_length = 0}, "sequence_length"},
  };
  for (const auto& [options, what] : cases) {
    const absl::Status status = BuildModel("mlp", options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(what), HasSubstr("mlp")));
  }
  EXPECT_THAT(std::string(BuildModel("lenet", {.height = 11}).status().message()),
              HasSubstr("at least 12x12"));
  EXPECT_THAT(std::string(BuildModel("vit_tiny", {.height = 30}).status().message()),
              HasSubstr("multiples of 4"));
}

TEST(ZooTest, DropoutAppearsOnlyWhenAsked) {
  auto count = [](const Graph& graph) {
    int dropouts = 0;
    for (const Node& node : graph.nodes()) dropouts += node.op == "Dropout";
    return dropouts;
  };
  EXPECT_EQ(count(Build("vit_tiny", {})), 0);
  EXPECT_EQ(count(Build("vit_tiny", {.dropout = 0.1})), 1 + 3 * 12);
}

TEST(ZooRegistryTest, TakesAModelOnceAndBuildsIt) {
  auto builder = [](const ModelOptions& options) -> absl::StatusOr<Graph> {
    Builder b("mine", options.seed);
    const ValueId x = b.Input("input", DType::kFloat32, {kDynamicDim, options.channels});
    b.Output(b.Linear(x, "fc", options.classes), "logits");
    return b.Finish();
  };
  ASSERT_TRUE(RegisterModel("mine", builder).ok());
  EXPECT_EQ(RegisterModel("mine", builder).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(RegisterModel("resnet20", builder).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(RegisterModel("", builder).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Build("mine", {.channels = 3, .classes = 2}).ParameterCount(), 8);
  EXPECT_THAT(ModelNames(), ::testing::Contains("mine"));
}

TEST(ZooPluginTest, RegistersItsModelOnce) {
  ASSERT_TRUE(LoadModelPlugin(DS_TEST_PLUGIN).ok()) << LoadModelPlugin(DS_TEST_PLUGIN);
  EXPECT_TRUE(LoadModelPlugin(DS_TEST_PLUGIN).ok());
  EXPECT_EQ(
      Build("plugin_net", {.channels = 2, .height = 5, .width = 5, .classes = 3}).ParameterCount(),
      2 * 4 * 9 + 4 * 3 + 3);
}

TEST(ZooPluginTest, SaysWhyALibraryCannotBeUsed) {
  EXPECT_EQ(LoadModelPlugin("/nowhere/plugin.so").code(), absl::StatusCode::kNotFound);
  const absl::Status text = LoadModelPlugin(DS_SOURCE_DIR "/tests/graph/zoo_test.cc");
  EXPECT_EQ(text.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.message()), HasSubstr("cannot load"));
  const absl::Status empty = LoadModelPlugin(DS_EMPTY_PLUGIN);
  EXPECT_EQ(empty.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("ds_register_models"));
}

}  // namespace
}  // namespace ds
