// Metrics against the formulas that scikit-learn documents, pair by pair and class by class; parts
// and ranks against the whole.
#include "trainer/metrics.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "ATen/Functions.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// Scores with ties: multiples of 1/4 in [-2, 2).
at::Tensor Scores(std::vector<int64_t> shape, int64_t seed) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return ((at::arange(count) * 7919 + seed * 104729).remainder(16).to(at::kFloat) / 4 - 2)
      .view(shape);
}

at::Tensor Labels(int64_t count, int64_t classes, int64_t seed) {
  return (at::arange(count) * 7919 + seed * 17).remainder(101).remainder(classes);
}

std::map<std::string, double> ValuesOf(const MetricSums& sums) {
  std::map<std::string, double> values;
  for (const MetricValue& one : sums.Values()) values[one.name] = one.value;
  return values;
}

MetricSums SumsOf(const Loss& loss, const at::Tensor& output, const at::Tensor& targets) {
  MetricSums sums(loss);
  const auto rows = loss.RowsThatCount(output, targets);
  EXPECT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(sums.Add(*rows).ok());
  return sums;
}

std::map<std::string, double> Measure(const LossOptions& options, const at::Tensor& output,
                                      const at::Tensor& targets) {
  return ValuesOf(SumsOf(*Loss::Create(options), output, targets));
}

// Share of pairs of a positive and a negative that are in order, ties one half.
double PairwiseArea(const at::Tensor& scores, const at::Tensor& positive) {
  double right = 0, pairs = 0;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    for (int64_t j = 0; j < scores.numel(); ++j) {
      if (!positive[i].item<bool>() || positive[j].item<bool>()) continue;
      const double a = scores[i].item<double>(), b = scores[j].item<double>();
      right += a > b ? 1 : a == b ? 0.5 : 0;
      ++pairs;
    }
  }
  return right / pairs;
}

const LossOptions kAllOfClasses = {.metrics = {"accuracy", "top5", "f1", "mean_iou", "auc"}};
const LossOptions kAllOfLabels = {.name = "bce", .metrics = {"accuracy", "f1", "mean_iou", "auc"}};

TEST(MetricsTest, OfClasses) {
  constexpr int64_t kRows = 37, kClasses = 7;
  // No row has two highest classes: the arg max is not a matter of taste.
  const at::Tensor scores =
      Scores({kRows, kClasses}, 1) + at::arange(kClasses).to(at::kFloat) * 0.001f;
  const at::Tensor labels = Labels(kRows, kClasses - 1, 2);  // one class never occurs
  const auto values = Measure(kAllOfClasses, scores, labels);
  const at::Tensor best = scores.argmax(1);
  EXPECT_DOUBLE_EQ(values.at("accuracy"), best.eq(labels).sum().item<double>() / kRows);
  double f1 = 0, iou = 0, area = 0, seen = 0, ranked = 0, in_five = 0;
  for (int64_t c = 0; c < kClasses; ++c) {
    const double tp = best.eq(c).logical_and(labels.eq(c)).sum().item<double>(),
                 fp = best.eq(c).logical_and(labels.ne(c)).sum().item<double>(),
                 fn = best.ne(c).logical_and(labels.eq(c)).sum().item<double>();
    if (tp + fp + fn == 0) continue;
    ++seen;
    const double precision = tp + fp > 0 ? tp / (tp + fp) : 0,
                 recall = tp + fn > 0 ? tp / (tp + fn) : 0;
    f1 += precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
    iou += tp / (tp + fp + fn);
    if (labels.eq(c).any().item<bool>()) {
      area += PairwiseArea(scores.softmax(1).select(1, c), labels.eq(c));
      ++ranked;
    }
  }
  for (int64_t n = 0; n < kRows; ++n)
    in_five += std::get<1>(scores[n].topk(5)).eq(labels[n]).any().item<bool>() ? 1 : 0;
  EXPECT_NEAR(values.at("f1"), f1 / seen, 1e-12);
  EXPECT_NEAR(values.at("mean_iou"), iou / seen, 1e-12);
  EXPECT_NEAR(values.at("auc"), area / ranked, 1e-12);
  EXPECT_NEAR(values.at("top5"), in_five / kRows, 1e-12);
}

TEST(MetricsTest, AClassThatIsNeitherThereNorSaidIsNoPartOfTheMean) {
  const at::Tensor scores = at::tensor({3.0f, 0.0f, 1.0f, 3.0f, 0.0f, 1.0f}).view({2, 3});
  const auto values =
      Measure({.metrics = {"f1", "mean_iou"}}, scores, at::tensor({0, 2}, at::kLong));
  EXPECT_NEAR(values.at("f1"), (2.0 / 3 + 0) / 2, 1e-12);
  EXPECT_NEAR(values.at("mean_iou"), (1.0 / 2 + 0) / 2, 1e-12);
}

TEST(MetricsTest, OfTwoClassesTheAreaIsOfTheirDifference) {
  const at::Tensor scores = 100 * Scores({23, 2}, 3), labels = Labels(23, 2, 4);
  EXPECT_NEAR(Measure({.metrics = {"auc"}}, scores, labels).at("auc"),
              PairwiseArea(scores.select(1, 1) - scores.select(1, 0), labels.eq(1)), 1e-12);
}

TEST(MetricsTest, OfLabelsWithSomeThatDoNotCount) {
  const at::Tensor scores = Scores({29, 3}, 5) + 0.125f;
  at::Tensor targets = Labels(87, 2, 6).view({29, 3}).to(at::kFloat);
  targets[4][1] = -1;
  targets[7].fill_(-1);
  LossOptions options = kAllOfLabels;
  options.ignore_index = -1;
  const auto values = Measure(options, scores, targets);
  double hits = 0, count = 0, f1 = 0, area = 0;
  for (int64_t k = 0; k < 3; ++k) {
    const at::Tensor kept = targets.select(1, k).ge(0).nonzero().reshape({-1});
    const at::Tensor score = scores.select(1, k).index_select(0, kept),
                     real = targets.select(1, k).index_select(0, kept).gt(0.5);
    const at::Tensor said = score.gt(0);
    hits += said.eq(real).sum().item<double>();
    count += static_cast<double>(kept.numel());
    const double tp = said.logical_and(real).sum().item<double>();
    f1 += 2 * tp / (said.sum().item<double>() + real.sum().item<double>());
    area += PairwiseArea(score, real);
  }
  EXPECT_NEAR(values.at("accuracy"), hits / count, 1e-12);
  EXPECT_NEAR(values.at("f1"), f1 / 3, 1e-12);
  EXPECT_NEAR(values.at("auc"), area / 3, 1e-12);
}

TEST(MetricsTest, OfPixelsWithoutThoseThatDoNotCount) {
  const at::Tensor scores = Scores({2, 3, 4, 5}, 7) + at::arange(3).view({1, 3, 1, 1}) * 0.001f;
  at::Tensor labels = Labels(40, 3, 8).view({2, 4, 5});
  labels[0][0].fill_(255);
  const auto values = Measure({.ignore_index = 255, .metrics = {"mean_iou"}}, scores, labels);
  const at::Tensor best = scores.argmax(1);
  double iou = 0;
  for (int64_t c = 0; c < 3; ++c) {
    const at::Tensor said = best.eq(c).logical_and(labels.ne(255)), real = labels.eq(c);
    iou += said.logical_and(real).sum().item<double>() / said.logical_or(real).sum().item<double>();
  }
  EXPECT_NEAR(values.at("mean_iou"), iou / 3, 1e-12);
}

TEST(MetricsTest, OfNumbers) {
  const at::Tensor output = Scores({9, 2}, 9), targets = Scores({9, 2}, 11);
  const auto values = Measure({.name = "mse"}, output, targets);
  EXPECT_NEAR(values.at("mae"), (output - targets).abs().mean().item<double>(), 1e-6);
  EXPECT_NEAR(values.at("rmse"), std::sqrt((output - targets).square().mean().item<double>()),
              1e-6);
}

TEST(MetricsTest, AnAreaWithoutPositivesIsNotDefined) {
  EXPECT_TRUE(std::isnan(
      Measure({.name = "bce", .metrics = {"auc"}}, Scores({5, 1}, 1), at::zeros({5})).at("auc")));
}

// Rank 2 of 3 has a share of nothing at all.
TEST(MetricsTest, RanksTogetherMeasureWhatOneDoes) {
  const struct {
    LossOptions options;
    at::Tensor output, targets;
  } cases[] = {{kAllOfClasses, Scores({31, 7}, 12), Labels(31, 7, 13)},
               {kAllOfLabels, Scores({31, 3}, 14), Labels(93, 2, 15).view({31, 3})},
               {{.name = "l1"}, Scores({31, 2}, 16), Scores({31, 2}, 17)}};
  for (const auto& test : cases) {
    const Loss loss = *Loss::Create(test.options);
    const std::vector<MetricValue> whole = SumsOf(loss, test.output, test.targets).Values();
    std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(3);
    std::vector<std::vector<MetricValue>> found(3);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 3; ++r) {
      threads.emplace_back([&, r] {
        MetricSums sums(loss);
        const int64_t from = r == 0 ? 0 : 11, count = r == 0 ? 11 : r == 1 ? 20 : 0;
        if (count > 0) {
          sums =
              SumsOf(loss, test.output.narrow(0, from, count), test.targets.narrow(0, from, count));
        }
        EXPECT_TRUE(sums.AddRanks(*group[r]).ok());
        found[r] = sums.Values();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& values : found) {
      ASSERT_EQ(values.size(), whole.size());
      for (size_t i = 0; i < whole.size(); ++i) {
        EXPECT_EQ(values[i].name, whole[i].name);
        EXPECT_NEAR(values[i].value, whole[i].value, 1e-14) << whole[i].name;
        EXPECT_EQ(values[i].value, found[0][i].value) << "the same bits on every rank";
      }
    }
  }
}

}  // namespace
}  // namespace ds
