// Twenty kinds of run, drawn from seeds: precision, averages, micro-batches, compression, local
// steps, quantisation-aware training, pruning, gates, optimiser, ranks. In each the ranks compare
// all they must have in common at every evaluation, and what rank 0 reports is what its file does.
#include <cmath>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "jobs/config/train_schema.h"
#include "tests/jobs/small_train_job.h"

namespace ds {
namespace {

constexpr int kSeeds = 20;
constexpr char kBase[] = R"(
run: {name: seeds, epochs: 3, threads: 1, verify_replicas: true}
model: {name: resnet8}
data: {type: synthetic, channels: 1, height: 8, width: 8, classes: 4, size: 96}
optimizer: {learning_rate: 0.02}
precision: {initial_scale: 1024}
log: {tensorboard: false}
)";

struct Kind {
  std::vector<std::string> options;
  int ranks = 1;
  bool quantized = false;
};

class Dice {
 public:
  explicit Dice(uint32_t seed) : generator_(seed) {}
  // The generator's numbers are the same everywhere, the standard distributions' are not.
  size_t Below(size_t count) { return generator_() % count; }
  std::string Of(const std::vector<std::string>& choices) { return choices[Below(choices.size())]; }

 private:
  std::mt19937 generator_;
};

std::vector<std::string> Compression(Dice& dice) {
  const std::string method =
      dice.Of({"none", "uniform", "uniform", "sign", "topk", "fp16", "bf16", "powersgd"});
  std::vector<std::string> options = {absl::StrCat("compression.method=", method),
                                      "compression.minimum_size=16"};
  if (method == "uniform") {
    options.push_back(absl::StrCat("compression.bits=", dice.Of({"2", "4", "auto"})));
    options.push_back(absl::StrCat("compression.rounding=", dice.Of({"nearest", "stochastic"})));
    options.push_back("compression.decide_every=3");
  }
  return options;
}

// At most one of what changes the model, and none that is refused beside local steps.
std::vector<std::string> ModelChange(Dice& dice, bool local_steps) {
  const size_t kind = dice.Below(local_steps ? 4 : 6);
  if (kind == 1 || kind == 2) {
    std::vector<std::string> options = {"quantization.mode=qat", "quantization.samples=32",
                                        "quantization.freeze_epochs=1"};
    options.push_back(absl::StrCat("quantization.start_epoch=", kind - 1));
    if (kind == 1) {
      options.insert(options.end(), {"quantization.stage_bits=[6]", "quantization.stage_epochs=[1]",
                                     "quantization.distillation=0.5"});
    }
    return options;
  }
  if (kind == 3) {
    return {"pruning.mode=channels",
            "pruning.share=0.3",
            "pruning.start_epoch=1",
            "pruning.end_epoch=2",
            absl::StrCat("pruning.importance=", dice.Of({"l1", "taylor"})),
            "pruning.samples=32"};
  }
  if (kind == 4) return {"pruning.mode=2:4", "pruning.start_epoch=1"};
  if (kind == 5) return {"gating.mode=channels", "gating.ramp_epochs=1"};
  return {};
}

Kind Draw(uint32_t seed) {
  Dice dice(seed);
  Kind run;
  run.ranks = 1 + static_cast<int>(seed % 3);
  const bool local_steps = dice.Below(3) == 0;
  const auto add = [&](std::vector<std::string> options) {
    run.options.insert(run.options.end(), options.begin(), options.end());
  };
  add({absl::StrCat("run.seed=", seed),
       absl::StrCat("precision.mode=", dice.Of({"fp32", "bf16", "fp16"})),
       absl::StrCat("ema.enabled=", dice.Of({"true", "false"})), "ema.decay=0.9",
       absl::StrCat("optimizer.name=", dice.Of({"sgd", "adamw", "lamb"})),
       absl::StrCat("optimizer.accumulate=", 1 + dice.Below(3)),
       absl::StrCat("optimizer.clip_norm=", dice.Of({"0", "1"})), "data.batch_size=8",
       "data.test_batch_size=16",
       // The last batch may leave a rank without a sample.
       absl::StrCat("data.drop_last=", dice.Of({"true", "false"})),
       absl::StrCat("data.train_limit=", dice.Of({"96", "81"})),
       absl::StrCat("comm.overlap=", dice.Of({"true", "false"}))});
  if (local_steps) {
    add({absl::StrCat("sync.every=", 2 + dice.Below(2)),
         absl::StrCat("sync.outer_momentum=", dice.Of({"0", "0.5"}))});
  }
  add(Compression(dice));
  const std::vector<std::string> change = ModelChange(dice, local_steps);
  run.quantized = !change.empty() && change[0] == "quantization.mode=qat";
  add(change);
  return run;
}

TEST(ReplicaSeeds, TwentyKindsOfRunKeepTheirReplicasEqual) {
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    const Kind run = Draw(seed);
    const std::string told =
        absl::StrCat("seed ", seed, ": ", run.ranks, " ranks, ", absl::StrJoin(run.options, " "));
    SCOPED_TRACE(told);
    std::cout << told << std::endl;
    const auto config = ParseTrainConfig(kBase, "seeds", run.options);
    ASSERT_TRUE(config.ok()) << config.status();
    const JobResult result = TrainJobOnRanks(*config, run.ranks);
    for (const RunSummary& summary : result.summaries) {
      EXPECT_EQ(summary.test_accuracy, result.summaries[0].test_accuracy);
      EXPECT_EQ(summary.test_loss, result.summaries[0].test_loss);
      EXPECT_EQ(summary.skipped_steps, result.summaries[0].skipped_steps);
    }
    EXPECT_TRUE(std::isfinite(result.summaries[0].test_loss));
    if (run.quantized) continue;  // its file holds integers
    ASSERT_TRUE(result.file_accuracy.has_value());
    // The file is run in fp32.
    if (result.summaries[0].precision != "fp32") continue;
    EXPECT_EQ(*result.file_accuracy, result.summaries[0].test_accuracy);
  }
}

}  // namespace
}  // namespace ds
