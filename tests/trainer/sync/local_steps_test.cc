// Outer steps alone: what they compute, what they leave equal, and what happens to changes that are
// not finite.
#include "trainer/sync/local_steps.h"

#include <cmath>
#include <limits>
#include <string>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/trainer/sync/sync_testing.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 20231;
const double kEpsilon = std::ldexp(1.0, -24);  // a float's rounding

using Weights = std::vector<float>;

std::unique_ptr<LocalSteps> Create(const GraphModule& module, Communicator& communicator,
                                   const LocalStepsOptions& options,
                                   const ExchangeOptions& exchange = {}) {
  absl::StatusOr<std::unique_ptr<LocalSteps>> made =
      LocalSteps::Create(module, communicator, options, exchange);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

Weights WeightsOf(const GraphModule& module) {
  Weights all;
  for (const NamedTensor& parameter : module.parameters()) {
    const absl::Span<const float> values = DenseMemory(parameter.tensor);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

void SetWeights(const GraphModule& module, const Weights& weights) {
  size_t at = 0;
  for (const NamedTensor& parameter : module.parameters()) {
    for (float& value : DenseMemory(parameter.tensor)) value = weights[at++];
  }
}

// In [-1, 1), a pure function of its arguments.
float Noise(uint64_t round, uint64_t rank, size_t element) {
  const uint64_t bits =
      StreamOf("local_steps_test", 16) ^ (kSeed + 1000003 * round + 7919 * rank + 104729 * element);
  uint64_t mixed = bits * 0x9e3779b97f4a7c15u;
  mixed ^= mixed >> 29;
  mixed *= 0xbf58476d1ce4e5b9u;
  return static_cast<float>(static_cast<double>(mixed >> 11) * std::ldexp(1.0, -52) - 1.0);
}

// What a rank's local steps of a round do.
void Wander(const GraphModule& module, uint64_t round, int rank, float size) {
  Weights weights = WeightsOf(module);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] += size * Noise(round, static_cast<uint64_t>(rank), i);
  SetWeights(module, weights);
}

OuterStats Outer(LocalSteps& local) {
  const absl::StatusOr<OuterStats> stats = local.OuterStep();
  EXPECT_TRUE(stats.ok()) << stats.status();
  return stats.ok() ? *stats : OuterStats();
}

CompressionOptions Method(const std::string& method, int bits = 4) {
  return {
      .method = method, .codec = {.bits = bits, .bucket = 64}, .minimum_size = 1, .seed = kSeed};
}

// Plain SGD with one local step a round, outer learning rate 1 and no outer momentum: anchor -
// mean(anchor - (anchor - lr g)) is anchor - lr mean(g). Local weight, change, sum and result round
// once each, and lr g as often: 8 roundings of the largest weight a step.
TEST(LocalSteps, OneStepARoundOfPlainSgdIsGradientAveraging) {
  constexpr int kSteps = 4;
  constexpr double kRate = 0.01;
  for (int world : {1, 2, 3, 5}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> averaged = DeepModule(kSeed), local = DeepModule(kSeed);
      const auto sync = *GradientSynchronizer::Create(*averaged, *communicator, {});
      const auto outer =
          Create(*local, *communicator, {.outer_learning_rate = 1, .outer_momentum = 0});
      const auto descend = [](const GraphModule& module) {
        at::NoGradGuard no_grad;
        for (const NamedTensor& parameter : module.parameters()) {
          at::Tensor tensor = parameter.tensor;
          tensor.sub_(tensor.grad(), kRate);
          tensor.grad().zero_();
        }
      };
      for (int step = 0; step < kSteps; ++step) {
        const at::Tensor input =
            at::arange(1, 1 + 4 * kDeepWidth, at::kFloat).reshape({4, kDeepWidth}) /
            (rank + step + 30.0);
        ASSERT_TRUE(sync->Begin({.step = step}).ok());
        Backward(*averaged, input);
        ASSERT_TRUE(sync->Finish().ok());
        descend(*averaged);
        Backward(*local, input);
        descend(*local);
        Outer(*outer);
      }
      const Weights wanted = WeightsOf(*averaged), got = WeightsOf(*local);
      double largest = 0, moved = 0;
      const Weights start = WeightsOf(*DeepModule(kSeed));
      for (size_t i = 0; i < wanted.size(); ++i) {
        largest = std::max<double>(largest, std::abs(wanted[i]));
        moved = std::max<double>(moved, std::abs(wanted[i] - start[i]));
      }
      ASSERT_GT(moved, 1e-3);
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_NEAR(got[i], wanted[i], 8 * kSteps * kEpsilon * largest)
            << "element " << i << ", rank " << rank << " of " << world;
      }
    });
  }
}

// anchor - (anchor - x) is x wherever x lies within a factor of 2 of the anchor (Sterbenz);
// elsewhere it is off by the rounding of the difference and its own: an ulp of the larger.
TEST(LocalSteps, OneRankWithoutMomentumKeepsItsLocalWeights) {
  RunRanks(1, [&](int, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
    const auto outer =
        Create(*module, *communicator, {.outer_learning_rate = 1, .outer_momentum = 0});
    int close = 0, far = 0;
    for (uint64_t round = 0; round < 3; ++round) {
      const Weights anchor = WeightsOf(*module);
      Wander(*module, round, 0, 0.3f);
      const Weights local = WeightsOf(*module);
      Outer(*outer);
      const Weights got = WeightsOf(*module);
      for (size_t i = 0; i < got.size(); ++i) {
        const bool exact = local[i] * anchor[i] >= 0 &&
                           2 * std::abs(local[i]) >= std::abs(anchor[i]) &&
                           std::abs(local[i]) <= 2 * std::abs(anchor[i]);
        ++(exact ? close : far);
        const double larger = std::max(std::abs(local[i]), std::abs(anchor[i]));
        ASSERT_LE(std::abs(got[i] - local[i]), exact ? 0 : 4 * kEpsilon * larger)
            << "element " << i << " of round " << round;
      }
    }
    EXPECT_GT(close, 100);
    EXPECT_GT(far, 100);
  });
}

// Against the same in double, run on one rank for all.
TEST(LocalSteps, TheOuterStepIsNesterovsOnTheMeanChange) {
  constexpr int kRounds = 5;
  constexpr double kRate = 0.7, kMomentum = 0.9;
  for (int world : {1, 2, 3}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
      const auto outer = Create(*module, *communicator,
                                {.outer_learning_rate = kRate, .outer_momentum = kMomentum});
      const Weights start = WeightsOf(*module);
      std::vector<double> anchor(start.begin(), start.end()), velocity(start.size());
      for (uint64_t round = 0; round < kRounds; ++round) {
        Wander(*module, round, rank, 0.1f);
        Outer(*outer);
        for (size_t i = 0; i < anchor.size(); ++i) {
          double change = 0;
          for (int r = 0; r < world; ++r)
            change -= 0.1f * static_cast<double>(Noise(round, static_cast<uint64_t>(r), i)) / world;
          velocity[i] = kMomentum * velocity[i] + change;
          anchor[i] -= kRate * (change + kMomentum * velocity[i]);
        }
      }
      const Weights got = WeightsOf(*module);
      // 0.7f and 0.9f are off by as much as a rounding; values stay below 2.
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], anchor[i], 32 * kRounds * kEpsilon) << "element " << i;
    });
  }
}

TEST(LocalSteps, ReplicasAreIdenticalAfterEveryOuterStepAndRunsRepeat) {
  for (int world : {1, 2, 3, 5}) {
    for (const char* method : {"none", "uniform", "sign", "topk", "fp16", "powersgd"}) {
      SCOPED_TRACE(absl::StrCat(method, ", ", world, " ranks"));
      std::vector<Weights> reference;
      for (double bucket_mb : {4.0, 0.001}) {
        std::vector<std::vector<Weights>> seen(static_cast<size_t>(world));
        RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
          const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
          const auto outer =
              Create(*module, *communicator, {.outer_learning_rate = 0.7, .outer_momentum = 0.9},
                     {.bucket_mb = bucket_mb, .compression = Method(method)});
          for (uint64_t round = 0; round < 3; ++round) {
            Wander(*module, round, rank, 0.1f);
            EXPECT_EQ(Outer(*outer).sync.wire_bytes > 0, world > 1);
            seen[static_cast<size_t>(rank)].push_back(WeightsOf(*module));
          }
          EXPECT_EQ(outer->outer_steps(), 3);
        });
        for (const std::vector<Weights>& weights : seen)
          EXPECT_EQ(weights, seen[0]) << "replicas differ";
        if (reference.empty()) reference = seen[0];
        EXPECT_EQ(seen[0], reference) << "bits depend on the size of buckets";
      }
    }
  }
}

TEST(LocalSteps, FourBitsAreAnEighthOfTheBytes) {
  RunRanks(2, [&](int, std::unique_ptr<Communicator> communicator) {
    const auto bytes = [&](const CompressionOptions& compression) {
      const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
      const auto outer = Create(*module, *communicator, {}, {.compression = compression});
      const int64_t sent = Outer(*outer).sync.wire_bytes;
      EXPECT_GE(outer->Report().raw_bytes_per_step, sent - 8) << "but for the flag";
      return static_cast<double>(sent);
    };
    CompressionOptions four = Method("uniform");
    four.codec.bucket = 256;  // a whole layer
    // Biases, 1 in 17 of the elements, stay in fp32.
    EXPECT_NEAR(bytes(four) / bytes(Method("none")), (16.0 / 8 + 1) / 17, 0.01);
  });
}

TEST(LocalSteps, AChangeThatIsNotFiniteIsNeverApplied) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const char* method : {"none", "uniform", "powersgd"}) {
      SCOPED_TRACE(absl::StrCat(method, ", ", bad));
      RunRanks(3, [&](int rank, std::unique_ptr<Communicator> communicator) {
        const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
        const auto outer = Create(*module, *communicator, {}, {.compression = Method(method)});
        Wander(*module, 0, rank, 0.1f);
        EXPECT_FALSE(Outer(*outer).sync.found_inf);
        const Weights anchor = WeightsOf(*module);
        const CompressorState residuals = outer->ExportExchange().residuals;
        const at::Tensor velocity = outer->State().at("velocity/fc3.weight");
        for (int64_t round = 1; round <= 2; ++round) {
          Wander(*module, static_cast<uint64_t>(round), rank, 0.1f);
          if (rank == 1) {
            Weights poisoned = WeightsOf(*module);
            poisoned[17] = bad;
            SetWeights(*module, poisoned);
          }
          const OuterStats stats = Outer(*outer);
          EXPECT_TRUE(stats.sync.found_inf);
          EXPECT_EQ(stats.mine_is_finite, rank != 1);
          EXPECT_EQ(outer->discarded_in_a_row(), round);
          EXPECT_EQ(WeightsOf(*module), anchor);
          EXPECT_EQ(outer->ExportExchange().residuals, residuals);
          EXPECT_TRUE(at::equal(outer->State().at("velocity/fc3.weight"), velocity));
        }
        Wander(*module, 3, rank, 0.1f);
        EXPECT_FALSE(Outer(*outer).sync.found_inf);
        EXPECT_EQ(outer->discarded_in_a_row(), 0);
        EXPECT_NE(WeightsOf(*module), anchor);
      });
    }
  }
}

// Each rank's change is finite, but float16 cannot hold it: what arrives is Inf, and must reach
// neither weights nor residuals.
TEST(LocalSteps, AMeanThatOverflowsIsDiscarded) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
    const auto outer = Create(*module, *communicator, {}, {.compression = Method("fp16")});
    Wander(*module, 1, rank, 0.1f);
    EXPECT_FALSE(Outer(*outer).sync.found_inf);
    const Weights anchor = WeightsOf(*module);
    const CompressorState residuals = outer->ExportExchange().residuals;
    Wander(*module, 0, rank, 1e7f);
    const OuterStats stats = Outer(*outer);
    EXPECT_TRUE(stats.sync.found_inf);
    EXPECT_TRUE(stats.sync.overflowed);
    EXPECT_FALSE(stats.sync.not_finite.empty());
    EXPECT_TRUE(stats.mine_is_finite);
    EXPECT_EQ(WeightsOf(*module), anchor);
    EXPECT_EQ(outer->ExportExchange().residuals, residuals);
    Wander(*module, 1, rank, 0.1f);
    EXPECT_FALSE(Outer(*outer).sync.found_inf);
  });
}

// Changes and their mean are finite; what the outer optimiser would make of them is not.
TEST(LocalSteps, AMoveThatOverflowsIsDiscarded) {
  for (const LocalStepsOptions& options :
       {LocalStepsOptions{.outer_learning_rate = 1e38},
        LocalStepsOptions{.outer_learning_rate = 1e37, .outer_momentum = 0.9}}) {
    RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
      const auto outer = Create(*module, *communicator, options);
      const Weights anchor = WeightsOf(*module);
      Wander(*module, 0, rank, 1e4f);
      const OuterStats stats = Outer(*outer);
      EXPECT_TRUE(stats.sync.found_inf && stats.sync.overflowed && stats.mine_is_finite);
      EXPECT_FALSE(stats.sync.not_finite.empty());
      EXPECT_EQ(WeightsOf(*module), anchor);
      for (const auto& [name, tensor] : outer->State()) {
        if (!tensor.is_floating_point()) continue;
        EXPECT_EQ(tensor.count_nonzero().item<int64_t>(), 0) << name;
      }
      EXPECT_EQ(outer->discarded_in_a_row(), 1);
    });
  }
}

TEST(LocalSteps, SavedLoadedAndContinuedIsBitIdentical) {
  for (const char* method : {"none", "uniform", "powersgd"}) {
    SCOPED_TRACE(method);
    RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const LocalStepsOptions options = {.outer_learning_rate = 0.7, .outer_momentum = 0.9};
      const ExchangeOptions exchange = {.compression = Method(method)};
      const std::unique_ptr<GraphModule> straight = DeepModule(kSeed),
                                         resumed = DeepModule(kSeed + 1);
      const auto first = Create(*straight, *communicator, options, exchange);
      Wander(*straight, 0, rank, 0.1f);
      Outer(*first);
      SetWeights(*resumed, WeightsOf(*straight));
      const auto second = Create(*resumed, *communicator, options, exchange);
      ASSERT_TRUE(second->LoadState(first->State()).ok());
      ASSERT_TRUE(second->ImportExchange(first->ExportExchange()).ok());
      for (uint64_t round = 1; round < 4; ++round) {
        for (const auto& [module, outer] :
             {std::pair(straight.get(), first.get()), std::pair(resumed.get(), second.get())}) {
          Wander(*module, round, rank, 0.1f);
          Outer(*outer);
        }
        ASSERT_EQ(WeightsOf(*straight), WeightsOf(*resumed)) << "round " << round;
      }
    });
  }
}

TEST(LocalSteps, RefusesAStateThatDoesNotFitAndChangesNothing) {
  RunRanks(1, [&](int, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
    const auto outer = Create(*module, *communicator, {});
    Wander(*module, 0, 0, 0.1f);
    Outer(*outer);
    const std::map<std::string, at::Tensor> before = outer->State();
    auto lacking = before, unknown = before, misshapen = before, negative = before;
    lacking.erase("velocity/fc0.weight");
    unknown["velocity/other"] = at::zeros({3});
    misshapen["velocity/fc0.bias"] = at::zeros({3});
    negative["step"] = at::scalar_tensor(-1, at::kLong);
    for (const auto& [state, name] :
         {std::pair(lacking, "fc0.weight"), std::pair(unknown, "other"),
          std::pair(misshapen, "fc0.bias"), std::pair(negative, "step")}) {
      const absl::Status status = outer->LoadState(state);
      EXPECT_FALSE(status.ok());
      EXPECT_NE(std::string(status.message()).find(name), std::string::npos) << status;
    }
    for (const auto& [name, tensor] : outer->State())
      EXPECT_TRUE(at::equal(tensor, before.at(name))) << name;
  });
}

TEST(LocalSteps, RefusesOptionsOutOfRangeByName) {
  RunRanks(1, [&](int, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
    const double nan = std::numeric_limits<double>::quiet_NaN(),
                 inf = std::numeric_limits<double>::infinity();
    struct Case {
      LocalStepsOptions options;
      std::string name;
      ExchangeOptions exchange = {};
    };
    const std::vector<Case> cases = {{{.every = 0}, "every"},
                                     {{.outer_learning_rate = 0}, "outer_learning_rate"},
                                     {{.outer_learning_rate = inf}, "outer_learning_rate"},
                                     {{.outer_learning_rate = nan}, "outer_learning_rate"},
                                     {{.outer_momentum = 1}, "outer_momentum"},
                                     {{.outer_momentum = -0.1}, "outer_momentum"},
                                     {{.outer_momentum = nan}, "outer_momentum"},
                                     {{}, "bucket_mb", {.bucket_mb = 0}},
                                     {{}, "zip", {.compression = Method("zip")}}};
    for (const auto& [options, name, exchange] : cases) {
      const absl::Status status =
          LocalSteps::Create(*module, *communicator, options, exchange).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
      EXPECT_NE(std::string(status.message()).find(name), std::string::npos) << status;
    }
  });
}

TEST(LocalSteps, AnErrorOfTheCommunicatorComesOut) {
  RunRanks(2, [&](int, std::unique_ptr<Communicator> communicator) {
    Watcher watcher;
    const std::unique_ptr<Communicator> watched = Watch(std::move(communicator), watcher);
    const std::unique_ptr<GraphModule> module = DeepModule(kSeed);
    const auto outer = Create(*module, *watched, {});
    watcher.fail_after = watcher.calls.load() + 1;  // in the middle of the first bucket
    for (int round = 0; round < 2; ++round)
      EXPECT_EQ(outer->OuterStep().status().code(), absl::StatusCode::kDataLoss);
  });
}

TEST(LocalSteps, RanksAgreeOnTheLeastScaleAndTheSumOfSkippedSteps) {
  for (int world : {1, 2, 3, 5}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const LocalCounters mine = {.loss_scale = 1024.0 / (rank + 1),
                                  .good_steps = 10 - rank,
                                  .growths = rank,
                                  .backoffs = 2 * rank,
                                  .scaler_skipped = rank,
                                  .skipped = 3,
                                  .skipped_in_a_row = rank % 2};
      const absl::StatusOr<LocalCounters> agreed = Agree(mine, *communicator);
      ASSERT_TRUE(agreed.ok()) << agreed.status();
      EXPECT_EQ(agreed->loss_scale, 1024.0 / world);
      EXPECT_EQ(agreed->good_steps, 11 - world);
      EXPECT_EQ(agreed->growths, world - 1);
      EXPECT_EQ(agreed->backoffs, 2 * (world - 1));
      EXPECT_EQ(agreed->scaler_skipped, world - 1);
      EXPECT_EQ(agreed->skipped, 3 * world);
      EXPECT_EQ(agreed->skipped_in_a_row, world > 1 ? 1 : 0);
    });
  }
}

}  // namespace
}  // namespace ds
