// Models of files that are worked on as they are: no head is replaced, wherever the classes lie.
#include "jobs/model_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "graph/builder.h"
#include "graph/onnx/onnx.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kAny = kDynamicDim;

// Scores of 5 classes for each of 4 x 6 pixels; with `last`, [N, H, W, C].
std::string PixelClassifier(const TempFolder& folder, bool last) {
  Builder b("pixels");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 2, 4, 6});
  x = b.Conv(x, "head", {.channels = 5, .bias = true});
  if (last) x = b.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  b.Output(x, "y");
  const std::string path = folder.path() + (last ? "/last.onnx" : "/first.onnx");
  EXPECT_TRUE(ExportOnnx(b.Finish().value(), path).ok());
  return path;
}

DatasetInfo Pixels(int64_t classes) {
  DatasetInfo info;
  info.kind = SampleKind::kTensors;
  info.size = 4;
  info.classes = classes;
  info.inputs = {{"x", DType::kFloat32, {2, 4, 6}}};
  info.target = ArrayInfo{"labels", DType::kInt64, {4, 6}};
  return info;
}

TEST(ModelAsItIs, TheClassesOfPixelsLieBehindTheSample) {
  const TempFolder folder;
  const std::string path = PixelClassifier(folder, /*last=*/false);
  for (const int64_t classes : {3, 5}) {
    const auto config = ModelAsItIs(path, classes);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->options.classes, 5);
    const auto graph = MakeModel(*config, Pixels(classes), /*seed=*/1);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->value(graph->outputs()[0]).shape, (Shape{kAny, 5, 4, 6}));
  }
  EXPECT_THAT(std::string(ModelAsItIs(path, 9).status().message()),
              HasSubstr("tells 5 classes apart, the data has 9"));
}

TEST(ModelAsItIs, OrLast) {
  const TempFolder folder;
  const auto config = ModelAsItIs(PixelClassifier(folder, /*last=*/true), 5);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto graph = MakeModel(*config, Pixels(5), /*seed=*/1);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->value(graph->outputs()[0]).shape, (Shape{kAny, 4, 6, 5}));
}

}  // namespace
}  // namespace ds
