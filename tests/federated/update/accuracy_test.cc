// Softmax regression on Fashion-MNIST's pixels at eight sites, labels skewed by Dirichlet(0.5):
// updates of few bits against averaging in floats.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/partition.h"
#include "data/sets/open_dataset.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

constexpr int kSites = 8, kRounds = 12, kClasses = 10;
constexpr int64_t kPixels = 784, kTrain = 8000, kTest = 4000;
constexpr int64_t kBatch = 20;
constexpr float kRate = 0.02f;
constexpr int64_t kWeights = kPixels * kClasses;

struct Samples {
  std::vector<float> pixels;  // kPixels each
  std::vector<int64_t> labels;
};

Samples Read(const std::string& split, int64_t limit) {
  const auto dataset = OpenDataset({.type = "idx", .split = split, .limit = limit});
  if (!dataset.ok()) return {};
  Samples samples;
  std::vector<uint8_t> pixels(kPixels);
  for (int64_t i = 0; i < limit; ++i) {
    int64_t label = 0;
    DS_CHECK((*dataset)->ReadImage(i, absl::MakeSpan(pixels), &label).ok());
    for (const uint8_t pixel : pixels)
      samples.pixels.push_back((static_cast<float>(pixel) - 73.0f) / 90.0f);
    samples.labels.push_back(label);
  }
  return samples;
}

// Class scores; weights are [pixel][class], then biases.
void Scores(absl::Span<const float> weights, const float* pixels, float (&scores)[kClasses]) {
  std::copy_n(weights.data() + kWeights, kClasses, scores);
  for (int64_t p = 0; p < kPixels; ++p) {
    const float* row = weights.data() + p * kClasses;
    for (int c = 0; c < kClasses; ++c) scores[c] += pixels[p] * row[c];
  }
}

void Softmax(float (&scores)[kClasses]) {
  const float top = *std::max_element(scores, scores + kClasses);
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - top);
  for (float& score : scores) score /= sum;
}

// One pass over a site's samples in batches; the weights' change.
std::vector<float> Delta(const Samples& samples, const std::vector<int64_t>& own,
                         absl::Span<const float> start) {
  std::vector<float> weights(start.begin(), start.end()), step(weights.size());
  for (size_t first = 0; first < own.size(); first += kBatch) {
    const size_t end = std::min(own.size(), first + kBatch);
    std::fill(step.begin(), step.end(), 0.0f);
    for (size_t i = first; i < end; ++i) {
      const float* pixels = samples.pixels.data() + own[i] * kPixels;
      float errors[kClasses];
      Scores(weights, pixels, errors);
      Softmax(errors);
      errors[samples.labels[static_cast<size_t>(own[i])]] -= 1;
      for (float& error : errors) error *= kRate / static_cast<float>(end - first);
      for (int64_t p = 0; p < kPixels; ++p)
        for (int c = 0; c < kClasses; ++c) step[p * kClasses + c] += pixels[p] * errors[c];
      for (int c = 0; c < kClasses; ++c) step[kWeights + c] += errors[c];
    }
    for (size_t i = 0; i < weights.size(); ++i) weights[i] -= step[i];
  }
  for (size_t i = 0; i < weights.size(); ++i) weights[i] -= start[i];
  return weights;
}

// Percent.
double Accuracy(const Samples& samples, absl::Span<const float> weights) {
  int64_t correct = 0;
  for (size_t i = 0; i < samples.labels.size(); ++i) {
    float scores[kClasses];
    Scores(weights, samples.pixels.data() + i * kPixels, scores);
    correct += std::max_element(scores, scores + kClasses) - scores == samples.labels[i] ? 1 : 0;
  }
  return 100 * static_cast<double>(correct) / static_cast<double>(samples.labels.size());
}

class FederatedAccuracyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    train_ = Read("train", kTrain);
    if (train_.labels.empty()) GTEST_SKIP() << "Fashion-MNIST is not there";
    test_ = Read("test", kTest);
    for (int64_t site = 0; site < kSites; ++site) {
      const auto own = SamplesOfSite(train_.labels, kClasses,
                                     {.sites = kSites, .site = site, .alpha = 0.5, .seed = 1});
      DS_CHECK(own.ok()) << own.status();
      sites_.push_back(*own);
    }
  }

  std::vector<float> InFloats() const {
    std::vector<float> weights(kWeights + kClasses);
    for (int round = 0; round < kRounds; ++round) {
      std::vector<double> mean(weights.size());
      for (const std::vector<int64_t>& own : sites_) {
        const std::vector<float> delta = Delta(train_, own, weights);
        const double share = static_cast<double>(own.size()) / kTrain;
        for (size_t i = 0; i < mean.size(); ++i) mean[i] += share * delta[i];
      }
      for (size_t i = 0; i < mean.size(); ++i) weights[i] += static_cast<float>(mean[i]);
    }
    return weights;
  }

  std::vector<float> InBits(int bits) const {
    const ModelLayout layout = {
        {{.name = "weight", .count = kWeights}, {.name = "bias", .count = kClasses}}};
    size_t most = 0;
    for (const auto& own : sites_) most = std::max(most, own.size());
    auto model = *GlobalModel::Create(layout, std::vector<float>(kWeights + kClasses),
                                      Options(bits), kSites, static_cast<int64_t>(most));
    std::vector<std::vector<float>> residuals(kSites);
    for (int round = 0; round < kRounds; ++round) {
      std::vector<IntegerVector> updates;
      for (size_t site = 0; site < kSites; ++site) {
        updates.push_back(*model->Encode(Delta(train_, sites_[site], model->weights()),
                                         {.samples = static_cast<int64_t>(sites_[site].size())},
                                         residuals[site], 1, &residuals[site]));
      }
      EXPECT_TRUE(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
    }
    return {model->weights().begin(), model->weights().end()};
  }

  Samples train_, test_;
  std::vector<std::vector<int64_t>> sites_;
};

TEST_F(FederatedAccuracyTest, FourBitsCostNoAccuracy) {
  const double floats = Accuracy(test_, InFloats());
  std::printf("floats: %.2f%%\n", floats);
  EXPECT_GT(floats, 75);
  for (const int bits : {1, 4}) {
    const double found = Accuracy(test_, InBits(bits));
    std::printf("%d bits: %.2f%%\n", bits, found);
    EXPECT_GT(found, floats - (bits >= 4 ? 0.5 : 2)) << bits;
  }
}

}  // namespace
}  // namespace ds::federated
