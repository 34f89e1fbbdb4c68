// The ranges that the KL and MSE searches find, against brute force over all candidates, in double
// precision and by the definitions alone: explicit distributions for KL, the raw samples for MSE.
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "gtest/gtest.h"
#include "quant/ranges/observer.h"
#include "tests/quant/ranges/calibration_cases.h"

namespace ds {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

ActivationStatistics Collected(const std::vector<float>& values) {
  ActivationStatistics statistics;
  statistics.Add(values);
  return statistics;
}

std::string NameOf(const QuantType& type) {
  return (type.is_signed ? "s" : "u") + std::to_string(type.bits);
}

// --- KL

// The divergence of ranges, straight from its definition in docs/calibration.md.
class KlReference {
 public:
  KlReference(const std::vector<float>& values, const QuantType& type) : type_(type) {
    double magnitude = 0;
    for (const float value : values) magnitude = std::max(magnitude, std::fabs(double{value}));
    // Bins of 2^k, 4096 of which hold the greatest magnitude, but 2048 of which do not.
    width_ = std::exp2(std::floor(std::log2(magnitude)) + 1 - 12);
    std::vector<int> bins;
    for (const float value : values) {
      if (value == 0) continue;
      const int bin = static_cast<int>(std::floor(std::fabs(double{value}) / width_));
      bins.push_back(value > 0 ? bin : -1 - bin);
    }
    least_ = std::min(0, *std::min_element(bins.begin(), bins.end()));
    end_ = std::max(0, *std::max_element(bins.begin(), bins.end()) + 1);
    counts_.resize(end_ - least_);
    for (const int bin : bins) ++counts_[bin - least_];
    all_ = static_cast<double>(bins.size());
    FindSpikes();
  }

  double width() const { return width_; }
  int least() const { return least_; }
  int end() const { return end_; }

  bool Filled(int bin) const { return bin >= least_ && bin < end_ && counts_[bin - least_] > 0; }

  double At(int from, int to) const {
    const auto count = [&](int bin) {
      return bin >= least_ && bin < end_ ? counts_[bin - least_] : 0.0;
    };
    double inside = 0, below = 0, above = 0;
    int first = to, last = from;
    for (int bin = least_; bin < end_; ++bin) {
      (bin < from ? below : bin >= to ? above : inside) += count(bin);
      if (bin < from || bin >= to || count(bin) == 0) continue;
      first = std::min(first, bin);
      last = std::max(last, bin);
    }
    if (inside == 0) return kInf;
    double step = double(to) / type_.max();
    int zero_point = 0, low = -type_.max(), high = type_.max();
    if (!type_.is_signed) {
      step = double(to - from) / type_.max();
      zero_point = static_cast<int>(std::nearbyint(-from / step));
      low = -zero_point;
      high = type_.max() - zero_point;
    }
    const auto code = [&](int bin) {
      return std::clamp(static_cast<int>(std::floor((bin + 0.5) / step + 0.5)), low, high) - low;
    };
    std::vector<double> mass(high - low + 1), filled(high - low + 1);
    for (int bin = first; bin <= last; ++bin) {
      mass[code(bin)] += count(bin) - spikes_[bin - least_];
      filled[code(bin)] += count(bin) > 0;
    }
    double divergence = 0;
    for (int bin = first; bin <= last; ++bin) {
      if (count(bin) == 0) continue;
      const double spike = spikes_[bin - least_];
      const double p =
          (count(bin) - spike + (bin == first ? below : 0) + (bin == last ? above : 0)) / all_;
      const double q = mass[code(bin)] / filled[code(bin)] / inside;
      divergence += p * std::log(p / q);
      if (spike > 0) divergence += spike / all_ * std::log((spike / all_) / (spike / inside));
    }
    return divergence;
  }

 private:
  // One filled bin, or two successive ones on average, over 8 times as full as the filled bins
  // beside them.
  void FindSpikes() {
    spikes_.resize(counts_.size());
    const int bins = static_cast<int>(counts_.size());
    const auto filled_from = [&](int bin, int direction) {
      while (bin >= 0 && bin < bins && counts_[bin] == 0) bin += direction;
      return bin >= 0 && bin < bins ? counts_[bin] : 0.0;
    };
    for (const int width : {1, 2}) {
      for (int begin = 0; begin + width <= bins; ++begin) {
        const int end = begin + width;
        if (std::count(counts_.begin() + begin, counts_.begin() + end, 0.0) > 0) continue;
        const double level = std::max({filled_from(begin - 1, -1), filled_from(end, 1), 1.0});
        const auto first = counts_.begin() + begin, last = counts_.begin() + end;
        if (std::accumulate(first, last, 0.0) <= 8 * width * level) continue;
        if (width == 2 && *std::min_element(first, last) <= 2 * level) continue;
        for (int bin = begin; bin < end; ++bin)
          spikes_[bin] = std::max(spikes_[bin], counts_[bin] - level);
      }
    }
  }

  QuantType type_;
  double width_ = 0;
  int least_ = 0, end_ = 0;
  std::vector<double> counts_, spikes_;
  double all_ = 0;
};

// An end of a range in bins: the exact extreme of the values stands for the whole last bin.
int BinOf(double end, const KlReference& reference, int widest) {
  const double bins = end / reference.width();
  const double nearest = std::nearbyint(bins);
  return bins == nearest ? static_cast<int>(nearest) : widest;
}

// A tie of a bin's middle between two codes may fall either way.
void ExpectLeast(double chosen, double least) { EXPECT_LE(chosen, least + 1e-6 + 1e-3 * least); }

// And one with values that come again and again.
std::vector<Sample> KlSamples() {
  std::vector<Sample> samples = Samples(6000);
  Sample constants{"relu with constants", Relu(Normal(6000))};
  for (size_t i = 0; i < constants.values.size(); i += 3)
    constants.values[i] = i % 2 == 0 ? 0.7f : 1.9f;
  samples.push_back(std::move(constants));
  return samples;
}

TEST(KlRangeTest, SignedRangesAreTheBestOfAllCandidates) {
  for (const Sample& sample : KlSamples()) {
    for (const int bits : {sample.name.size() % 2 ? 3 : 8}) {
      const QuantType type = {.bits = bits};
      SCOPED_TRACE(sample.name + " " + NameOf(type));
      const KlReference reference(sample.values, type);
      const int widest = std::max(-reference.least(), reference.end());
      double least = kInf;
      for (int limit = type.max(); limit <= widest; ++limit) {
        if (reference.Filled(limit - 1) || reference.Filled(-limit))
          least = std::min(least, reference.At(-limit, limit));
      }
      const ClipRange range =
          *ChooseRange(Collected(sample.values), type, CalibrationMethod::kKl, {});
      EXPECT_EQ(range.low, -range.high);
      const int chosen = BinOf(range.high, reference, widest);
      ASSERT_GE(chosen, type.max());
      ExpectLeast(reference.At(-chosen, chosen), least);
    }
  }
}

TEST(KlRangeTest, UnsignedRangesAreTheBestOfAllCandidatesInEachEnd) {
  for (const Sample& sample : KlSamples()) {
    for (const int bits : {sample.name.size() % 2 ? 8 : 4, 2}) {
      const QuantType type = {.bits = bits, .is_signed = false};
      SCOPED_TRACE(sample.name + " " + NameOf(type));
      const KlReference reference(sample.values, type);
      const ClipRange range =
          *ChooseRange(Collected(sample.values), type, CalibrationMethod::kKl, {});
      const int from = BinOf(range.low, reference, reference.least());
      const int to = BinOf(range.high, reference, reference.end());
      ASSERT_GE(to - from, type.max());
      double least = kInf;
      for (int end = std::max(from + type.max(), 1); end <= reference.end(); ++end) {
        if (reference.Filled(end - 1)) least = std::min(least, reference.At(from, end));
      }
      for (int begin = std::min(to - type.max(), -1); begin >= reference.least(); --begin) {
        if (reference.Filled(begin)) least = std::min(least, reference.At(begin, to));
      }
      ExpectLeast(reference.At(from, to), least);
    }
  }
}

// Issue 5: at least 1000 thresholds, whatever the scale of the data and the sides it has.
TEST(KlRangeTest, AtLeastAThousandThresholdsAreCompared) {
  for (const int bits : {2, 5, 8}) {
    for (const bool is_signed : {true, false}) {
      for (const double scale : {1e-30, 0.51, 1.0, 1.99, 1e30}) {
        for (const auto& values : {Uniform(20000, 0, scale), Uniform(20000, -scale, scale),
                                   Uniform(20000, -scale, -scale / 1e6)}) {
          const QuantType type = {.bits = bits, .is_signed = is_signed};
          EXPECT_GE(ChooseRange(Collected(values), type, CalibrationMethod::kKl, {})->candidates,
                    1000)
              << NameOf(type) << " " << scale;
        }
      }
    }
  }
}

// A spike at zero carries no information about the rest: any share of zeros gives the same range.
TEST(KlRangeTest, ZerosDoNotMoveTheRange) {
  for (const QuantType& type : {QuantType{.bits = 8}, QuantType{.bits = 4, .is_signed = false}}) {
    std::vector<float> values = WithOutliers(Relu(Normal(50000)), 20000, 15);
    values.erase(std::remove(values.begin(), values.end(), 0.0f), values.end());
    ActivationStatistics statistics = Collected(values);
    const ClipRange without = *ChooseRange(statistics, type, CalibrationMethod::kKl, {});
    statistics.Add(std::vector<float>(1000000));
    const ClipRange with = *ChooseRange(statistics, type, CalibrationMethod::kKl, {});
    EXPECT_EQ(with.low, without.low);
    EXPECT_EQ(with.high, without.high);
    EXPECT_LT(with.high, 15);
    EXPECT_LT(with.squared_error, without.squared_error);
  }
}

// Every fourth value is one of seven constants, as a layer makes them of a flat background.
TEST(KlRangeTest, ConstantsAmongTheValuesAreNoReasonToClip) {
  for (const bool is_signed : {false, true}) {
    for (const int bits : {4, 8}) {
      const QuantType type = {.bits = bits, .is_signed = is_signed};
      SCOPED_TRACE(NameOf(type));
      std::vector<float> values = Relu(Normal(100'000));
      const ClipRange without = *ChooseRange(Collected(values), type, CalibrationMethod::kKl, {});
      std::vector<float> constants;
      for (size_t i = 0; constants.size() < 7; ++i) {
        if (values[i] > 0) constants.push_back(values[i]);
      }
      for (size_t i = 0; i < values.size(); i += 4) values[i] = constants[i / 4 % constants.size()];
      const ClipRange with = *ChooseRange(Collected(values), type, CalibrationMethod::kKl, {});
      EXPECT_NEAR(with.high, without.high, 0.1 * without.high);
    }
  }
}

// Where the values fill their range evenly, clipping costs more than it gains.
TEST(KlRangeTest, UniformValuesAreNotClipped) {
  for (const int bits : {4, 6, 8}) {
    const auto statistics = Collected(Uniform(200000, 0, 3));
    const ClipRange range =
        *ChooseRange(statistics, {.bits = bits, .is_signed = false}, CalibrationMethod::kKl, {});
    EXPECT_LT(range.clipped_share, 0.002) << bits;
  }
}

// --- MSE

// Geometric, finer and farther than the search's own.
std::vector<double> Fractions(int steps_an_octave) {
  std::vector<double> fractions;
  for (int i = 0; i <= 10 * steps_an_octave; ++i)
    fractions.push_back(std::exp2(-double(i) / steps_an_octave));
  return fractions;
}

// Within 2% of the least error that any threshold has on the samples themselves; and what the
// search says of its error is within 3%.
TEST(MseRangeTest, SignedAndOneSidedRangesAreWithinTwoPercentOfBruteForce) {
  for (const Sample& sample : Samples(3000)) {
    const float low = *std::min_element(sample.values.begin(), sample.values.end());
    const float high = *std::max_element(sample.values.begin(), sample.values.end());
    for (int bits = 2; bits <= 8; ++bits) {
      for (const bool is_signed : {true, false}) {
        if (!is_signed && low < 0 && high > 0) continue;
        const QuantType type = {.bits = bits, .is_signed = is_signed};
        SCOPED_TRACE(sample.name + " " + NameOf(type));
        const double widest = std::max(-low, high);
        double least = kInf;
        for (const double fraction : Fractions(40)) {
          const double limit = widest * fraction;
          const bool up = is_signed || high > 0, down = is_signed || low < 0;
          least = std::min(
              least, SquaredErrorReference(sample.values, type, down ? -limit : 0, up ? limit : 0));
        }
        const ClipRange range =
            *ChooseRange(Collected(sample.values), type, CalibrationMethod::kMse, {});
        const double error = SquaredErrorReference(sample.values, type, range.low, range.high);
        EXPECT_LE(error, 1.02 * least) << range.high << " of " << widest;
        EXPECT_NEAR(range.squared_error, error, 0.03 * error);
      }
    }
  }
}

TEST(MseRangeTest, AsymmetricRangesAreWithinThreePercentOfBruteForce) {
  for (const Sample& sample : Samples(1500)) {
    const float low = *std::min_element(sample.values.begin(), sample.values.end());
    const float high = *std::max_element(sample.values.begin(), sample.values.end());
    if (low >= 0 || high <= 0) continue;
    for (const int bits : {2, 4, 8}) {
      const QuantType type = {.bits = bits, .is_signed = false};
      SCOPED_TRACE(sample.name + " " + NameOf(type));
      double least = kInf;
      for (const double below : Fractions(4)) {
        for (const double above : Fractions(4))
          least = std::min(least,
                           SquaredErrorReference(sample.values, type, low * below, high * above));
      }
      const ClipRange range =
          *ChooseRange(Collected(sample.values), type, CalibrationMethod::kMse, {});
      const double error = SquaredErrorReference(sample.values, type, range.low, range.high);
      EXPECT_LE(error, 1.03 * least) << range.low << ".." << range.high;
      EXPECT_NEAR(range.squared_error, error, 0.04 * error);
    }
  }
}

// Either end may go anywhere while the other stays, and the error on the samples is not 1.5% less.
TEST(MseRangeTest, NoEndAloneIsBetterElsewhere) {
  for (const auto& values : {Normal(20000), Silu(Normal(20000, 1, 0.5)), Normal(20000, 1, 2.5)}) {
    const float low = *std::min_element(values.begin(), values.end());
    const float high = *std::max_element(values.begin(), values.end());
    const auto statistics = Collected(values);
    for (const int bits : {4, 6, 8}) {
      const QuantType type = {.bits = bits, .is_signed = false};
      const ClipRange range = *ChooseRange(statistics, type, CalibrationMethod::kMse, {});
      const double error = SquaredErrorReference(values, type, range.low, range.high);
      for (const double fraction : Fractions(32)) {
        if (fraction < 0.2) break;
        const double other_low = SquaredErrorReference(values, type, low * fraction, range.high);
        const double other_high = SquaredErrorReference(values, type, range.low, high * fraction);
        EXPECT_LE(error, 1.015 * other_low) << bits << " bits, low times " << fraction;
        EXPECT_LE(error, 1.015 * other_high) << bits << " bits, high times " << fraction;
      }
    }
  }
}

// --- Both

// One value in 16 million is 30 standard deviations out: rare enough that clipping it pays at 8
// bits too. The error is that on the samples.
TEST(RangeSearchTest, OutliersCostMuchLessThanMinMax) {
  constexpr int kTimes = 16;
  constexpr float kOutlier = 30;
  for (const bool relu : {false, true}) {
    const std::vector<float> values = relu ? Relu(Normal(1000000)) : Normal(1000000);
    ActivationStatistics statistics;
    for (int i = 0; i < kTimes; ++i) statistics.Add(values);
    statistics.Add(std::vector<float>{kOutlier});
    for (const int bits : {4, 8}) {
      for (const bool is_signed : {true, false}) {
        const QuantType type = {.bits = bits, .is_signed = is_signed};
        const auto error = [&](CalibrationMethod method) {
          const ClipRange range = *ChooseRange(statistics, type, method, {});
          const double count = kTimes * static_cast<double>(values.size());
          const double error = (count * SquaredErrorReference(values, type, range.low, range.high) +
                                SquaredErrorReference({kOutlier}, type, range.low, range.high)) /
                               (count + 1);
          EXPECT_NEAR(range.squared_error, error, 0.03 * error);
          return error;
        };
        const double min_max = error(CalibrationMethod::kMinMax);
        const double kl = error(CalibrationMethod::kKl), mse = error(CalibrationMethod::kMse);
        const std::string name = (relu ? "relu " : "normal ") + NameOf(type);
        std::printf("%s: min-max %.3g, kl %.3g, mse %.3g\n", name.c_str(), min_max, kl, mse);
        EXPECT_LT(kl, 0.25 * min_max) << name;
        EXPECT_LT(mse, 0.25 * min_max) << name;
        EXPECT_LE(mse, 1.02 * kl) << name;
      }
    }
  }
}

// Not a benchmark: prints what a search takes.
TEST(RangeSearchTest, TakesMilliseconds) {
  const auto statistics = Collected(Silu(Normal(100000, 3)));
  for (const CalibrationMethod method : {CalibrationMethod::kKl, CalibrationMethod::kMse}) {
    for (const bool is_signed : {true, false}) {
      const auto start = std::chrono::steady_clock::now();
      const ClipRange range = *ChooseRange(statistics, {.is_signed = is_signed}, method, {});
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      std::printf("%s, %s: %.1f ms, %d candidates\n", std::string(Name(method)).c_str(),
                  is_signed ? "symmetric" : "asymmetric", took.count(), range.candidates);
      EXPECT_LT(took.count(), 5000);
    }
  }
}

}  // namespace
}  // namespace ds
