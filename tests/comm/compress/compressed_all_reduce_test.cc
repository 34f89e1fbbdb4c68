#include "comm/compress/compressed_all_reduce.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/random.h"
#include "codec/bound.h"
#include "comm/inprocess/single.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/compressor_contract.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

using ::testing::IsEmpty;

std::shared_ptr<const Codec> MakeCodec(const CodecOptions& options) {
  auto codec = Codec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return std::move(*codec);
}

std::vector<float> Normal(size_t count, uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

class InProcess : public ::testing::TestWithParam<int> {};

TEST_P(InProcess, EqualsTheSerialSimulationBitForBit) {
  std::mutex mutex;
  std::vector<std::string> faults;
  OnEveryRank(GetParam(), [&](Communicator& communicator) {
    const std::vector<std::string> mine = CheckCompressedAllReduce(communicator);
    std::lock_guard lock(mutex);
    for (const std::string& fault : mine)
      faults.push_back(absl::StrCat("rank ", communicator.rank(), ": ", fault));
  });
  EXPECT_THAT(faults, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, InProcess, ::testing::Values(1, 2, 3, 4, 5, 7, 8));

// A communicator's rank, with one tensor of `count` values under `codec`.
struct OneTensor {
  OneTensor(Communicator& communicator, size_t count, std::shared_ptr<const Codec> codec,
            CompressedAllReduceOptions options = {})
      : memory(count) {
    auto made = CompressedAllReduce::Create(
        &communicator, {{{"w", absl::MakeSpan(memory), 0, std::move(codec), {}}}}, options);
    EXPECT_TRUE(made.ok()) << made.status();
    reducer = std::move(*made);
  }
  absl::Status Step(const std::vector<float>& values, uint64_t step, float scale,
                    bool commit = true) {
    std::copy(values.begin(), values.end(), memory.begin());
    reducer->BeginStep({step, scale});
    const absl::Status status = reducer->Exchange(0);
    reducer->EndStep(commit && status.ok());
    return status;
  }
  std::vector<float> memory;
  std::unique_ptr<CompressedAllReduce> reducer;
};

// The analytic bound of codec/bound.h, once for every contribution and once for the owner's sum,
// and a few roundings of fp32 sums.
struct ErrorCase {
  std::vector<double> sum;  // exact
  std::vector<double> bound;
};

ErrorCase WorkOut(const CodecOptions& options, int ranks, size_t count) {
  const auto codec = MakeCodec(options);
  const size_t bucket = static_cast<size_t>(options.bucket);
  ErrorCase result = {std::vector<double>(count), std::vector<double>(count)};
  std::vector<float> decoded_sum(count);
  for (int r = 0; r < ranks; ++r) {
    const std::vector<float> values = Normal(count, static_cast<uint64_t>(r));
    std::vector<float> decoded(count);
    std::vector<std::byte> bytes(
        static_cast<size_t>(codec->EncodedSize(static_cast<int64_t>(count))));
    const CodecNoise noise = {0, 0, StreamOf("w", 1), static_cast<uint64_t>(r), 0};
    codec->Encode(values, noise, absl::MakeSpan(bytes));
    EXPECT_TRUE(codec->Decode(bytes, noise, absl::MakeSpan(decoded)).ok());
    for (size_t begin = 0; begin < count; begin += bucket) {
      const double error =
          CodecErrorBound(options, absl::MakeConstSpan(values).subspan(begin, bucket));
      for (size_t i = begin; i < std::min(count, begin + bucket); ++i) {
        result.sum[i] += values[i];
        result.bound[i] += error + std::abs(decoded_sum[i] + decoded[i]) * 0x1p-24;
        decoded_sum[i] += decoded[i];
      }
    }
  }
  for (size_t begin = 0; begin < count; begin += bucket) {
    const double error =
        CodecErrorBound(options, absl::MakeConstSpan(decoded_sum).subspan(begin, bucket));
    for (size_t i = begin; i < std::min(count, begin + bucket); ++i) result.bound[i] += error;
  }
  return result;
}

TEST(CompressedAllReduce, ErrorIsWithinTheBoundOfTwoQuantisations) {
  for (const int ranks : {2, 3, 4, 5, 7, 8}) {
    for (int bits = 1; bits <= 8; ++bits) {
      const CodecScale scale = (bits + ranks) % 2 == 0 ? CodecScale::kMinMax : CodecScale::kMaxNorm;
      for (const CodecRounding rounding : {CodecRounding::kNearest, CodecRounding::kStochastic}) {
        for (const size_t count : {0u, 1u, 5003u}) {
          const CodecOptions options = {
              .bits = bits, .bucket = 64, .scale = scale, .rounding = rounding};
          const auto codec = MakeCodec(options);
          const ErrorCase wanted = WorkOut(options, ranks, count);
          OnEveryRank(ranks, [&](Communicator& communicator) {
            OneTensor tensor(communicator, count, codec);
            ASSERT_TRUE(
                tensor.Step(Normal(count, static_cast<uint64_t>(communicator.rank())), 0, 1).ok());
            double worst = 0;
            for (size_t i = 0; i < count; ++i) {
              worst = std::max(worst, std::abs(tensor.memory[i] - wanted.sum[i]) / wanted.bound[i]);
            }
            EXPECT_LE(worst, 1) << ranks << " ranks, " << bits << " bits, " << count << " values";
            if (count > 1000) {
              EXPECT_GT(worst, 0.2) << "a bound so far from the error shows nothing";
            }
          });
        }
      }
    }
  }
}

TEST(CompressedAllReduce, FourBitsAreSevenAndAHalfTimesFewerBytesThanFp32) {
  constexpr size_t kCount = 1 << 20;
  const auto codec = MakeCodec({.bits = 4, .bucket = 512});
  for (const int ranks : {2, 3, 8}) {
    OnEveryRank(ranks, [&](Communicator& communicator) {
      OneTensor tensor(communicator, kCount, codec);
      std::vector<float> values = Normal(kCount, 1);
      ASSERT_TRUE(tensor.Step(values, 0, 1).ok());
      const int64_t compressed = communicator.wire_stats().bytes_sent;
      ASSERT_TRUE(
          communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum).ok());
      const int64_t raw = communicator.wire_stats().bytes_sent - compressed;
      EXPECT_GE(static_cast<double>(raw) / static_cast<double>(compressed), 7.5)
          << ranks << " ranks";
    });
  }
}

TEST(CompressedAllReduce, WhatIsOwedComesInLaterSteps) {
  // A constant gradient: with error feedback the mean over the steps goes to the gradient, without
  // it stays off.
  constexpr size_t kCount = 1009;
  constexpr int kSteps = 64;
  const auto codec = MakeCodec({.bits = 2, .bucket = 64});
  for (const bool feedback : {true, false}) {
    OnEveryRank(3, [&](Communicator& communicator) {
      OneTensor tensor(communicator, kCount, codec, {.error_feedback = feedback});
      std::vector<double> total(kCount), wanted(kCount);
      for (uint64_t r = 0; r < 3; ++r) {
        const std::vector<float> values = Normal(kCount, r);
        for (size_t i = 0; i < kCount; ++i) wanted[i] += values[i] / 3.0;
      }
      for (uint64_t step = 0; step < kSteps; ++step) {
        ASSERT_TRUE(
            tensor.Step(Normal(kCount, static_cast<uint64_t>(communicator.rank())), step, 1.0f / 3)
                .ok());
        for (size_t i = 0; i < kCount; ++i) total[i] += tensor.memory[i];
      }
      double error = 0, size = 0;
      for (size_t i = 0; i < kCount; ++i) {
        error += std::pow(total[i] / kSteps - wanted[i], 2);
        size += wanted[i] * wanted[i];
      }
      const double relative = std::sqrt(error / size);
      if (feedback) {
        EXPECT_LT(relative, 0.05);
      } else {
        EXPECT_GT(relative, 0.2);
      }
    });
  }
}

TEST(CompressedAllReduce, ARestoredStateContinuesWithTheSameBits) {
  constexpr size_t kCount = 2003;
  const auto codec = MakeCodec({.bits = 3, .bucket = 64, .rounding = CodecRounding::kStochastic});
  OnEveryRank(3, [&](Communicator& communicator) {
    const uint64_t me = static_cast<uint64_t>(communicator.rank());
    OneTensor whole(communicator, kCount, codec), resumed(communicator, kCount, codec);
    for (uint64_t step = 0; step < 3; ++step)
      ASSERT_TRUE(whole.Step(Normal(kCount, 10 * step + me), step, 1).ok());
    ASSERT_TRUE(resumed.reducer->ImportState(whole.reducer->ExportState()).ok());
    for (uint64_t step = 3; step < 5; ++step) {
      ASSERT_TRUE(whole.Step(Normal(kCount, 10 * step + me), step, 1).ok());
      ASSERT_TRUE(resumed.Step(Normal(kCount, 10 * step + me), step, 1).ok());
      EXPECT_EQ(whole.memory, resumed.memory);
    }
    EXPECT_EQ(whole.reducer->ExportState(), resumed.reducer->ExportState());
  });
}

TEST(CompressedAllReduce, OneRankAlonePaysWhatEarlierRanksOwed) {
  const std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  OneTensor tensor(*communicator, 5, MakeCodec({.bits = 1, .bucket = 64}));
  const std::vector<float> ones(5, 1.0f);
  ASSERT_TRUE(
      tensor.reducer->ImportState({{"worker/w@0", {1, 2, 3, 4, 5}}, {"owner/w@3", {10, 20}}}).ok());
  ASSERT_TRUE(tensor.Step(ones, 0, 0.5f).ok());
  EXPECT_EQ(tensor.memory, (std::vector<float>{1.5f, 2.5f, 3.5f, 14.5f, 25.5f}));
  ASSERT_TRUE(tensor.Step(ones, 1, 0.5f).ok());
  EXPECT_EQ(tensor.memory, std::vector<float>(5, 0.5f));
}

// Shares move when the bits of one of two tensors change; residuals of owners must follow.
TEST(CompressedAllReduce, NewCodecsKeepTheResiduals) {
  constexpr size_t kCount = 4099;
  const auto four = MakeCodec({.bits = 4, .bucket = 64}),
             one = MakeCodec({.bits = 1, .bucket = 64});
  for (const int ranks : {2, 3, 5}) {
    std::mutex mutex;
    std::vector<CompressorState> before(static_cast<size_t>(ranks)), after = before;
    OnEveryRank(ranks, [&](Communicator& communicator) {
      std::vector<float> a = Normal(kCount, static_cast<uint64_t>(communicator.rank())), b = a;
      const std::vector<GradientBucket> buckets = {
          {{"a", absl::MakeSpan(a), 0, four, {}}, {"b", absl::MakeSpan(b), 0, four, {}}}};
      auto reducer = CompressedAllReduce::Create(&communicator, buckets, {});
      ASSERT_TRUE(reducer.ok());
      (*reducer)->BeginStep({});
      ASSERT_TRUE((*reducer)->Exchange(0).ok());
      (*reducer)->EndStep(true);
      const CompressorState old = (*reducer)->ExportState();
      const int64_t old_bytes = (*reducer)->PredictedWireBytes(0);
      EXPECT_EQ((*reducer)->SetCodecs({{"b", nullptr}}).code(), absl::StatusCode::kInvalidArgument);
      ASSERT_TRUE((*reducer)->SetCodecs({{"b", one}}).ok());
      EXPECT_LT((*reducer)->PredictedWireBytes(0), old_bytes);
      std::lock_guard lock(mutex);
      before[static_cast<size_t>(communicator.rank())] = old;
      after[static_cast<size_t>(communicator.rank())] = (*reducer)->ExportState();
    });
    bool moved = false;
    std::vector<float> old_owner(kCount), new_owner(kCount);
    for (const std::string name : {"a", "b"}) {
      for (size_t r = 0; r < before.size(); ++r) {
        EXPECT_EQ(before[r]["worker/" + name + "@0"], after[r]["worker/" + name + "@0"]);
      }
      std::vector<float> owners[2];
      for (const auto* states : {&before, &after}) {
        std::vector<float>& all = owners[states == &after];
        // Owners' ranges are disjoint: the sum over the ranks is their union.
        all.resize(kCount);
        for (const CompressorState& state : *states) {
          std::vector<float> part(kCount);
          const auto found = FillFromState(state, kOwnerResidual, name, 0, absl::MakeSpan(part));
          ASSERT_TRUE(found.ok());
          for (size_t i = 0; i < kCount; ++i) all[i] += part[i];
        }
      }
      EXPECT_EQ(owners[0], owners[1]) << name;
      EXPECT_TRUE(std::any_of(owners[0].begin(), owners[0].end(), [](float v) { return v != 0; }));
    }
    for (size_t r = 0; r < before.size(); ++r) {
      for (const auto& [key, values] : after[r]) moved = moved || before[r].count(key) == 0;
    }
    EXPECT_TRUE(moved) << "no share moved: the test shows nothing";
  }
}

TEST(CompressedAllReduce, ARankThatLeavesIsAnErrorOnAllOthersLongBeforeTheDeadline) {
  constexpr size_t kCount = 100003;
  const auto codec = MakeCodec({.bits = 4});
  std::atomic<int> failed = 0;
  const absl::Time start = absl::Now();
  OnEveryRank(4, [&](Communicator& communicator) {
    ThreadPool pool(1);
    OneTensor tensor(communicator, kCount, codec, {.chunk_bytes = 1000, .pool = &pool});
    const std::vector<float> values = Normal(kCount, static_cast<uint64_t>(communicator.rank()));
    ASSERT_TRUE(tensor.Step(values, 0, 1).ok());
    if (communicator.rank() == 2) return;  // its communicator goes
    const absl::Status status = tensor.Step(values, 1, 1);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    failed += !status.ok();
  });
  EXPECT_EQ(failed, 3);
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
}

TEST(CompressedAllReduce, SegmentsMustStartOnACodecBucket) {
  const std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  std::vector<float> values(10);
  const auto made = CompressedAllReduce::Create(
      communicator.get(),
      {{{"w", absl::MakeSpan(values), 63, MakeCodec({.bits = 4, .bucket = 64}), {}}}}, {});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << made.status();
}

}  // namespace
}  // namespace ds
