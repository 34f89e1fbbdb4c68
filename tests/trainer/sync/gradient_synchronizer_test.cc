#include "trainer/sync/gradient_synchronizer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/trainer/sync/sync_testing.h"
#include "trainer/sync/exchange_forecast.h"

namespace ds {
namespace {

using Sync = std::unique_ptr<GradientSynchronizer>;

Sync Create(GraphModule& module, Communicator& communicator, const ExchangeOptions& options = {}) {
  absl::StatusOr<Sync> made = GradientSynchronizer::Create(module, communicator, options);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

at::Tensor Ones(int64_t rows) { return at::ones({rows, kIn}); }

// Rank r has r + 1 rows, so that its gradient is r + 1 times that of one row.
TEST(GradientSynchronizer, LeavesTheMeanOverTheRanks) {
  for (int world : {1, 2, 3, 5, 8}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = ExactModule();
      const Sync sync = Create(*module, *communicator);
      // Twice: the second step finds the gradients in the buckets already.
      for (int step = 0; step < 2; ++step) {
        for (const NamedTensor& parameter : module->parameters()) {
          if (parameter.tensor.grad().defined()) parameter.tensor.grad().zero_();
        }
        ASSERT_TRUE(sync->Begin({}).ok());
        Backward(*module, Ones(rank + 1));
        const absl::StatusOr<SyncStats> stats = sync->Finish();
        ASSERT_TRUE(stats.ok()) << stats.status();
        EXPECT_FALSE(stats->found_inf);
        EXPECT_EQ(stats->wire_bytes > 0, world > 1);
        const int64_t rows = world * (world + 1) / 2;
        for (const NamedTensor& parameter : module->parameters()) {
          const float wanted = ExactGradient(parameter.name, rows) / static_cast<float>(world);
          if (wanted == 0) {
            EXPECT_FALSE(parameter.tensor.grad().defined())
                << parameter.name << ": what has no gradient on any rank stays without";
            continue;
          }
          ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
          const at::Tensor gradient = parameter.tensor.grad().contiguous();
          for (int64_t i = 0; i < gradient.numel(); ++i) {
            ASSERT_FLOAT_EQ(gradient.data_ptr<float>()[i], wanted)
                << parameter.name << ", " << world << " ranks, rank " << rank;
          }
        }
      }
    });
  }
}

// A rank may have no samples left in an epoch's last batch: it exchanges zeros, and whatever stood
// there before does not count.
TEST(GradientSynchronizer, ParametersWithoutGradientsCountAsZeros) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    const Sync sync = Create(*module, *communicator);
    ASSERT_TRUE(sync->Begin({}).ok());
    if (rank == 0) Backward(*module, Ones(4));
    ASSERT_TRUE(sync->Finish().ok());
    for (const NamedTensor& parameter : module->parameters()) {
      const float wanted = ExactGradient(parameter.name, 2);
      ASSERT_EQ(parameter.tensor.grad().defined(), wanted != 0) << parameter.name;
      if (wanted == 0) continue;
      EXPECT_TRUE(parameter.tensor.grad().eq(wanted).all().item<bool>())
          << parameter.name << " on rank " << rank;
    }
  });
}

// A gradient that came on one rank, in whatever micro-batch, is everybody's; and only for that
// step.
TEST(GradientSynchronizer, AGradientOnOneRankInAnEarlierMicroBatchIsExchanged) {
  RunRanks(3, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    const Sync sync = Create(*module, *communicator);
    for (const bool side : {true, false, true}) {
      for (const NamedTensor& parameter : module->parameters()) {
        if (parameter.tensor.grad().defined()) parameter.tensor.grad().zero_();
      }
      if (side && rank == 1) {
        const auto outputs = module->Forward({Ones(3)});
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        (*outputs)[1].sum().backward();
      }
      ASSERT_TRUE(sync->Begin({}).ok());
      Backward(*module, Ones(1));
      ASSERT_TRUE(sync->Finish().ok());
      for (const NamedTensor& parameter : module->parameters()) {
        const at::Tensor& gradient = parameter.tensor.grad();
        if (parameter.name.rfind("side", 0) != 0) {
          EXPECT_TRUE(gradient.defined()) << parameter.name;
          continue;
        }
        ASSERT_EQ(gradient.defined(), side) << parameter.name << " on rank " << rank;
        // Three rows of ones on one of three ranks.
        EXPECT_TRUE(!side || gradient.eq(1).all().item<bool>()) << gradient;
      }
    }
  });
}

TEST(GradientSynchronizer, TheSameBitsForEveryBucketSizeWithAndWithoutOverlap) {
  constexpr int kWorld = 3;
  std::vector<float> reference;
  for (double bucket_mb : {4.0, 0.004, 0.001, 1e-6}) {
    for (bool overlap : {true, false}) {
      std::vector<std::vector<float>> found(kWorld);
      RunRanks(kWorld, [&](int rank, std::unique_ptr<Communicator> communicator) {
        const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/11);
        const Sync sync =
            Create(*module, *communicator, {.bucket_mb = bucket_mb, .overlap = overlap});
        const at::Tensor input =
            at::arange(1, 1 + 4 * kDeepWidth, at::kFloat).reshape({4, kDeepWidth}) / (rank + 3.0);
        ASSERT_TRUE(sync->Begin({}).ok());
        Backward(*module, input);
        ASSERT_TRUE(sync->Finish().ok());
        found[static_cast<size_t>(rank)] = Gradients(*module);
      });
      if (reference.empty()) reference = found[0];
      for (const std::vector<float>& gradients : found) {
        EXPECT_EQ(gradients, reference) << bucket_mb << " MiB, overlap " << overlap;
      }
    }
  }
  EXPECT_GT(std::abs(*std::max_element(reference.begin(), reference.end())), 0);
}

// Its first steps are exchanged after backward, and watched but for the very first ones; the bits
// stay as they are.
TEST(GradientSynchronizer, AForecastIsMadeOnceAndChangesNoBits) {
  constexpr int kSteps = ExchangeForecast::kWarmUpSteps + ExchangeForecast::kWatchedSteps + 2;
  for (const char* method : {"none", "uniform", "powersgd"}) {
    std::vector<std::vector<float>> found(2);
    for (const bool forecast : {true, false}) {
      RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
        const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/11);
        const bool foreseeable = forecast && method != std::string("powersgd");
        const Sync sync = Create(*module, *communicator,
                                 {.bucket_mb = 0.001,
                                  .forecast = forecast,
                                  .compression = {.method = method, .minimum_size = 16}});
        const at::Tensor input =
            at::arange(1, 1 + 4 * kDeepWidth, at::kFloat).reshape({4, kDeepWidth}) / (rank + 3.0);
        for (int step = 0; step < kSteps; ++step) {
          for (const NamedTensor& parameter : module->parameters()) {
            if (parameter.tensor.grad().defined()) parameter.tensor.grad().zero_();
          }
          const bool known = step >= kSteps - 2;
          EXPECT_EQ(sync->Report().added_ms >= 0, known && foreseeable)
              << method << ", step " << step;
          ASSERT_TRUE(sync->Begin({.step = step}).ok());
          Backward(*module, input);
          const absl::StatusOr<SyncStats> stats = sync->Finish();
          ASSERT_TRUE(stats.ok()) << stats.status();
          EXPECT_EQ(stats->watched, foreseeable && !known && step >= ExchangeForecast::kWarmUpSteps)
              << method << ", step " << step;
        }
        if (rank == 0) found[forecast] = Gradients(*module);
      });
    }
    EXPECT_EQ(found[0], found[1]) << method;
  }
}

TEST(GradientSynchronizer, MicroBatchesAccumulateAndAreExchangedOnce) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    const Sync sync = Create(*module, *communicator);
    int64_t wire_bytes = 0;
    for (int micro_batches : {1, 3, 2}) {  // the first step makes the gradients the buckets' own
      for (const NamedTensor& parameter : module->parameters()) {
        if (parameter.tensor.grad().defined()) parameter.tensor.grad().zero_();
      }
      for (int i = 0; i < micro_batches; ++i) {
        if (i + 1 == micro_batches) {
          ASSERT_TRUE(sync->Begin({}).ok());
        }
        Backward(*module, Ones(rank == 0 ? 1 : 3));
      }
      const absl::StatusOr<SyncStats> stats = sync->Finish();
      ASSERT_TRUE(stats.ok()) << stats.status();
      if (wire_bytes == 0) wire_bytes = stats->wire_bytes;
      EXPECT_EQ(stats->wire_bytes, wire_bytes) << micro_batches << " micro-batches";
      for (const NamedTensor& parameter : module->parameters()) {
        const float wanted = ExactGradient(parameter.name, 2 * micro_batches);
        ASSERT_EQ(parameter.tensor.grad().defined(), wanted != 0) << parameter.name;
        if (wanted == 0) continue;
        EXPECT_TRUE(parameter.tensor.grad().eq(wanted).all().item<bool>())
            << parameter.name << ", " << micro_batches;
      }
    }
  });
}

// The first micro-batch of all finds no bucket under its gradients; what it gathered counts.
TEST(GradientSynchronizer, WhatWasGatheredBeforeTheFirstBeginCounts) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    const Sync sync = Create(*module, *communicator);
    Backward(*module, Ones(1));
    ASSERT_TRUE(sync->Begin({}).ok());
    Backward(*module, Ones(2));
    ASSERT_TRUE(sync->Finish().ok());
    for (const NamedTensor& parameter : module->parameters()) {
      if (!parameter.tensor.grad().defined()) continue;
      EXPECT_TRUE(parameter.tensor.grad().eq(ExactGradient(parameter.name, 3)).all().item<bool>())
          << parameter.name;
    }
  });
}

TEST(GradientSynchronizer, ANonFiniteGradientOnOneRankSetsTheFlagOnAll) {
  for (int world : {1, 2, 3}) {
    for (double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
        const std::unique_ptr<GraphModule> module = ExactModule();
        const Sync sync = Create(*module, *communicator);
        // Bad, then good: the flag must not stick. Too large for squares is bad too, whatever the
        // loss scale, and Inf is what a scale alone makes of gradients that are not.
        struct Case {
          double factor, loss_scale;
          bool wanted;
        };
        for (const auto& [factor, loss_scale, wanted] :
             {Case{bad, 1, true}, Case{1, 1, false}, Case{1e25, 1, true}, Case{1e25, 1e10, false},
              Case{1e30, 1024, true}, Case{1, 1e-3, false}}) {
          for (const NamedTensor& parameter : module->parameters()) {
            if (parameter.tensor.grad().defined()) parameter.tensor.grad().zero_();
          }
          ASSERT_TRUE(sync->Begin({.loss_scale = loss_scale}).ok());
          Backward(*module, Ones(1), rank == world - 1 ? factor : 1.0);
          const absl::StatusOr<SyncStats> stats = sync->Finish();
          ASSERT_TRUE(stats.ok()) << stats.status();
          EXPECT_EQ(stats->found_inf, wanted)
              << "rank " << rank << " of " << world << ", factor " << factor;
          EXPECT_FALSE(stats->overflowed);
          EXPECT_EQ(!stats->not_finite.empty(), wanted && rank == world - 1)
              << "the rank that had it knows the tensor";
        }
      });
    }
  }
}

TEST(GradientSynchronizer, AStepThatOneRankRefusesIsRefusedOnAll) {
  for (int world : {1, 3}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = ExactModule();
      const Sync sync = Create(*module, *communicator);
      for (const bool refused : {true, false}) {
        ASSERT_TRUE(sync->Begin({}).ok());
        Backward(*module, Ones(1));
        if (refused && rank == world - 1) sync->Refuse();
        const absl::StatusOr<SyncStats> stats = sync->Finish();
        ASSERT_TRUE(stats.ok()) << stats.status();
        EXPECT_EQ(stats->found_inf, refused) << "rank " << rank;
      }
    });
  }
}

// Without a clock: the first layer's gradient, the last of backward, is held back until other
// gradients have been exchanged.
TEST(GradientSynchronizer, ExchangesWhileBackwardStillRuns) {
  RunRanks(2,
           [&](int rank, std::unique_ptr<Communicator> communicator) {
             Watcher watcher;
             const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
             const std::unique_ptr<Communicator> watched = Watch(std::move(communicator), watcher);
             const Sync sync = Create(*module, *watched, {.trace = true});
             int before_the_end = 0;
             const at::Tensor first =
                 module->parameters()[static_cast<size_t>(module->forward_order().front())].tensor;
             first.register_hook([&](const at::Tensor& gradient) {
               const absl::Time give_up = absl::Now() + absl::Seconds(10);
               while (watcher.calls < 2 * 3 && absl::Now() < give_up)
                 absl::SleepFor(absl::Milliseconds(1));
               before_the_end = watcher.calls / 2;
               return gradient;
             });
             ASSERT_TRUE(sync->Begin({}).ok());
             Backward(*module, at::ones({2, kDeepWidth}));
             const int64_t backward_end_us = absl::ToInt64Microseconds(
                 absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()));
             ASSERT_TRUE(sync->Finish().ok());
             EXPECT_GE(before_the_end, 3)
                 << "three of the four quarters can travel before the first layer is done, on rank "
                 << rank;
             const std::vector<TraceSpan> trace = sync->TakeTrace();
             ASSERT_GE(trace.size(), 5u);
             for (size_t i = 0; i < 3; ++i)
               EXPECT_LE(trace[i].end_us, backward_end_us) << trace[i].name;
             EXPECT_GE(trace.back().start_us, backward_end_us)
                 << "the flag is known when backward is over";
           });
}

TEST(GradientSynchronizer, TracesEachBucketInOrderAndTheFlag) {
  for (bool overlap : {true, false}) {
    RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
      const Sync sync = Create(*module, *communicator, {.overlap = overlap, .trace = true});
      for (int step = 0; step < 2; ++step) {
        ASSERT_TRUE(sync->Begin({}).ok());
        Backward(*module, at::ones({2, kDeepWidth}));
        const absl::StatusOr<SyncStats> stats = sync->Finish();
        ASSERT_TRUE(stats.ok()) << stats.status();
        const std::vector<TraceSpan> trace = sync->TakeTrace();
        // Eight equal layers: four buckets of two, and the first layer's weight by itself, which
        // takes it from the fourth.
        ASSERT_EQ(trace.size(), 6u);
        double total_ms = 0;
        for (size_t i = 0; i < trace.size(); ++i) {
          EXPECT_EQ(trace[i].name, i + 1 < trace.size() ? absl::StrCat("bucket ", i) : "flag");
          EXPECT_EQ(trace[i].track, "exchange");
          EXPECT_LE(trace[i].start_us, trace[i].end_us);
          EXPECT_LE(i > 0 ? trace[i - 1].end_us : 0, trace[i].start_us) << "one exchange at a time";
          total_ms += static_cast<double>(trace[i].end_us - trace[i].start_us) / 1000;
        }
        EXPECT_NEAR(stats->exchange_ms, total_ms, 1e-6);
        EXPECT_TRUE(sync->TakeTrace().empty()) << "taken is taken";
      }
    });
  }
}

TEST(GradientSynchronizer, WithoutTraceNothingIsKept) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    const Sync sync = Create(*module, *communicator);
    ASSERT_TRUE(sync->Begin({}).ok());
    Backward(*module, Ones(1));
    ASSERT_TRUE(sync->Finish().ok());
    EXPECT_TRUE(sync->TakeTrace().empty());
  });
}

// A rank sends (p - 1) / p of its bytes twice: to the owners, and its own part to all. Plus the
// flag and a mark for each parameter, of a byte each.
TEST(GradientSynchronizer, CountsTheBytesOnTheWire) {
  constexpr int kWorld = 2;
  std::atomic<int64_t> sent = 0, elements = 0, marks = 0;
  RunRanks(kWorld, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
    const Sync sync = Create(*module, *communicator);
    ASSERT_TRUE(sync->Begin({}).ok());
    Backward(*module, at::ones({2, kDeepWidth}));
    const absl::StatusOr<SyncStats> stats = sync->Finish();
    ASSERT_TRUE(stats.ok());
    sent += stats->wire_bytes;
    if (rank == 0) elements = static_cast<int64_t>(Gradients(*module).size());
    if (rank == 0) marks = 1 + static_cast<int64_t>(module->parameters().size());
  });
  EXPECT_EQ(sent, kWorld * (kWorld - 1) * (4 * elements + marks) / kWorld * 2);
}

TEST(GradientSynchronizer, RefusesWhatItCannotExchange) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = ExactModule();
    for (double bucket_mb : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
      const absl::Status status =
          GradientSynchronizer::Create(*module, *communicator, {.bucket_mb = bucket_mb}).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bucket_mb;
      EXPECT_NE(std::string(status.message()).find("bucket_mb"), std::string::npos) << status;
    }
  });
}

}  // namespace
}  // namespace ds
