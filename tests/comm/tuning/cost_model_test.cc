#include "comm/tuning/cost_model.h"

#include <cstring>
#include <mutex>

#include "absl/time/clock.h"
#include "comm/exchange_collectives.h"
#include "comm/inprocess/single.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"
#include "tests/support/sanitized.h"

namespace ds {
namespace {

// An in-process rank behind a link of a known latency and bandwidth.
class SlowLink final : public ExchangeCollectives {
 public:
  SlowLink(Communicator& inner, absl::Duration latency, double bytes_per_s)
      : inner_(inner), latency_(latency), bytes_per_s_(bytes_per_s) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  absl::string_view backend() const override { return "slow"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    return absl::UnimplementedError("one link");
  }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int, absl::Span<const int>) override {
    return absl::UnimplementedError("one link");
  }
  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive, Deadline) override {
    size_t bytes = 0;
    for (const absl::Span<const std::byte>& span : send) bytes += span.size();
    absl::SleepFor(latency_ + absl::Seconds(static_cast<double>(bytes) / bytes_per_s_));
    return inner_.Exchange(send, receive);
  }

 private:
  Communicator& inner_;
  const absl::Duration latency_;
  const double bytes_per_s_;
};

std::vector<GradientBucket> Buckets(std::vector<float>& memory) {
  auto codec = Codec::Create({.bits = 4});
  EXPECT_TRUE(codec.ok());
  return {{{"w", absl::MakeSpan(memory), 0, std::move(*codec), {}}}};
}

// Compute of 8 s; a thread beside it halves it and is halved itself.
constexpr SharedCost kOneCore = {.compute_rate = 0.5, .other_rate = 0.5};

TEST(StepModel, WithoutBucketsOrCostsItIsTheCompute) {
  EXPECT_DOUBLE_EQ(PredictWindow(8, {}, kOneCore), 8);
  EXPECT_DOUBLE_EQ(PredictWindow(8, {{.ready_s = 8}, {.ready_s = 9}}, kOneCore), 8);
}

TEST(StepModel, ALinkWithACoreOfItsOwnIsHiddenAsFarAsComputeGoesOn) {
  const SharedCost spare;
  // From 2 to 5 beside compute; from 6 on 3 beside it, of which one is left at its end.
  const std::vector<BucketCost> buckets = {{.ready_s = 2, .link_s = 3, .shared_link_s = 3},
                                           {.ready_s = 6, .link_s = 3, .shared_link_s = 3}};
  EXPECT_DOUBLE_EQ(PredictWindow(8, buckets, spare), 9);
  EXPECT_DOUBLE_EQ(PredictWindow(8, {{.ready_s = 2, .coding_s = 5}}, spare), 8);
}

TEST(StepModel, WhatIsStolenIsAdded) {
  // 4 s beside compute that advances by 3: one second longer.
  EXPECT_DOUBLE_EQ(
      PredictWindow(8, {{.ready_s = 1, .link_s = 2, .shared_link_s = 4, .stolen_s = 1}}, kOneCore),
      9);
  // Coding of 1 s takes 2 of them and leaves compute half: one second longer, wherever it falls.
  EXPECT_DOUBLE_EQ(PredictWindow(8, {{.ready_s = 1, .coding_s = 1}}, kOneCore), 9);
  EXPECT_DOUBLE_EQ(PredictWindow(8, {{.ready_s = 8, .coding_s = 1}}, kOneCore), 9);
  // All of compute is stolen while the link is busy.
  EXPECT_DOUBLE_EQ(
      PredictWindow(8, {{.ready_s = 1, .link_s = 2, .shared_link_s = 4, .stolen_s = 4}}, kOneCore),
      12);
}

TEST(StepModel, BucketsGoOneAfterTheOtherAndFasterOnceComputeIsOver) {
  // The first from 6: in 4 s beside compute that leaves it the 2 it needs, both end at 10. The
  // second has the link to itself: 3.
  const BucketCost bucket = {.ready_s = 6, .link_s = 3, .shared_link_s = 4, .stolen_s = 2};
  EXPECT_DOUBLE_EQ(PredictWindow(8, {bucket, bucket}, kOneCore), 13);
  // From 7: compute's last second takes 2, half of it is done then; the other half takes 1.5 alone.
  BucketCost late = bucket;
  late.ready_s = 7;
  EXPECT_DOUBLE_EQ(PredictWindow(8, {late}, kOneCore), 10.5);
  // A bucket that is ready early waits for the one before it.
  EXPECT_DOUBLE_EQ(PredictWindow(8,
                                 {{.ready_s = 7, .link_s = 2, .shared_link_s = 2},
                                  {.ready_s = 1, .link_s = 2, .shared_link_s = 2}},
                                 {}),
                   11);
}

TEST(StepModel, BucketsCostWhatTheirBytesAndValuesDo) {
  std::vector<float> memory(1 << 20);
  const std::vector<GradientBucket> raw = {{{"w", absl::MakeSpan(memory), 0, nullptr, {}}}};
  CodingCosts codings;
  codings[nullptr] = {.encode_s = 1, .reduce_s = 2, .decode_s = 4};
  const SharedCost shared = {.exchange = {0.25, 2}, .stolen = {0.125, 1}};
  const auto costs = PredictBuckets(raw, 2, {.each_s = 0.5, .per_byte_s = 1}, shared, codings);
  ASSERT_TRUE(costs.ok()) << costs.status();
  ASSERT_EQ(costs->size(), 1u);
  const double bytes = 4 << 20, values = 1 << 20;  // half to the owner, half from it, each way
  EXPECT_DOUBLE_EQ((*costs)[0].link_s, bytes + 1);
  EXPECT_DOUBLE_EQ((*costs)[0].shared_link_s, 2 * bytes + 0.5);
  EXPECT_DOUBLE_EQ((*costs)[0].stolen_s, bytes + 0.25);
  EXPECT_DOUBLE_EQ((*costs)[0].coding_s, values * (1 + 2.0 / 2 + 4.0 / 2));
  const auto probe = ProbeLike(raw, 2);
  ASSERT_TRUE(probe.ok());
  EXPECT_EQ(probe->large_bytes, 2 << 20);
}

TEST(CostModel, FindsLatencyAndBandwidthOfALink) {
  const double bandwidth = 50e6 / kTimesSlower;  // no more than what stands behind the link
  OnEveryRank(3, [&](Communicator& communicator) {
    SlowLink link(communicator, absl::Milliseconds(2), bandwidth);
    const auto cost = MeasureLink(link);
    ASSERT_TRUE(cost.ok()) << cost.status();
    EXPECT_NEAR(1 / cost->per_byte_s, bandwidth, 0.24 * bandwidth);
    EXPECT_GT(cost->each_s, 1.9e-3);
    EXPECT_LT(cost->each_s, 6e-3);
  });
}

// That link sleeps: neither hinders the other much, whatever the machine; and all ranks know the
// same.
TEST(CostModel, FindsWhatExchangeAndComputeDoToEachOther) {
  std::mutex mutex;
  std::vector<SharedCost> costs;
  OnEveryRank(2, [&](Communicator& communicator) {
    SlowLink link(communicator, absl::Milliseconds(2), 50e6);
    const auto cost = MeasureShared(link, 1);
    ASSERT_TRUE(cost.ok()) << cost.status();
    EXPECT_GT(cost->exchange.each_s, 1.9e-3);
    EXPECT_GT(cost->exchange.of(2 << 20), (2 << 20) / 50e6);
    EXPECT_GE(cost->stolen.each_s, 0);
    EXPECT_LT(cost->stolen.of(2 << 20), cost->exchange.of(2 << 20));
    for (const double rate : {cost->compute_rate, cost->other_rate}) {
      EXPECT_GT(rate, 0);
      EXPECT_LE(rate, 1);
    }
    std::lock_guard lock(mutex);
    costs.push_back(*cost);
  });
  ASSERT_EQ(costs.size(), 2u);
  EXPECT_EQ(std::memcmp(&costs[0], &costs[1], sizeof(SharedCost)), 0);
  const std::unique_ptr<Communicator> alone = CreateSingleCommunicator();
  EXPECT_EQ(MeasureShared(*alone, 1)->compute_rate, 1);
  EXPECT_FALSE(MeasureShared(*alone, 0).ok());
}

// The decision is that of the slow or fast link, the same everywhere, and the prediction is near
// what the exchange takes.
TEST(CostModel, CompressesOnASlowLinkOnly) {
  constexpr size_t kCount = 1 << 20;
  std::mutex mutex;
  int slow = 0, alike = 0;
  OnEveryRank(2, [&](Communicator& communicator) {
    std::vector<float> memory(kCount);
    const std::vector<GradientBucket> buckets = Buckets(memory);
    SlowLink link(communicator, absl::Milliseconds(1), 10e6);
    const auto decision = DecideCompression(link, buckets, true);
    ASSERT_TRUE(decision.ok()) << decision.status();
    EXPECT_EQ(decision->raw.wire_bytes, static_cast<int64_t>(kCount * sizeof(float)));
    EXPECT_NEAR(decision->raw.link_s, 4.19 / 10 + 0.002, 0.08);
    EXPECT_LT(decision->compressed.link_s, decision->raw.link_s / 6);
    float first = static_cast<float>(decision->raw.seconds());
    const float mine = first;
    ASSERT_TRUE(
        communicator
            .Broadcast(absl::MakeSpan(reinterpret_cast<std::byte*>(&first), sizeof(first)), 0)
            .ok());
    std::lock_guard lock(mutex);
    slow += decision->compress;
    alike += first == mine;
  });
  EXPECT_EQ(slow, 2);
  EXPECT_EQ(alike, 2);
}

TEST(CostModel, OneRankNeverCompresses) {
  const std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  std::vector<float> memory(100);
  const auto decision = DecideCompression(*communicator, Buckets(memory), true);
  ASSERT_TRUE(decision.ok());
  EXPECT_FALSE(decision->compress);
  EXPECT_FALSE(MeasureLink(*communicator, {.small_bytes = 5, .large_bytes = 5}).ok());
}

TEST(CostModel, CodingTakesTime) {
  auto codec = Codec::Create({.bits = 4});
  ASSERT_TRUE(codec.ok());
  const CodingCost coded = MeasureCoding(std::move(*codec), 3, true),
                   raw = MeasureCoding(nullptr, 3, true);
  for (const CodingCost& cost : {coded, raw}) {
    EXPECT_GT(cost.encode_s, 0);
    EXPECT_GT(cost.reduce_s, 0);
    EXPECT_GT(cost.decode_s, 0);
    EXPECT_LT(cost.encode_s, 1e-6);
  }
  EXPECT_GT(coded.encode_s, raw.encode_s);
}

}  // namespace
}  // namespace ds
