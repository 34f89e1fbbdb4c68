#include <algorithm>
#include <mutex>

#include "base/random.h"
#include "comm/compress/bucket_exchanger.h"
#include "comm/compress/compressed_all_reduce.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

constexpr size_t kBuckets = 5, kCount = 3001;

std::vector<float> Normal(uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(kCount);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

// One rank: five buckets of one tensor each.
class Member {
 public:
  Member(Communicator& communicator, int encode_threads) : memory_(kBuckets * kCount) {
    auto copy = communicator.Duplicate();
    auto codec = Codec::Create({.bits = 3, .bucket = 64, .rounding = CodecRounding::kStochastic});
    EXPECT_TRUE(copy.ok() && codec.ok());
    communicator_ = std::move(*copy);
    const std::shared_ptr<const Codec> shared = std::move(*codec);
    std::vector<GradientBucket> plain, coded;
    for (size_t b = 0; b < kBuckets; ++b) {
      const absl::Span<float> values = absl::MakeSpan(memory_).subspan(b * kCount, kCount);
      const std::string name(1, static_cast<char>('a' + b));
      plain.push_back({{name, values, 0, nullptr, {}}});
      coded.push_back({{name, values, 0, shared, {}}});
    }
    auto raw = CompressedAllReduce::Create(communicator_.get(), plain, {});
    auto compressor = CompressedAllReduce::Create(communicator_.get(), coded, {.seed = 5});
    EXPECT_TRUE(raw.ok() && compressor.ok());
    raw_ = std::move(*raw);
    compressor_ = std::move(*compressor);
    exchanger_ = std::make_unique<BucketExchanger>(communicator_.get(), static_cast<int>(kBuckets),
                                                   encode_threads);
  }

  // Buckets become ready in the order of `order`.
  absl::StatusOr<BucketResult> Round(uint64_t step, uint64_t seed, const std::vector<int>& order,
                                     bool flag = false, bool compress = true) {
    exchanger_->Begin(compress ? *compressor_ : *raw_,
                      {.step = step, .scale = 1.0f / static_cast<float>(communicator_->size())});
    for (const int b : order) {
      const std::vector<float> values = Normal(seed + static_cast<uint64_t>(b));
      std::copy(values.begin(), values.end(),
                memory_.begin() + b * static_cast<std::ptrdiff_t>(kCount));
      exchanger_->MarkReady(b);
    }
    return exchanger_->Finish(flag);
  }

  GradientCompressor& compressor() { return *compressor_; }
  const std::vector<float>& memory() const { return memory_; }

 private:
  std::vector<float> memory_;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<GradientCompressor> raw_, compressor_;
  std::unique_ptr<BucketExchanger> exchanger_;
};

TEST(BucketCompression, TheResultDoesNotDependOnThreadsOrReadiness) {
  std::mutex mutex;
  std::vector<std::vector<float>> results;
  for (const int threads : {0, 1, 2}) {
    OnEveryRank(3, [&](Communicator& communicator) {
      const uint64_t me = static_cast<uint64_t>(communicator.rank());
      Member member(communicator, threads);
      for (uint64_t step = 0; step < 3; ++step) {
        // Each rank in another order.
        std::vector<int> order = {0, 1, 2, 3, 4};
        std::rotate(order.begin(), order.begin() + static_cast<int>((me + step) % 5), order.end());
        const auto result = member.Round(step, 1000 * me + 10 * step, order);
        ASSERT_TRUE(result.ok()) << result.status();
        int64_t predicted = 0;
        for (int b = 0; b < static_cast<int>(kBuckets); ++b)
          predicted += member.compressor().PredictedWireBytes(b);
        const int64_t flag = result->wire_bytes - predicted;
        EXPECT_TRUE(flag >= 0 && flag <= 16) << "what is sent beside the buckets is one flag";
      }
      std::lock_guard lock(mutex);
      results.push_back(member.memory());
    });
  }
  ASSERT_EQ(results.size(), 9u);
  for (const std::vector<float>& result : results) EXPECT_EQ(result, results[0]);
}

TEST(BucketCompression, AFlagOfOneRankLeavesAllResidualsAsTheyWere) {
  OnEveryRank(3, [&](Communicator& communicator) {
    const uint64_t me = static_cast<uint64_t>(communicator.rank());
    Member member(communicator, 1), untroubled(communicator, 1);
    const std::vector<int> order = {4, 3, 2, 1, 0};
    for (Member* each : {&member, &untroubled}) ASSERT_TRUE(each->Round(0, 10 * me, order).ok());
    const CompressorState before = member.compressor().ExportState();
    const auto skipped = member.Round(1, 500 + 10 * me, order, /*flag=*/me == 1);
    ASSERT_TRUE(skipped.ok());
    EXPECT_TRUE(skipped->flag);
    EXPECT_EQ(member.compressor().ExportState(), before);
    for (Member* each : {&member, &untroubled})
      ASSERT_TRUE(each->Round(2, 900 + 10 * me, order).ok());
    EXPECT_EQ(member.memory(), untroubled.memory());
  });
}

TEST(BucketCompression, UncompressedRoundsAreThoseOfAPlainExchanger) {
  OnEveryRank(2, [&](Communicator& communicator) {
    const uint64_t me = static_cast<uint64_t>(communicator.rank());
    Member member(communicator, 1);
    const auto result =
        member.Round(0, 10 * me, {0, 1, 2, 3, 4}, /*flag=*/false, /*compress=*/false);
    ASSERT_TRUE(result.ok());
    for (size_t b = 0; b < kBuckets; ++b) {
      const std::vector<float> mine = Normal(b), other = Normal(10 + b);
      for (size_t i = 0; i < kCount; ++i)
        ASSERT_EQ(member.memory()[b * kCount + i], (mine[i] + other[i]) * 0.5f);
    }
    for (const auto& [key, values] : member.compressor().ExportState()) {
      for (const float value : values) ASSERT_EQ(value, 0) << key;
    }
  });
}

TEST(BucketCompression, AnErrorReachesFinishAndLeavesNoTaskBehind) {
  OnEveryRank(2, [&](Communicator& communicator) {
    Member member(communicator, 2);
    if (communicator.rank() == 1) return;
    for (int round = 0; round < 2; ++round) {
      EXPECT_EQ(member.Round(0, 1, {0, 1, 2, 3, 4}).status().code(),
                absl::StatusCode::kUnavailable);
    }
  });
}

}  // namespace
}  // namespace ds
