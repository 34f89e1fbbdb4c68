#include "comm/compress/bucket_exchanger.h"

#include <cmath>
#include <limits>
#include <thread>

#include "absl/time/clock.h"
#include "comm/compress/compressed_all_reduce.h"
#include "comm/finite.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// One rank's three buckets, filled with rank + 1; they travel in fp32.
struct Member {
  explicit Member(std::unique_ptr<Communicator> own)
      : memory(30, static_cast<float>(own->rank() + 1)),
        communicator(std::move(own)),
        exchanger(communicator.get(), 3) {
    const absl::Span<float> all = absl::MakeSpan(memory);
    std::vector<GradientBucket> buckets = {{{.name = "a", .values = all.subspan(0, 7)}},
                                           {{.name = "b", .values = all.subspan(7, 0)}},
                                           {{.name = "c", .values = all.subspan(7, 23)}}};
    compressor = *CompressedAllReduce::Create(communicator.get(), std::move(buckets), {});
  }
  void Begin() {
    exchanger.Begin(*compressor, {.scale = 1.0f / static_cast<float>(communicator->size())});
  }

  std::vector<float> memory;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<GradientCompressor> compressor;
  BucketExchanger exchanger;
};

TEST(BucketExchanger, AveragesWhateverTheOrderOfReadiness) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  Member a(std::move(group[0])), b(std::move(group[1]));
  a.Begin();
  b.Begin();
  for (int index : {2, 0, 1}) a.exchanger.MarkReady(index);
  for (int index : {0, 1, 2}) b.exchanger.MarkReady(index);
  absl::StatusOr<BucketResult> result_b;
  std::thread other([&] { result_b = b.exchanger.Finish(true); });
  const absl::StatusOr<BucketResult> result_a = a.exchanger.Finish(false);
  other.join();
  ASSERT_TRUE(result_a.ok() && result_b.ok());
  for (float value : a.memory) EXPECT_EQ(value, 1.5f);
  EXPECT_EQ(a.memory, b.memory);
  EXPECT_TRUE(result_a->flag && result_b->flag) << "the flag of one rank must reach both";
  // 7 + 23 floats, of which a rank sends half twice (4 or 3 out, 4 or 3 back), and the flag.
  EXPECT_EQ(result_a->wire_bytes + result_b->wire_bytes, 2 * 30 * 4 + 2 * 1);
}

TEST(BucketExchanger, LaunchesInIndexOrderWhileOthersAreNotReady) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  Member a(std::move(group[0])), b(std::move(group[1]));
  a.Begin();
  b.Begin();
  std::thread other([&] {
    for (int index : {0, 1, 2}) b.exchanger.MarkReady(index);
    EXPECT_TRUE(b.exchanger.Finish(false).ok());
  });
  a.exchanger.MarkReady(0);
  absl::SleepFor(absl::Milliseconds(50));  // "compute": bucket 0 travels meanwhile
  const int64_t after_compute_us = absl::ToUnixMicros(absl::Now());
  a.exchanger.MarkReady(1);
  a.exchanger.MarkReady(2);
  const absl::StatusOr<BucketResult> result = a.exchanger.Finish(false);
  other.join();
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->intervals.size(), 4u);  // and the flag
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(result->intervals[i].bucket, static_cast<int>(i));
  EXPECT_LT(result->intervals[0].end_us + 20000, result->intervals[2].start_us)
      << "bucket 0 did not go ahead";
  EXPECT_GT(after_compute_us, 0);
}

TEST(BucketExchanger, AnErrorReachesFinishAndStays) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  Member a(std::move(group[0]));
  group[1].reset();
  for (int round = 0; round < 2; ++round) {
    a.Begin();
    for (int index : {0, 1, 2}) a.exchanger.MarkReady(index);
    EXPECT_EQ(a.exchanger.Finish(false).status().code(), absl::StatusCode::kUnavailable);
  }
}

// Each rank's values are finite; their sum is not, or float16 cannot hold it.
TEST(BucketExchanger, WhatIsNotFiniteAfterTheExchangeIsSeenByAllAndNotCommitted) {
  const std::shared_ptr<const Codec> half = *Codec::Create({.kind = CodecKind::kFloat16});
  struct Case {
    std::shared_ptr<const Codec> codec;
    float good, bad, limit;
  };
  for (const Case& c : {Case{nullptr, 1, 3e38f, INFINITY}, Case{half, 1.0003f, 50000, INFINITY},
                        Case{nullptr, 1, 1e20f, 1e19f}}) {
    std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
    std::vector<std::thread> ranks;
    for (std::unique_ptr<Communicator>& communicator : group) {
      ranks.emplace_back([&c, &communicator] {
        std::vector<float> memory(20);
        const absl::Span<float> all = absl::MakeSpan(memory);
        const auto compressor = *CompressedAllReduce::Create(
            communicator.get(),
            {{{.name = "a", .values = all.subspan(0, 10), .codec = c.codec}},
             {{.name = "b", .values = all.subspan(10, 10), .codec = c.codec}}},
            {});
        BucketExchanger exchanger(communicator.get(), 2);
        CompressorState residuals;
        for (const bool bad : {false, true, false}) {
          std::fill(memory.begin(), memory.end(), c.good);
          if (bad) memory[13] = c.bad;
          exchanger.Begin(*compressor, {.limit = c.limit});
          for (int index : {0, 1}) exchanger.MarkReady(index);
          const absl::StatusOr<BucketResult> result = exchanger.Finish(false);
          ASSERT_TRUE(result.ok()) << result.status();
          EXPECT_FALSE(result->flag);
          EXPECT_EQ(result->overflowed, bad);
          EXPECT_EQ(result->not_finite, bad ? "b" : "");
          if (bad) {
            EXPECT_EQ(compressor->ExportState(), residuals);
          }
          residuals = compressor->ExportState();
        }
      });
    }
    for (std::thread& rank : ranks) rank.join();
  }
}

TEST(AllBelow, TakesTheLimitItselfForTooLarge) {
  EXPECT_TRUE(AllBelow({}, 1));
  const float below = std::nextafter(1.0f, 0.0f);
  EXPECT_TRUE(AllBelow({0.5f, -below}, 1));
  EXPECT_FALSE(AllBelow({0.5f, -1}, 1));
  EXPECT_FALSE(AllBelow({0.5f, NAN}, 1));
}

TEST(AllFinite, FindsOneBadValueAnywhere) {
  for (size_t size : {0u, 1u, 7u, 16u, 33u, 1000u}) {
    std::vector<float> values(size, -std::numeric_limits<float>::max());
    EXPECT_TRUE(AllFinite(values));
    for (size_t i = 0; i < size; i += 5) {
      for (float bad : {INFINITY, -INFINITY, NAN, -NAN}) {
        std::vector<float> spoiled = values;
        spoiled[i] = bad;
        EXPECT_FALSE(AllFinite(spoiled)) << bad << " at " << i << " of " << size;
      }
    }
  }
}

}  // namespace
}  // namespace ds
