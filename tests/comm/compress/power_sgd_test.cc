#include "comm/compress/power_sgd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/random.h"
#include "comm/inprocess/single.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

constexpr int64_t kRows = 37, kColumns = 53, kBias = 37;

std::vector<float> Normal(int64_t count, uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

// a b^T + c d^T ..., with `rank` terms.
std::vector<float> LowRank(int rank, uint64_t seed) {
  std::vector<float> matrix(static_cast<size_t>(kRows * kColumns));
  for (int k = 0; k < rank; ++k) {
    const std::vector<float> a = Normal(kRows, seed + 2 * static_cast<uint64_t>(k));
    const std::vector<float> b = Normal(kColumns, seed + 2 * static_cast<uint64_t>(k) + 1);
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t j = 0; j < b.size(); ++j) matrix[i * b.size() + j] += a[i] * b[j];
    }
  }
  return matrix;
}

// A matrix and a bias on one rank.
struct Member {
  Member(Communicator& communicator, const PowerSgdOptions& options)
      : weight(static_cast<size_t>(kRows * kColumns)), bias(static_cast<size_t>(kBias)) {
    auto made =
        PowerSgd::Create(&communicator,
                         {{{"b", absl::MakeSpan(bias), 0, nullptr, {kBias}},
                           {"w", absl::MakeSpan(weight), 0, nullptr, {kRows, kColumns / 53, 53}}}},
                         options);
    EXPECT_TRUE(made.ok()) << made.status();
    compressor = std::move(*made);
  }
  absl::Status Step(const std::vector<float>& w, const std::vector<float>& b, uint64_t step,
                    float scale, bool commit = true) {
    std::copy(w.begin(), w.end(), weight.begin());
    std::copy(b.begin(), b.end(), bias.begin());
    compressor->BeginStep({step, scale});
    const absl::Status status = compressor->Exchange(0);
    compressor->EndStep(commit && status.ok());
    return status;
  }
  std::vector<float> weight, bias;
  std::unique_ptr<PowerSgd> compressor;
};

double Distance(const std::vector<float>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(a[i] - b[i], 2);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

TEST(LowRank, OrthonormalColumnsSpanWhatTheySpanned) {
  constexpr int64_t kLength = 41;
  std::vector<float> columns = Normal(3 * kLength, 5);
  // The second nearly parallel to the first; the third a combination of both.
  for (size_t i = 0; i < kLength; ++i) {
    columns[kLength + i] = columns[i] * 100 + 1e-2f * columns[kLength + i];
    columns[2 * kLength + i] = 2 * columns[i] - 3 * columns[kLength + i];
  }
  Orthonormalise(absl::MakeSpan(columns), kLength, 3);
  const auto dot = [&](size_t a, size_t b) {
    double sum = 0;
    for (size_t i = 0; i < kLength; ++i)
      sum += static_cast<double>(columns[a * kLength + i]) * columns[b * kLength + i];
    return sum;
  };
  EXPECT_NEAR(dot(0, 0), 1, 1e-6);
  EXPECT_NEAR(dot(1, 1), 1, 1e-6);
  EXPECT_NEAR(dot(0, 1), 0, 1e-6);
  EXPECT_EQ(dot(2, 2), 0) << "a column that the others span";
}

TEST(LowRank, ProductsEqualADoubleReference) {
  for (const int64_t columns : {1, 15, 16, 17, 53}) {
    const LowRankShape shape = {7, columns, 2};
    const std::vector<float> matrix = Normal(7 * columns, 1), q = Normal(2 * columns, 2);
    std::vector<float> p(shape.p_size()), left(shape.q_size()), outer(matrix.size());
    MultiplyRight(shape, matrix, q, absl::MakeSpan(p));
    MultiplyLeft(shape, matrix, p, absl::MakeSpan(left));
    OuterProduct(shape, p, left, absl::MakeSpan(outer));
    const auto m = [&](int64_t i, int64_t j) {
      return static_cast<double>(matrix[static_cast<size_t>(i * columns + j)]);
    };
    for (int64_t k = 0; k < 2; ++k) {
      for (int64_t i = 0; i < 7; ++i) {
        double sum = 0, size = 0;
        for (int64_t j = 0; j < columns; ++j) {
          sum += m(i, j) * q[static_cast<size_t>(k * columns + j)];
          size += std::abs(m(i, j) * q[static_cast<size_t>(k * columns + j)]);
        }
        EXPECT_NEAR(p[static_cast<size_t>(k * 7 + i)], sum, 1e-6 * size + 1e-30);
      }
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < 7; ++i) {
          sum += m(i, j) * p[static_cast<size_t>(k * 7 + i)];
          size += std::abs(m(i, j) * p[static_cast<size_t>(k * 7 + i)]);
        }
        EXPECT_NEAR(left[static_cast<size_t>(k * columns + j)], sum, 1e-6 * size + 1e-30);
      }
    }
    for (size_t i = 0; i < 7; ++i) {
      for (size_t j = 0; j < static_cast<size_t>(columns); ++j) {
        const double c = static_cast<double>(columns);
        const double wanted = static_cast<double>(p[i]) * left[j] +
                              static_cast<double>(p[7 + i]) * left[static_cast<size_t>(c) + j];
        EXPECT_NEAR(outer[i * static_cast<size_t>(columns) + j], wanted,
                    1e-5 * (std::abs(wanted) + 1));
      }
    }
  }
}

TEST(PowerSgd, AGradientOfItsRankIsExactAndReplicasAreIdentical) {
  for (const int ranks : {2, 3, 5}) {
    std::mutex mutex;
    std::vector<std::vector<float>> results;
    // All ranks' gradients lie in the same two-dimensional space.
    std::vector<double> wanted(static_cast<size_t>(kRows * kColumns)),
        wanted_bias(static_cast<size_t>(kBias));
    const auto gradient = [](int rank) {
      std::vector<float> values = LowRank(2, 7);
      for (float& value : values) value *= static_cast<float>(rank + 1);
      return values;
    };
    for (int r = 0; r < ranks; ++r) {
      const std::vector<float> values = gradient(r), bias = Normal(kBias, static_cast<uint64_t>(r));
      for (size_t i = 0; i < wanted.size(); ++i)
        wanted[i] += values[i] / static_cast<double>(ranks);
      for (size_t i = 0; i < wanted_bias.size(); ++i)
        wanted_bias[i] += bias[i] / static_cast<double>(ranks);
    }
    OnEveryRank(ranks, [&](Communicator& communicator) {
      Member member(communicator, {.rank = 4});
      const int64_t before = communicator.wire_stats().bytes_sent;
      ASSERT_TRUE(member
                      .Step(gradient(communicator.rank()),
                            Normal(kBias, static_cast<uint64_t>(communicator.rank())), 0,
                            1.0f / static_cast<float>(ranks))
                      .ok());
      EXPECT_EQ(communicator.wire_stats().bytes_sent - before,
                member.compressor->PredictedWireBytes(0));
      EXPECT_LT(Distance(member.weight, wanted), 1e-5);
      EXPECT_LT(Distance(member.bias, wanted_bias), 1e-6);
      std::lock_guard lock(mutex);
      results.push_back(member.weight);
    });
    for (const std::vector<float>& result : results) EXPECT_EQ(result, results[0]);
  }
}

// What came out over the steps, plus what all ranks still owe, is what went in.
TEST(PowerSgd, ErrorFeedbackConservesTheSum) {
  constexpr int kRanks = 3, kSteps = 6;
  std::mutex mutex;
  std::vector<double> went_in(static_cast<size_t>(kRows * kColumns)), came_out = went_in,
                                                                      owed = went_in;
  OnEveryRank(kRanks, [&](Communicator& communicator) {
    Member member(communicator, {.rank = 2});
    for (uint64_t step = 0; step < kSteps; ++step) {
      const std::vector<float> values =
          Normal(kRows * kColumns, 100 * step + static_cast<uint64_t>(communicator.rank()));
      ASSERT_TRUE(member.Step(values, Normal(kBias, 1), step, 0.5f).ok());
      std::lock_guard lock(mutex);
      for (size_t i = 0; i < values.size(); ++i) {
        went_in[i] += 0.5 * values[i];
        if (communicator.rank() == 0) came_out[i] += member.weight[i];
      }
    }
    const std::vector<float> residual = member.compressor->ExportState().at("worker/w@0");
    std::lock_guard lock(mutex);
    for (size_t i = 0; i < residual.size(); ++i) owed[i] += residual[i];
  });
  double size = 0, difference = 0, sent = 0;
  for (size_t i = 0; i < owed.size(); ++i) {
    size += went_in[i] * went_in[i];
    sent += came_out[i] * came_out[i];
    difference += std::pow(went_in[i] - came_out[i] - owed[i], 2);
  }
  EXPECT_LT(std::sqrt(difference / size), 1e-5);
  EXPECT_GT(sent, 0.01 * size);
}

TEST(PowerSgd, WarmStartsApproachTheBestApproximation) {
  // One strong direction in noise: the first random Q finds it roughly, later ones better.
  const std::vector<float> strong = LowRank(1, 3), noise = Normal(kRows * kColumns, 4);
  std::vector<float> gradient(strong.size());
  for (size_t i = 0; i < gradient.size(); ++i) gradient[i] = strong[i] + 0.5f * noise[i];
  const std::vector<double> wanted(gradient.begin(), gradient.end());
  OnEveryRank(2, [&](Communicator& communicator) {
    Member member(communicator, {.rank = 1, .error_feedback = false});
    std::vector<double> distances;
    for (uint64_t step = 0; step < 4; ++step) {
      ASSERT_TRUE(member.Step(gradient, Normal(kBias, 1), step, 0.5f).ok());
      distances.push_back(Distance(member.weight, wanted));
    }
    EXPECT_LT(distances[3], distances[0]);
    EXPECT_LT(distances[3], 0.5);
  });
}

TEST(PowerSgd, ASkippedStepChangesNothingAndAStateContinuesWithTheSameBits) {
  OnEveryRank(3, [&](Communicator& communicator) {
    const uint64_t me = static_cast<uint64_t>(communicator.rank());
    Member member(communicator, {.rank = 2}), resumed(communicator, {.rank = 2});
    ASSERT_TRUE(member.Step(Normal(kRows * kColumns, me), Normal(kBias, me), 0, 1).ok());
    const CompressorState before = member.compressor->ExportState();
    std::vector<float> bad = Normal(kRows * kColumns, 50 + me);
    if (me == 1) bad[99] = std::numeric_limits<float>::infinity();
    ASSERT_TRUE(member.Step(bad, Normal(kBias, me), 1, 1, /*commit=*/false).ok());
    EXPECT_FALSE(std::all_of(member.weight.begin(), member.weight.end(),
                             [](float v) { return std::isfinite(v); }));
    EXPECT_EQ(member.compressor->ExportState(), before);
    ASSERT_TRUE(resumed.compressor->ImportState(before).ok());
    for (uint64_t step = 2; step < 4; ++step) {
      ASSERT_TRUE(
          member.Step(Normal(kRows * kColumns, 9 * step + me), Normal(kBias, me), step, 1).ok());
      ASSERT_TRUE(
          resumed.Step(Normal(kRows * kColumns, 9 * step + me), Normal(kBias, me), step, 1).ok());
      EXPECT_EQ(member.weight, resumed.weight);
    }
  });
}

// A parameter without gradient for some steps must not stay without one.
TEST(PowerSgd, ZeroGradientsDoNotLast) {
  OnEveryRank(2, [&](Communicator& communicator) {
    Member member(communicator, {.rank = 2});
    const std::vector<float> zeros(static_cast<size_t>(kRows * kColumns)),
        gradient = LowRank(2, 11);
    ASSERT_TRUE(member.Step(zeros, Normal(kBias, 1), 0, 0.5f).ok());
    EXPECT_EQ(member.weight, zeros);
    ASSERT_TRUE(member.Step(gradient, Normal(kBias, 1), 1, 0.5f).ok());
    EXPECT_LT(Distance(member.weight, std::vector<double>(gradient.begin(), gradient.end())), 1e-5);
  });
}

TEST(PowerSgd, OneRankAloneScalesAndPays) {
  const std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  Member member(*communicator, {.rank = 2});
  std::vector<float> owed(static_cast<size_t>(kRows * kColumns), 3.0f);
  ASSERT_TRUE(member.compressor->ImportState({{"worker/w@0", owed}}).ok());
  const std::vector<float> ones(owed.size(), 1.0f);
  ASSERT_TRUE(member.Step(ones, Normal(kBias, 1), 0, 0.5f).ok());
  EXPECT_EQ(member.weight, std::vector<float>(owed.size(), 3.5f));
  ASSERT_TRUE(member.Step(ones, Normal(kBias, 1), 1, 0.5f).ok());
  EXPECT_EQ(member.weight, std::vector<float>(owed.size(), 0.5f));
}

TEST(PowerSgd, NonsenseIsRefused) {
  const std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  std::vector<float> values(12);
  const auto create = [&](GradientSegment segment, PowerSgdOptions options) {
    return PowerSgd::Create(communicator.get(), {{segment}}, options).status().code();
  };
  EXPECT_EQ(create({"w", absl::MakeSpan(values), 0, nullptr, {3, 5}}, {}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({"w", absl::MakeSpan(values), 12, nullptr, {3, 4}}, {}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({"w", absl::MakeSpan(values), 0, nullptr, {3, 4}}, {.rank = 0}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({"w", absl::MakeSpan(values), 0, nullptr, {3, 4}}, {}), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace ds
