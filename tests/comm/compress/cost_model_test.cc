#include "comm/compress/cost_model.h"

#include <cstring>
#include <mutex>

#include "absl/time/clock.h"
#include "comm/exchange_collectives.h"
#include "comm/single.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

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
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override { return absl::UnimplementedError("one link"); }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int, absl::Span<const int>) override {
    return absl::UnimplementedError("one link");
  }
  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send, absl::Span<const absl::Span<std::byte>> receive,
                        absl::Time) override {
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

TEST(CostModel, AStepWaitsForTheLinkBeyondBackwardAndForAllWork) {
  EXPECT_DOUBLE_EQ(PredictStep(0.5, 0.25, {.link_s = 1.0, .coding_s = 0.125}), 0.5 + 0.125 + 0.75);
  EXPECT_DOUBLE_EQ(PredictStep(0.5, 0.25, {.link_s = 0.125, .coding_s = 0.125}), 0.5 + 0.125);
  EXPECT_DOUBLE_EQ(PredictStep(0.5, 0.25, {.link_s = 1.0, .link_cpu_s = 0.25, .coding_s = 0.125}), 0.5 + 0.125 + 0.25 + 0.5);
  EXPECT_DOUBLE_EQ(PredictStep(0.5, 0.25, {.link_s = 0.25, .link_cpu_s = 0.125, .coding_s = 0}), 0.5 + 0.125);
}

TEST(CostModel, FindsLatencyAndBandwidthOfALink) {
  OnEveryRank(3, [&](Communicator& communicator) {
    SlowLink link(communicator, absl::Milliseconds(2), 50e6);
    const auto cost = MeasureLink(link);
    ASSERT_TRUE(cost.ok()) << cost.status();
    EXPECT_NEAR(1 / cost->seconds_per_byte, 50e6, 12e6);
    EXPECT_GT(cost->latency_s, 1.9e-3);
    EXPECT_LT(cost->latency_s, 6e-3);
    // That link sleeps: the processor has little to do with it.
    EXPECT_LT(cost->cpu_seconds_per_byte, 0.5 * cost->seconds_per_byte);
  });
}

// The decision is that of the slow or fast link, the same everywhere, and the prediction is near what the exchange takes.
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
    ASSERT_TRUE(communicator.Broadcast(absl::MakeSpan(reinterpret_cast<std::byte*>(&first), sizeof(first)), 0).ok());
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
  const CodingCost coded = MeasureCoding(std::move(*codec), 3, true), raw = MeasureCoding(nullptr, 3, true);
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
