#include "bench/comm/exchange_bench.h"

#include <mutex>

#include "bench/comm/codec_name.h"
#include "comm/compress/compressed_all_reduce.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

TEST(ExchangeBench, EveryRowIsRightAndBytesAreThePrediction) {
  ExchangeBenchOptions options;
  options.sizes = {0, 1, 1009, 50021};
  options.codecs = {"fp32", "fp16", "bf16", "u8", "u4", "u1", "sign", "topk:0.05"};
  options.codec.bucket = 64;
  options.repeats = 1;
  options.chunk_bytes = 4000;
  options.threads = 1;
  options.model_values = 1 << 14;
  for (const int ranks : {1, 2, 3}) {
    OnEveryRank(ranks, [&](Communicator& communicator) {
      const auto rows = RunExchangeBench(communicator, options);
      ASSERT_TRUE(rows.ok()) << rows.status();
      ASSERT_EQ(rows->size(), options.sizes.size() * options.codecs.size());
      for (const ExchangeBenchRow& row : *rows) {
        EXPECT_TRUE(row.ok()) << row.codec << ", " << row.values << " values, " << ranks
                              << " ranks";
        EXPECT_GT(row.seconds, 0);
        EXPECT_EQ(row.ranks, ranks);
        EXPECT_EQ(row.wire_bytes > 0, ranks > 1 && row.values > 0);
      }
      const nlohmann::json parsed = nlohmann::json::parse(ExchangeBenchJson(*rows));
      EXPECT_EQ(parsed.size(), rows->size());
      EXPECT_EQ(parsed.back()["codec"], "topk:0.05");
      EXPECT_EQ(ExchangeBenchTable(*rows).find("WRONG"), std::string::npos);
    });
  }
}

// A check that accepts everything would be none.
TEST(ExchangeCheck, FindsOneWrongBitOnOneRank) {
  constexpr size_t kCount = 30011;
  const auto codec = CodecByName("u4", {.bucket = 64});
  ASSERT_TRUE(codec.ok());
  OnEveryRank(3, [&](Communicator& communicator) {
    std::vector<float> values(kCount);
    FillBenchValues(communicator.rank(), absl::MakeSpan(values));
    auto reducer = CompressedAllReduce::Create(
        &communicator, {{{"w", absl::MakeSpan(values), 0, *codec, {}}}}, {});
    ASSERT_TRUE(reducer.ok());
    (*reducer)->BeginStep({0, 0.5f});
    ASSERT_TRUE((*reducer)->Exchange(0).ok());
    const CodecNoise noise = {.tensor = StreamOf("w", 1)};
    const auto right = CheckExchange(communicator, values, *codec, noise, 0.5f);
    ASSERT_TRUE(right.ok());
    EXPECT_TRUE(right->ok()) << right->mismatches << ", " << right->error_over_bound;
    // Rank 1 alone checks this one.
    if (communicator.rank() == 1) values[8192 + 5] += 1e-3f;
    const auto one_rank = CheckExchange(communicator, values, *codec, noise, 0.5f);
    ASSERT_TRUE(one_rank.ok());
    EXPECT_EQ(one_rank->mismatches, 1);
    EXPECT_FALSE(one_rank->replicas_equal);
    if (communicator.rank() != 1) values[8192 + 5] += 1e-3f;
    const auto all_ranks = CheckExchange(communicator, values, *codec, noise, 0.5f);
    ASSERT_TRUE(all_ranks.ok());
    EXPECT_EQ(all_ranks->mismatches, 1);
    EXPECT_TRUE(all_ranks->replicas_equal);
    const auto other_scale = CheckExchange(communicator, values, *codec, noise, 0.1f);
    ASSERT_TRUE(other_scale.ok());
    EXPECT_GT(other_scale->error_over_bound, 1);
  });
}

TEST(CodecByName, KnowsItsNames) {
  EXPECT_EQ(*CodecByName("fp32", {}), nullptr);
  EXPECT_EQ((*CodecByName("u3", {.bucket = 128}))->options().bits, 3);
  EXPECT_EQ((*CodecByName("topk:0.25", {}))->options().density, 0.25);
  EXPECT_FALSE((*CodecByName("u4", {.rotate = true}))->options().rotate);
  EXPECT_TRUE((*CodecByName("u2", {.rotate = true}))->options().rotate);
  for (const std::string name : {"", "u", "u9", "u0", "fp8", "topk", "topk:", "topk:2", "u4x"}) {
    EXPECT_EQ(CodecByName(name, {}).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace ds
