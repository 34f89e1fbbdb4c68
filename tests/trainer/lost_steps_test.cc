// Steps that are lost: by gradients that are finite but of no use, by what an exchange makes of
// them, and by errors. They change nothing on any rank, and the next step may follow.
#include <atomic>
#include <cmath>
#include <map>
#include <string>
#include <thread>

#include "base/status.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

// All that a rank's next step depends on, by name.
std::map<std::string, at::Tensor> Everything(const Rank& rank) {
  std::map<std::string, at::Tensor> all;
  for (const NamedTensor& entry : rank.module->parameters())
    all[entry.name] = entry.tensor.detach().clone();
  for (const NamedTensor& entry : rank.module->buffers()) all[entry.name] = entry.tensor.clone();
  for (const auto& [name, tensor] : rank.optimizer->State()) all["optimizer/" + name] = tensor;
  for (const auto& [name, values] : rank.trainer->exchange_state().residuals)
    all["residual/" + name] = at::tensor(values);
  return all;
}

void ExpectSame(const std::map<std::string, at::Tensor>& a,
                const std::map<std::string, at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
}

// resnet8, which has batch norms, stepped by hand.
void ByHand(int world, const AdjustOptions& adjust,
            const std::function<void(int rank, Rank& objects, const StepFunction& step)>& body,
            const OptimizerOptions& optimizer = {.learning_rate = 0.05}) {
  std::atomic<int64_t> accumulate = 1;
  const AdjustOptions noted = [&](int rank, RankOptions& options) {
    adjust(rank, options);
    accumulate = options.accumulate;
  };
  OnRanks(world, "resnet8", noted, optimizer, [&](int rank, Rank& objects) {
    ASSERT_TRUE(objects.loader->StartEpoch(0).ok());
    body(rank, objects, [&]() -> absl::StatusOr<StepReport> {
      std::vector<Batch> batches;
      for (int64_t i = 0; i < accumulate; ++i) {
        DS_ASSIGN_OR_RETURN(std::optional<Batch> batch, objects.loader->Next());
        batches.push_back(*std::move(batch));
      }
      return objects.trainer->Step(batches, batches[0].size() * world * accumulate);
    });
  });
}

CompressionOptions Method(const std::string& method) {
  CompressionOptions options = {.method = method, .minimum_size = 1};
  options.codec.bucket = 64;
  if (method == "hierarchical") {
    options.method = "fp16";
    options.hierarchical = true;
  }
  return options;
}

// Step 1's loss is multiplied by `factor` on one rank, or on all (rank below 0).
AdjustOptions Fault(double factor, int bad_rank, const CompressionOptions& compression = {}) {
  return [=](int rank, RankOptions& options) {
    options.exchange.compression = compression;
    if (bad_rank >= 0 && rank != bad_rank) return;
    options.parts.loss_fault = [=](int64_t step, at::Tensor& loss) {
      if (step == 1) loss = loss * factor;
    };
  };
}

// Steps 0 and 2 are taken; step 1 is lost and changes nothing.
void ExpectOnlyStepOneIsLost(int rank, Rank& objects, const StepFunction& step) {
  ASSERT_TRUE(step().ok());
  const auto before = Everything(objects);
  const absl::StatusOr<StepReport> lost = step();
  ASSERT_TRUE(lost.ok()) << lost.status();
  EXPECT_TRUE(lost->skipped) << "rank " << rank;
  ExpectSame(before, Everything(objects));
  const absl::StatusOr<StepReport> next = step();
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_FALSE(next->skipped) << "rank " << rank;
  for (const auto& [name, tensor] : Everything(objects)) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
}

// Finite on every rank, and beyond float16 in what carries them.
TEST(LostSteps, WhatTheCodecCannotHoldIsNotApplied) {
  for (const int world : {2, 3}) {
    SCOPED_TRACE(world);
    ByHand(world, Fault(1e9, 1, Method("fp16")), ExpectOnlyStepOneIsLost);
  }
}

// Squares of such gradients leave float32: AdamW's and LAMB's averages of them would be Inf for
// ever, and the parameter would never move again.
TEST(LostSteps, GradientsWhoseSquaresOverflowAreNotApplied) {
  for (const char* name : {"sgd", "adamw", "lamb"}) {
    for (const int world : {1, 2}) {
      SCOPED_TRACE(std::string(name) + " on " + std::to_string(world));
      ByHand(world, Fault(1e30, 0), ExpectOnlyStepOneIsLost, {.name = name, .learning_rate = 0.01});
    }
  }
}

TEST(LostSteps, AMethodThatFailsOnOneRankChangesNothing) {
  for (const char* method : {"none", "uniform", "topk", "sign", "powersgd", "hierarchical"}) {
    SCOPED_TRACE(method);
    ByHand(2, Fault(1e30, 1, Method(method)), ExpectOnlyStepOneIsLost);
  }
}

// Overlap is for the whole run, but for the step that measures the codec's error.
TEST(LostSteps, OverlapIsOnWhereNothingIsCompressed) {
  struct Case {
    const char* name;
    int64_t minimum_size;
    std::vector<std::string> exclude;
    bool first_overlaps;
  };
  for (const Case& c : {Case{"all too small", int64_t{1} << 40, {}, true},
                        Case{"all excluded", 1, {"*"}, true}, Case{"compressed", 1, {}, false}}) {
    for (const char* method : {"uniform", "topk", "powersgd"}) {
      SCOPED_TRACE(std::string(c.name) + ", " + method);
      const bool measured = !c.first_overlaps && std::string(method) != "powersgd";
      ByHand(
          2,
          [&](int, RankOptions& options) {
            options.exchange.compression = Method(method);
            options.exchange.compression.minimum_size = c.minimum_size;
            options.exchange.compression.exclude = c.exclude;
          },
          [&](int, Rank&, const StepFunction& step) {
            for (int i = 0; i < 3; ++i) {
              const absl::StatusOr<StepReport> report = step();
              ASSERT_TRUE(report.ok()) << report.status();
              EXPECT_EQ(report->overlapped, i > 0 || !measured) << "step " << i;
            }
          });
    }
  }
}

// A step that is measured is held back: after the warm-up, the first and every decide_every-th from
// there; and no more than a few where there is nothing to measure.
TEST(LostSteps, OverlapIsOffForStepsThatAreMeasuredOnly) {
  for (const bool zeros : {false, true}) {
    ::ds::StepByHand(
        2, "resnet8",
        [&](int, RankOptions& options) {
          options.exchange.compression = Method("uniform");
          options.exchange.compression.warmup_steps = zeros ? 0 : 2;
          options.exchange.compression.decide_every = zeros ? 1000 : 3;
          if (zeros) options.parts.loss_fault = [](int64_t, at::Tensor& loss) { loss = loss * 0; };
        },
        [&](int, Rank&, const StepFunction& step) {
          for (int i = 0; i < 10; ++i) {
            const absl::StatusOr<StepReport> report = step();
            ASSERT_TRUE(report.ok()) << report.status();
            const bool measured = zeros ? i < 8 : i >= 2 && (i - 2) % 3 == 0;
            EXPECT_EQ(report->overlapped, !measured) << "step " << i;
          }
        });
  }
}

// An error on one rank between the first micro-batch and the last exchange: it comes back there,
// the others skip the step, and all go on alike.
TEST(LostSteps, AnErrorOfOneRankIsASkippedStepOfAll) {
  for (const int64_t every : {1, 2}) {
    for (const bool throws : {false, true}) {
      SCOPED_TRACE(throws);
      std::string hashes[2];
      ByHand(
          2,
          [&](int rank, RankOptions& options) {
            options.accumulate = 2;
            options.local_steps.every = every;
            options.exchange.compression = Method("uniform");
            if (rank != 1) return;
            options.parts.objective =
                [calls = 0, throws](const std::vector<at::Tensor>&, const at::Tensor&,
                                    const at::Tensor& loss) mutable -> absl::StatusOr<at::Tensor> {
              if (++calls != 4) return loss;  // the second micro-batch of the second step
              TORCH_CHECK(!throws, "the objective threw");
              return absl::FailedPreconditionError("the objective failed");
            };
          },
          [&](int rank, Rank& objects, const StepFunction& step) {
            ASSERT_TRUE(step().ok());
            const absl::StatusOr<StepReport> bad = step();
            EXPECT_EQ(bad.ok(), rank == 0) << bad.status();
            if (rank == 1) {
              EXPECT_NE(std::string(bad.status().message()).find("the objective"),
                        std::string::npos);
            } else if (every == 1) {
              EXPECT_TRUE(bad->skipped);
            }
            for (int i = 0; i < 2; ++i) {
              const absl::StatusOr<StepReport> next = step();
              ASSERT_TRUE(next.ok()) << next.status();
              EXPECT_FALSE(next->skipped);
            }
            EXPECT_EQ(objects.trainer->step(), 4);
            EXPECT_EQ(objects.trainer->skipped_steps(), 1);
            hashes[rank] = objects.trainer->ParameterHash();
          });
      EXPECT_EQ(hashes[0], hashes[1]);
    }
  }
}

TEST(LostSteps, AnErrorOfOneRankAloneLeavesItUsable) {
  ByHand(
      1,
      [](int, RankOptions& options) {
        options.parts.objective =
            [calls = 0](const std::vector<at::Tensor>&, const at::Tensor&,
                        const at::Tensor& loss) mutable -> absl::StatusOr<at::Tensor> {
          if (++calls == 2) return absl::FailedPreconditionError("the objective failed");
          return loss;
        };
      },
      [](int, Rank&, const StepFunction& step) {
        EXPECT_TRUE(step().ok());
        EXPECT_EQ(step().status().code(), absl::StatusCode::kFailedPrecondition);
        EXPECT_TRUE(step().ok());
      });
}

TEST(LostSteps, OptionsOutOfRangeAreErrorsNotAborts) {
  const std::vector<std::pair<const char*, AdjustOptions>> cases = {
      {"initial_scale", [](int, RankOptions& o) { o.scaler.initial_scale = 0; }},
      {"growth_factor", [](int, RankOptions& o) { o.scaler.growth_factor = 1; }},
      {"backoff_factor", [](int, RankOptions& o) { o.scaler.backoff_factor = 1; }},
      {"growth_interval", [](int, RankOptions& o) { o.scaler.growth_interval = 0; }},
      {"initial_scale", [](int, RankOptions& o) { o.scaler.initial_scale = NAN; }},
      {"decide_every",
       [](int, RankOptions& o) {
         o.exchange.compression = Method("uniform");
         o.exchange.compression.decide_every = 0;
       }},
      {"accumulate", [](int, RankOptions& o) { o.accumulate = 0; }},
      {"max_skipped_in_a_row", [](int, RankOptions& o) { o.max_skipped_in_a_row = 0; }},
      {"clip_norm", [](int, RankOptions& o) { o.clip_norm = NAN; }},
      {"ema.decay", [](int, RankOptions& o) { o.ema = {.enabled = true, .decay = 1}; }},
      {"bucket_mb", [](int, RankOptions& o) { o.exchange.bucket_mb = NAN; }}};
  for (const auto& [field, adjust] : cases) {
    SCOPED_TRACE(field);
    std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        RankOptions options;
        options.precision = "fp16";
        options.parts.communicator = group[static_cast<size_t>(r)].get();
        options.parts.communicator->set_timeout(absl::Seconds(60));
        adjust(r, options);
        Rank rank = MakeRank("mlp", 8, r, 2, options, options.parts);
        const absl::Status status = rank.trainer->train(*rank.loader, 1).status();
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
        EXPECT_NE(std::string(status.message()).find(field), std::string::npos) << status;
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace ds
