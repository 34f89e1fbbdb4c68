// Agreement of outputs, and the samples that nobody gave.
#include "jobs/quantize/agreement.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/onnx/onnx.h"
#include "gtest/gtest.h"
#include "jobs/quantize/compare_graphs.h"
#include "jobs/quantize/sample_source.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

Graph TwoOutputs() {
  Builder b("m", 1);
  const ValueId ids = b.Input("ids", DType::kInt64, {kDynamicDim, kDynamicDim});
  const ValueId mask = b.Input("mask", DType::kInt64, {kDynamicDim, kDynamicDim});
  const ValueId image = b.Input("image", DType::kFloat32, {kDynamicDim, 3, kDynamicDim, 8});
  const ValueId table = b.Parameter("table", Tensor(DType::kFloat32, {11, 4}));
  b.Output(b.Op("Gather", {table, ids}), "rows");
  b.Output(b.Relu(image), "picture");
  b.Output(b.Op("Cast", {mask}, {{"to", int64_t{1}}}), "masked");
  return *b.Finish();
}

std::vector<OutputAgreement> Report(const std::vector<at::Tensor>& a,
                                    const std::vector<at::Tensor>& b) {
  Builder builder("m");
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string name = absl::StrCat("o", i);
    builder.Output(builder.Relu(builder.Input(absl::StrCat("i", i), DType::kFloat32, {2})), name);
  }
  Agreement agreement(*builder.Finish());
  // Two batches: sums, not means of ratios.
  for (int part = 0; part < 2; ++part) {
    std::vector<at::Tensor> x, y;
    for (size_t i = 0; i < a.size(); ++i) {
      const int64_t half = a[i].size(0) / 2;
      x.push_back(a[i].narrow(0, part == 0 ? 0 : half, part == 0 ? half : a[i].size(0) - half));
      y.push_back(b[i].narrow(0, part == 0 ? 0 : half, part == 0 ? half : a[i].size(0) - half));
    }
    EXPECT_TRUE(agreement.Add(x, y).ok());
  }
  return agreement.Report();
}

TEST(AgreementTest, DecibelsAreOfAllSamplesTogether) {
  const at::Tensor x = at::tensor({3.0f, 4.0f, 0.0f, 100.0f, 5.0f, 6.0f}).view({3, 2});
  const at::Tensor y = at::tensor({3.0f, 3.0f, 1.0f, 90.0f, 6.0f, 5.0f}).view({3, 2});
  const auto report =
      Report({x, x, at::tensor({1, 2, 3}, at::kLong)}, {y, x, at::tensor({1, 7, 3}, at::kLong)});
  EXPECT_EQ(report[0].output, "o0");
  EXPECT_NEAR(report[0].snr_db, 10 * std::log10((9 + 16 + 1e4 + 25 + 36) / (1.0 + 1 + 100 + 1 + 1)),
              1e-9);
  EXPECT_NEAR(report[0].same_share, 1.0 / 3, 1e-12);
  EXPECT_EQ(report[1].snr_db, kMostDecibels);
  EXPECT_EQ(report[1].same_share, 1);
  EXPECT_TRUE(std::isnan(report[2].snr_db)) << "integers";
  EXPECT_NEAR(report[2].same_share, 2.0 / 3, 1e-12);
}

TEST(AgreementTest, MasksAgreeAndNaNDoesNot) {
  const float infinity = std::numeric_limits<float>::infinity();
  const at::Tensor x = at::tensor({-infinity, 2.0f, 1.0f, -infinity});
  EXPECT_NEAR(Report({x}, {at::tensor({-infinity, 2.0f, 2.0f, -infinity})})[0].snr_db,
              10 * std::log10(5.0), 1e-9);
  EXPECT_EQ(Report({x}, {at::tensor({-infinity, NAN, 1.0f, -infinity})})[0].snr_db, -kMostDecibels);
  EXPECT_EQ(Report({x}, {at::tensor({-infinity, 2.0f, infinity, -infinity})})[0].snr_db,
            -kMostDecibels);
}

TEST(AgreementTest, OutputsOfOtherShapesAreRefused) {
  Agreement agreement(TwoOutputs());
  EXPECT_FALSE(agreement.Add({at::zeros({1})}, {at::zeros({1})}).ok());
  const at::Tensor a = at::zeros({2, 3});
  EXPECT_THAT(std::string(agreement.Add({a, a, a}, {a, a.t(), a}).message()),
              HasSubstr("'picture'"));
}

TEST(RandomSamplesTest, FollowTheFilesInputsAndSayHow) {
  const TempFolder folder;
  const std::string path = folder.File("m.onnx");
  ASSERT_TRUE(ExportOnnx(TwoOutputs(), path).ok());
  auto source = RandomSamples(path, {.shapes = {{"image", {3, 5, 8}}}});
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT((*source)->Describe(), HasSubstr("'ids' [8, 16] uniform in 0..10"));
  EXPECT_THAT((*source)->Describe(), HasSubstr("'mask' [8, 16] ones"));
  EXPECT_THAT((*source)->Describe(), HasSubstr("'image' [8, 3, 5, 8] normal(0, 1)"));
  const auto calibration = (*source)->Calibration(24);
  ASSERT_TRUE(calibration.ok());
  int batches = 0;
  double sum = 0, squares = 0, count = 0;
  for (auto batch = (*calibration)(); batch.ok() && batch->has_value(); batch = (*calibration)()) {
    ++batches;
    ASSERT_EQ((*batch)->size(), 3u);
    EXPECT_EQ((**batch)[0].scalar_type(), at::kLong);
    EXPECT_LE((**batch)[0].max().item<int64_t>(), 10);
    EXPECT_GE((**batch)[0].min().item<int64_t>(), 0);
    EXPECT_EQ((**batch)[2].sizes(), (std::vector<int64_t>{8, 3, 5, 8}));
    sum += (**batch)[2].sum().item<double>();
    squares += (**batch)[2].square().sum().item<double>();
    count += 960;
  }
  EXPECT_EQ(batches, 3);
  EXPECT_NEAR(sum / count, 0, 0.25);
  EXPECT_NEAR(squares / count, 1, 0.25);
  EXPECT_EQ((*source)->HeldOut(1, 1).status().code(), absl::StatusCode::kFailedPrecondition);
  for (const auto& shapes :
       {std::map<std::string, Shape>{{"image", {3, 5, 9}}}, {{"image", {3, 5}}}, {{"no", {1}}}})
    EXPECT_FALSE(RandomSamples(path, {.shapes = shapes}).ok());
}

// y = fc2(fc1(x)), of which the quantised side gets another fc1.
Graph Layers(float scale) {
  Builder b("m", 1);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 6});
  x = b.Relu(b.Linear(x, "fc1", 8));
  b.Output(b.Linear(x, "fc2", 3), "y");
  Graph graph = *b.Finish();
  for (float& w :
       graph.mutable_initializers().at(graph.FindValue("fc1.weight")).data.mutable_span<float>())
    w *= scale;
  return graph;
}

TestBatches Batches(std::optional<at::Tensor> targets) {
  return [left = 2, targets]() mutable -> absl::StatusOr<std::optional<TestBatch>> {
    if (left-- == 0) return std::nullopt;
    return TestBatch{{at::arange(24).view({4, 6}).to(at::kFloat) / 12 - 1}, targets};
  };
}

TEST(CompareGraphsTest, WithoutLabelsOutputsAreCompared) {
  const auto compared = CompareGraphs(Layers(1), Layers(1.01f), {}, Batches(std::nullopt));
  ASSERT_TRUE(compared.ok()) << compared.status();
  EXPECT_FALSE(compared->exact.has_value());
  EXPECT_GT(compared->outputs[0].snr_db, 20);
  EXPECT_LT(compared->outputs[0].snr_db, 80);
  EXPECT_TRUE(compared->warnings.empty());
}

TEST(CompareGraphsTest, AnOutputThatIsLostNamesTheLayer) {
  const auto compared = CompareGraphs(Layers(1), Layers(-1), {}, Batches(std::nullopt));
  ASSERT_TRUE(compared.ok()) << compared.status();
  ASSERT_EQ(compared->warnings.size(), 1u);
  EXPECT_THAT(compared->warnings[0], HasSubstr("output 'y'"));
  EXPECT_THAT(compared->warnings[0], HasSubstr("node 'fc1' (Gemm) loses most"));
}

TEST(CompareGraphsTest, LabelsAreUsedWhereTheyFitAndOtherwiseSaid) {
  const at::Tensor labels = at::tensor({0, 1, 2, 0}, at::kLong);
  const auto fit = CompareGraphs(Layers(1), Layers(1), {}, Batches(labels));
  ASSERT_TRUE(fit.ok()) << fit.status();
  EXPECT_EQ(fit->exact->metrics[0].name, "accuracy");
  EXPECT_EQ(fit->exact->samples, 8);
  EXPECT_EQ(fit->exact->metric(), fit->quantized->metric());
  const auto of_pixels =
      CompareGraphs(Layers(1), Layers(1), {}, Batches(at::zeros({4, 2, 2}, at::kLong)));
  ASSERT_TRUE(of_pixels.ok()) << of_pixels.status();
  EXPECT_FALSE(of_pixels->exact.has_value());
  EXPECT_THAT(of_pixels->warnings[0], HasSubstr("labels are not used"));
  EXPECT_FALSE(CompareGraphs(Layers(1), Layers(1), {}, Batches(at::full({4}, 7, at::kLong))).ok())
      << "a label outside the classes is a fault of the data, not of its kind";
}

}  // namespace
}  // namespace ds
