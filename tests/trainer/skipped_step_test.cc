// A step that is not taken changes nothing: every tensor of a module with batch norms, and every
// average of one, is compared bit for bit on every rank.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

constexpr int64_t kBadStep = 2;
constexpr int kBadRank = 1;

struct Mode {
  std::string precision = "fp32";
  int64_t accumulate = 1;
  bool compress = false;
  int world = 2;
};

std::vector<Mode> Modes() {
  std::vector<Mode> modes;
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    for (const int64_t accumulate : {1, 2}) modes.push_back({precision, accumulate, false, 2});
  }
  modes.push_back({"fp16", 1, true, 3});
  modes.push_back({"bf16", 2, true, 1});
  return modes;
}

AdjustOptions With(const Mode& mode) {
  return [mode](int, RankOptions& options) {
    options.precision = mode.precision;
    options.scaler.initial_scale = 1024;
    options.accumulate = mode.accumulate;
    options.ema = {.enabled = true, .decay = 0.9};
    if (mode.compress) options.exchange.compression = FourBits();
  };
}

using Fault = std::function<ChangeBatch(int rank)>;

void SetAll(Batch& batch, float value) {
  for (float& pixel : batch.inputs[0].values.mutable_span<float>()) pixel = value;
}

// In the first micro-batch of the bad step, on one rank, whose own statistics take it in.
Fault BadPixels(float value, int bad_rank) {
  return [=](int rank) -> ChangeBatch {
    if (rank != bad_rank) return nullptr;
    return [=](int64_t step, int64_t micro_batch, Batch& batch) {
      if (step == kBadStep && micro_batch == 0) SetAll(batch, value);
    };
  };
}

// Steps to the bad one and two further.
void ExpectTheBadStepChangesNothing(const Mode& mode, const AdjustOptions& adjust,
                                    const Fault& fault) {
  SCOPED_TRACE(mode.precision + ", " + std::to_string(mode.accumulate) + " micro-batches, " +
               std::to_string(mode.world) + " ranks" + (mode.compress ? ", compressed" : ""));
  StepByHand(
      mode.world, "norms", adjust,
      [](int rank, Rank& objects, const StepFunction& step) {
        WeightEma* averages = objects.trainer->ema();
        for (int64_t i = 0; i < kBadStep; ++i) {
          const auto taken = step();
          ASSERT_TRUE(taken.ok() && !taken->skipped) << taken.status();
        }
        averages = objects.trainer->ema();
        const ModuleBits before = BitsOf(*objects.module, averages);
        const auto bad = step();
        ASSERT_TRUE(bad.ok()) << bad.status();
        EXPECT_TRUE(bad->skipped);
        const ModuleBits after = BitsOf(*objects.module, averages);
        for (const auto& [name, bits] : before)
          EXPECT_TRUE(after.at(name) == bits) << name << " changed on rank " << rank;
        for (int i = 0; i < 2; ++i) {
          const auto next = step();
          ASSERT_TRUE(next.ok()) << next.status();
          EXPECT_FALSE(next->skipped);
        }
        for (const NamedTensor& entry : objects.module->buffers()) {
          EXPECT_TRUE(entry.tensor.isfinite().all().item<bool>()) << entry.name;
          EXPECT_TRUE(before.at(entry.name) != BitsOf(*objects.module).at(entry.name))
              << entry.name << " stands still";
        }
        EXPECT_TRUE(objects.trainer->evaluate(*objects.loader).ok());
      },
      fault);
}

TEST(SkippedStep, ABadLossOnOneRankChangesNothingOnAny) {
  for (const Mode& mode : Modes()) {
    ExpectTheBadStepChangesNothing(
        mode,
        [&](int rank, RankOptions& options) {
          With(mode)(rank, options);
          if (rank != kBadRank % mode.world) return;
          options.parts.loss_fault = [](int64_t step, at::Tensor& loss) {
            if (step == kBadStep) loss = loss * INFINITY;
          };
        },
        nullptr);
  }
}

TEST(SkippedStep, NaNAndInfInABatchDoNotReachTheStatistics) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY}) {
    for (const Mode& mode : Modes()) {
      ExpectTheBadStepChangesNothing(mode, With(mode), BadPixels(bad, kBadRank % mode.world));
    }
  }
}

// Pixels so great, and so far apart, that their variance overflows: the normalised values are 0 and
// so are the gradients, and nothing but the statistics tells.
TEST(SkippedStep, AVarianceThatOverflowsBehindFiniteGradientsIsNoticed) {
  const Fault great = [](int rank) -> ChangeBatch {
    if (rank != kBadRank) return nullptr;
    return [](int64_t step, int64_t, Batch& batch) {
      if (step != kBadStep) return;
      float value = 1e25f;
      for (float& pixel : batch.inputs[0].values.mutable_span<float>()) pixel = value = -value;
    };
  };
  for (const char* precision : {"fp32", "bf16"}) {
    const Mode mode = {.precision = precision};
    ExpectTheBadStepChangesNothing(mode, With(mode), great);
  }
}

// With local steps a rank skips alone, and its own statistics stay.
TEST(SkippedStep, ALocalStepThatIsSkippedChangesNothingOnItsRank) {
  for (const char* precision : {"fp32", "fp16", "bf16"}) {
    for (const int64_t accumulate : {1, 2}) {
      StepByHand(
          2, "norms",
          [&](int rank, RankOptions& options) {
            With({.precision = precision, .accumulate = accumulate})(rank, options);
            options.local_steps.every = 4;
          },
          [&](int rank, Rank& objects, const StepFunction& step) {
            for (int64_t i = 0; i < kBadStep; ++i) ASSERT_TRUE(step().ok());
            const ModuleBits before = BitsOf(*objects.module, objects.trainer->ema());
            const auto bad = step();
            ASSERT_TRUE(bad.ok()) << bad.status();
            EXPECT_EQ(bad->skipped, rank == kBadRank);
            if (rank == kBadRank) {
              EXPECT_TRUE(BitsOf(*objects.module, objects.trainer->ema()) == before)
                  << precision << ", " << accumulate << " micro-batches";
            }
            const auto outer = step();
            ASSERT_TRUE(outer.ok()) << outer.status();
            EXPECT_TRUE(outer->synchronized && !outer->skipped);
            EXPECT_TRUE(objects.trainer->evaluate(*objects.loader).ok());
          },
          BadPixels(INFINITY, kBadRank));
    }
  }
}

// A round that is discarded leaves no trace of any of its steps, on any rank.
TEST(SkippedStep, ADiscardedRoundPutsEveryTensorBack) {
  StepByHand(
      3, "norms",
      [](int, RankOptions& options) {
        options.local_steps.every = 2;
        options.local_steps.outer_momentum = 0.9;
        options.ema = {.enabled = true, .decay = 0.9};
      },
      [](int rank, Rank& objects, const StepFunction& step) {
        for (int i = 0; i < 2; ++i) ASSERT_TRUE(step().ok());
        const ModuleBits before = BitsOf(*objects.module, objects.trainer->ema());
        ASSERT_TRUE(step().ok());
        if (rank == kBadRank) {
          const at::NoGradGuard no_grad;
          at::Tensor weight = objects.module->parameters().back().tensor;
          weight.fill_(INFINITY);
        }
        const auto lost = step();
        ASSERT_TRUE(lost.ok()) << lost.status();
        EXPECT_TRUE(lost->skipped && lost->synchronized);
        const ModuleBits after = BitsOf(*objects.module, objects.trainer->ema());
        for (const auto& [name, bits] : before)
          EXPECT_TRUE(after.at(name) == bits) << name << " changed on rank " << rank;
        for (int i = 0; i < 2; ++i) ASSERT_TRUE(step().ok());
        EXPECT_TRUE(objects.trainer->evaluate(*objects.loader).ok());
      });
}

}  // namespace
}  // namespace ds
