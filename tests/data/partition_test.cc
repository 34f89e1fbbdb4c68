// Shares of a data set: each sample once, the same for everybody, as skewed as alpha says.
#include "data/partition.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/sets/open_dataset.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

std::vector<int64_t> Labels(int64_t size, int64_t classes) {
  std::vector<int64_t> labels(static_cast<size_t>(size));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i * 7) % classes;
  return labels;
}

std::vector<std::vector<int64_t>> AllShares(const std::vector<int64_t>& labels, int64_t classes,
                                            PartitionOptions options) {
  std::vector<std::vector<int64_t>> shares;
  for (options.site = 0; options.site < options.sites; ++options.site) {
    const auto share = SamplesOfSite(labels, classes, options);
    EXPECT_TRUE(share.ok()) << share.status();
    shares.push_back(share.value_or(std::vector<int64_t>()));
  }
  return shares;
}

TEST(Partition, EverySampleIsAtExactlyOneSite) {
  for (const double alpha : {0.0, 0.01, 0.1, 0.5, 100.0}) {
    for (const int64_t sites : {1, 2, 7, 8, 64}) {
      for (const int64_t size : {64, 1009, 5000}) {
        const auto shares =
            AllShares(Labels(size, 10), 10, {.sites = sites, .alpha = alpha, .seed = 3});
        std::vector<int64_t> all;
        for (const auto& share : shares) {
          EXPECT_TRUE(std::is_sorted(share.begin(), share.end()));
          EXPECT_GE(static_cast<int64_t>(share.size()),
                    std::min(kLeastSamplesOfSite, size / sites));
          all.insert(all.end(), share.begin(), share.end());
        }
        std::sort(all.begin(), all.end());
        std::vector<int64_t> expected(static_cast<size_t>(size));
        std::iota(expected.begin(), expected.end(), 0);
        EXPECT_EQ(all, expected) << alpha << " " << sites << " " << size;
      }
    }
  }
}

TEST(Partition, IsAFunctionOfItsSeed) {
  const std::vector<int64_t> labels = Labels(2000, 10);
  const PartitionOptions options = {.sites = 5, .site = 2, .alpha = 0.5, .seed = 9};
  const auto once = SamplesOfSite(labels, 10, options), again = SamplesOfSite(labels, 10, options);
  PartitionOptions other = options;
  other.seed = 10;
  EXPECT_EQ(*once, *again);
  EXPECT_NE(*once, *SamplesOfSite(labels, 10, other));
}

// Share of each class at a site, averaged: 1 / sites is none.
double MeanGreatestShare(double alpha) {
  const int64_t classes = 10, sites = 8;
  const std::vector<int64_t> labels = Labels(20000, classes);
  double sum = 0;
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    const auto shares = AllShares(labels, classes, {.sites = sites, .alpha = alpha, .seed = seed});
    for (int64_t label = 0; label < classes; ++label) {
      double greatest = 0, total = 0;
      for (const auto& share : shares) {
        const auto count =
            static_cast<double>(std::count_if(share.begin(), share.end(), [&](int64_t i) {
              return labels[static_cast<size_t>(i)] == label;
            }));
        greatest = std::max(greatest, count);
        total += count;
      }
      sum += greatest / total;
    }
  }
  return sum / (8.0 * static_cast<double>(classes));
}

// Dirichlet's marginals are Beta(alpha, 7 alpha): sum of squares has mean (alpha + 1) / (8 alpha +
// 1), and the greatest share lies between that and its root.
TEST(Partition, ASmallAlphaGivesAClassToFewSites) {
  double before = 1;
  for (const double alpha : {0.05, 0.5, 5.0, 500.0}) {
    const double share = MeanGreatestShare(alpha);
    const double squares = (alpha + 1) / (8 * alpha + 1);
    EXPECT_GT(share, squares * 0.95) << alpha;
    EXPECT_LT(share, std::sqrt(squares) * 1.1) << alpha;
    EXPECT_LT(share, before);
    before = share;
  }
}

TEST(Partition, TheTestSplitHasTheTrainingSplitsClasses) {
  const int64_t classes = 10;
  const PartitionOptions options = {.sites = 4, .site = 1, .alpha = 0.3, .seed = 2};
  const std::vector<int64_t> train = Labels(40000, classes), test = Labels(10000, classes);
  const auto of_train = SamplesOfSite(train, classes, options),
             of_test = SamplesOfSite(test, classes, options);
  for (int64_t label = 0; label < classes; ++label) {
    const auto share = [&](const std::vector<int64_t>& labels, const std::vector<int64_t>& mine) {
      return static_cast<double>(std::count_if(
                 mine.begin(), mine.end(),
                 [&](int64_t i) { return labels[static_cast<size_t>(i)] == label; })) /
             static_cast<double>(labels.size());
    };
    EXPECT_NEAR(share(train, *of_train), share(test, *of_test), 3e-4) << label;
  }
}

TEST(Partition, AViewReadsTheSitesSamples) {
  const auto whole = OpenDataset(
      {.type = "synthetic", .channels = 1, .height = 4, .width = 4, .classes = 3, .size = 100});
  ASSERT_TRUE(whole.ok());
  const PartitionOptions options = {.sites = 3, .site = 1, .alpha = 0.5, .seed = 4};
  const auto part = PartOfSite(*whole, options);
  ASSERT_TRUE(part.ok()) << part.status();
  std::vector<int64_t> labels(100);
  std::vector<uint8_t> pixels(16), expected(16);
  for (int64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(
        (*whole)->ReadImage(i, absl::MakeSpan(pixels), &labels[static_cast<size_t>(i)]).ok());
  }
  const auto samples = SamplesOfSite(labels, 3, options);
  ASSERT_EQ((*part)->info().size, static_cast<int64_t>(samples->size()));
  for (size_t i = 0; i < samples->size(); ++i) {
    int64_t label = -1, wanted = -1;
    ASSERT_TRUE((*part)->ReadImage(static_cast<int64_t>(i), absl::MakeSpan(pixels), &label).ok());
    ASSERT_TRUE((*whole)->ReadImage((*samples)[i], absl::MakeSpan(expected), &wanted).ok());
    EXPECT_EQ(pixels, expected);
    EXPECT_EQ(label, wanted);
  }
  int64_t label = 0;
  EXPECT_FALSE((*part)->ReadImage((*part)->info().size, absl::MakeSpan(pixels), &label).ok());
}

TEST(Partition, RefusesWhatMakesNoSense) {
  const std::vector<int64_t> labels = Labels(10, 2);
  const auto message = [&](const PartitionOptions& options) {
    return std::string(SamplesOfSite(labels, 2, options).status().message());
  };
  EXPECT_THAT(message({.sites = 0}), HasSubstr("sites is 0"));
  EXPECT_THAT(message({.sites = 3, .site = 3}), HasSubstr("0..2"));
  EXPECT_THAT(message({.sites = 3, .site = -1}), HasSubstr("0..2"));
  EXPECT_THAT(message({.sites = 3, .alpha = -1}), HasSubstr("alpha is -1"));
  EXPECT_THAT(message({.sites = 3, .alpha = std::nan("")}), HasSubstr("alpha is nan"));
  EXPECT_THAT(message({.sites = 11}), HasSubstr("10 samples for 11 sites"));
  EXPECT_THAT(std::string(SamplesOfSite(labels, 1, {.sites = 2, .alpha = 1}).status().message()),
              HasSubstr("label 1"));
}

}  // namespace
}  // namespace ds
