// Training with compressed gradients: what must stay equal bit for bit, and what must not change at
// all.
#include <cmath>
#include <map>

#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

// Everything of two dimensions is compressed, however small: resnet8 on 8x8 images has little else.
CompressionOptions Uniform(int bits) {
  return {.method = "uniform",
          .codec = {.bits = bits, .bucket = 64, .rounding = CodecRounding::kStochastic},
          .minimum_size = 1,
          .seed = 9};
}

AdjustOptions With(const CompressionOptions& compression) {
  return [=](int, RankOptions& options) { options.exchange.compression = compression; };
}

std::vector<std::string> Hashes(int world, const AdjustOptions& adjust,
                                const std::string& model = "resnet8") {
  const auto [ranks, recorders] = TrainRanks(world, model, 8 * world, 1, adjust);
  for (const HashRecorder& recorder : recorders) {
    EXPECT_EQ(recorder.hashes, recorders[0].hashes)
        << "replicas differ among " << world << " ranks";
  }
  return recorders[0].hashes;
}

const std::map<std::string, CompressionOptions>& Methods() {
  static const std::map<std::string, CompressionOptions> methods = [] {
    std::map<std::string, CompressionOptions> made;
    made["uniform4"] = Uniform(4);
    made["uniform2rotated"] = Uniform(2);
    made["uniform2rotated"].codec.rotate = true;
    made["auto bits"] = Uniform(CompressionOptions::kAutoBits);
    made["auto bits"].decide_every = 3;
    for (const char* method : {"sign", "topk", "fp16", "bf16", "powersgd"}) {
      made[method] = Uniform(4);
      made[method].method = method;
    }
    made["hierarchical"] = Uniform(4);
    made["hierarchical"].hierarchical = true;
    return made;
  }();
  return methods;
}

TEST(CompressedTraining, ReplicasAreIdenticalAndRunsRepeat) {
  for (const auto& [name, options] : Methods()) {
    SCOPED_TRACE(name);
    const std::vector<std::string> first = Hashes(3, With(options));
    EXPECT_EQ(first, Hashes(3, With(options)));
    CompressionOptions none = options;
    none.method = "none";
    // All threads are on one host: what is compressed between hosts is not compressed at all.
    if (!options.hierarchical) {
      EXPECT_NE(first, Hashes(3, With(none))) << "nothing was compressed";
    }
  }
}

TEST(CompressedTraining, BucketsAndOverlapDoNotChangeABit) {
  for (const auto& [name, options] : Methods()) {
    SCOPED_TRACE(name);
    const std::vector<std::string> reference = Hashes(2, With(options));
    for (const bool overlap : {true, false}) {
      EXPECT_EQ(reference, Hashes(2, [&, overlap](int, RankOptions& o) {
                  o.exchange.compression = options;
                  o.exchange.bucket_mb = 0.001;
                  o.exchange.overlap = overlap;
                }));
    }
  }
}

TEST(CompressedTraining, WarmUpStepsAreThoseOfAnUncompressedRun) {
  constexpr size_t kWarmUp = 4;
  CompressionOptions late = Uniform(2);
  late.warmup_steps = kWarmUp;
  const std::vector<std::string> compressed = Hashes(2, With(late)), plain = Hashes(2, kAsItIs);
  ASSERT_GT(plain.size(), kWarmUp);
  for (size_t step = 0; step < plain.size(); ++step) {
    EXPECT_EQ(compressed[step] == plain[step], step < kWarmUp) << "step " << step;
  }
}

TEST(CompressedTraining, ASkippedStepChangesNothingResidualsIncluded) {
  constexpr int64_t kBadStep = 3;
  const auto [ranks, recorders] = TrainRanks(2, "mlp", 16, 1, [](int rank, RankOptions& options) {
    static_cast<HashRecorder*>(options.parts.observer)->keep_residuals = true;
    options.precision = "fp16";
    options.scaler.initial_scale = 1024;
    options.exchange.compression = Uniform(3);
    if (rank == 1) {
      options.parts.loss_fault = [](int64_t step, at::Tensor& loss) {
        if (step == kBadStep) loss = loss * INFINITY;
      };
    }
  });
  for (const HashRecorder& recorder : recorders) {
    ASSERT_GT(recorder.residuals.size(), static_cast<size_t>(kBadStep + 1));
    for (size_t step = 1; step <= kBadStep + 1; ++step) {
      const bool bad = step == kBadStep;
      EXPECT_EQ(recorder.reports[step].skipped, bad);
      EXPECT_EQ(recorder.residuals[step] == recorder.residuals[step - 1], bad) << "step " << step;
      EXPECT_EQ(recorder.hashes[step] == recorder.hashes[step - 1], bad) << "step " << step;
    }
  }
}

TEST(CompressedTraining, ExcludedAndSmallTensorsTravelInFp32) {
  const auto wire = [](const CompressionOptions& compression) {
    const auto [ranks, recorders] = TrainRanks(2, "mlp", 16, 1, With(compression));
    return recorders[0].reports.back().wire_bytes;
  };
  CompressionOptions four = Uniform(4), excluded = four, small = four;
  excluded.exclude = {"*"};
  small.minimum_size = 1 << 30;
  const int64_t raw = wire({}), compressed = wire(four);
  EXPECT_LT(compressed * 6, raw);
  EXPECT_EQ(wire(excluded), raw);
  EXPECT_EQ(wire(small), raw);
}

TEST(CompressedTraining, AutoDoesNotCompressWithinOneProcess) {
  CompressionOptions options = Uniform(4);
  options.method = "auto";
  std::string method, reason;
  TrainRanks(2, "resnet8", 16, 1, With(options), [&](int rank, MixedPrecisionTrainer& trainer) {
    if (rank != 0) return;
    method = trainer.compression_report().method;
    reason = trainer.compression_report().reason;
  });
  EXPECT_EQ(method, "none") << reason;
  EXPECT_NE(reason.find("Mbit/s"), std::string::npos);
}

TEST(CompressedTraining, TheLeastSizeItselfIsCompressed) {
  for (const int64_t least : {11, 12, 13}) {
    EXPECT_EQ(IsCompressed({.method = "uniform", .minimum_size = least}, "w", {3, 4}), least <= 12)
        << least;
  }
}

TEST(CompressedTraining, PatternsMatchWholeNames) {
  EXPECT_TRUE(MatchesPattern("fc.weight", "fc.weight"));
  EXPECT_FALSE(MatchesPattern("fc", "fc.weight"));
  EXPECT_TRUE(MatchesPattern("fc*", "fc.weight"));
  EXPECT_TRUE(MatchesPattern("*.weight", "fc.weight"));
  EXPECT_TRUE(MatchesPattern("layer*.conv*.weight", "layer1.0.conv2.weight"));
  EXPECT_FALSE(MatchesPattern("layer*.conv*.weight", "layer1.0.bn2.weight"));
  EXPECT_TRUE(MatchesPattern("*", ""));
  EXPECT_FALSE(MatchesPattern("", "a"));
  EXPECT_TRUE(MatchesPattern("layer?.conv[12]", "layer3.conv2"));
  EXPECT_FALSE(MatchesPattern("layer?.conv[12]", "layer10.conv2"));
  EXPECT_TRUE(MatchesPattern("params[0]", "params[0]"));
  EXPECT_TRUE(MatchesPattern("*a\\b", "/a\\b")) << "neither slash nor backslash is special";
}

TEST(CompressedTraining, APatternOfManyStarsIsDecidedAtOnce) {
  // Trying every way to spread the name over the stars would take over 10^14 steps.
  std::string pattern, name(60, 'a');
  for (int i = 0; i < 20; ++i) pattern += "*a";
  pattern += "*b";
  EXPECT_FALSE(MatchesPattern(pattern, name));
  name += 'b';
  EXPECT_TRUE(MatchesPattern(pattern, name));
}

}  // namespace
}  // namespace ds
