#include "comm/tuning/auto_bits.h"

#include <limits>
#include <mutex>

#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

constexpr size_t kCount = 5003;

std::vector<float> Normal(float size, uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(kCount);
  for (float& value : values) value = size * static_cast<float>(random.NextNormal());
  return values;
}

double SquaredError(const Codec& codec, const std::vector<float>& values) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(codec.EncodedSize(static_cast<int64_t>(values.size()))));
  std::vector<float> decoded(values.size());
  codec.Encode(values, {}, absl::MakeSpan(bytes));
  EXPECT_TRUE(codec.Decode(bytes, {}, absl::MakeSpan(decoded)).ok());
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i)
    error += (values[i] - decoded[i]) * static_cast<double>(values[i] - decoded[i]);
  return error;
}

TEST(AutoBits, EqualOnAllRanksAndBetterThanOneWidthForAll) {
  const AutoBitsOptions options = {.codec = {.bucket = 64}};
  auto reference = Codec::Create({.bits = 4, .bucket = 64});
  ASSERT_TRUE(reference.ok());
  const std::shared_ptr<const Codec> four = std::move(*reference);
  const std::vector<std::string> names = {"a", "b", "c"};
  const float sizes[] = {1.0f, 0.05f, 0.001f};  // most of the error is the first one's
  constexpr int kRanks = 3;
  std::mutex mutex;
  std::vector<std::vector<int>> decisions;
  OnEveryRank(kRanks, [&](Communicator& communicator) {
    std::vector<std::vector<float>> memory;
    std::vector<GradientSegment> segments;
    for (size_t t = 0; t < 3; ++t)
      memory.push_back(Normal(sizes[t], 10 * t + static_cast<uint64_t>(communicator.rank())));
    for (size_t t = 0; t < 3; ++t)
      segments.push_back({names[t], absl::MakeSpan(memory[t]), 0, four, {}});
    std::vector<float> raw(7);
    segments.push_back({"bias", absl::MakeSpan(raw), 0, nullptr, {}});
    auto automatic = AutoBits::Create(options);
    ASSERT_TRUE(automatic.ok());
    (*automatic)->Measure(segments, {.rank = static_cast<uint64_t>(communicator.rank())});
    const auto codecs = (*automatic)->Decide(communicator);
    ASSERT_TRUE(codecs.ok());
    ASSERT_EQ(codecs->size(), 3u);
    std::vector<int> bits;
    for (const std::string& name : names) bits.push_back(codecs->at(name)->options().bits);
    const auto again = (*automatic)->Decide(communicator);
    ASSERT_TRUE(again.ok());
    EXPECT_TRUE(again->empty()) << "measurements were not cleared";
    std::lock_guard lock(mutex);
    decisions.push_back(bits);
  });
  for (const std::vector<int>& bits : decisions) EXPECT_EQ(bits, decisions[0]);
  const std::vector<int>& bits = decisions[0];
  // What makes the error gets bits, the others pay.
  EXPECT_GE(bits[0], 4);
  EXPECT_LT(bits[1], 4);
  EXPECT_EQ(bits[2], 1);
  EXPECT_LT(bits[0] + bits[1] + bits[2], 3 * 4);
  double allowed = 0, made = 0;
  for (size_t t = 0; t < 3; ++t) {
    auto codec = Codec::Create({.bits = bits[t], .bucket = 64});
    ASSERT_TRUE(codec.ok());
    for (uint64_t r = 0; r < kRanks; ++r) {
      allowed += SquaredError(*four, Normal(sizes[t], 10 * t + r));
      made += SquaredError(**codec, Normal(sizes[t], 10 * t + r));
    }
  }
  EXPECT_LE(made, allowed * (1 + 1e-6));
}

TEST(AutoBits, GradientsThatAreNotFiniteDecideNothing) {
  OnEveryRank(2, [&](Communicator& communicator) {
    std::vector<float> values = Normal(1, 1);
    if (communicator.rank() == 1) values[3] = std::numeric_limits<float>::infinity();
    auto codec = Codec::Create({});
    const GradientSegment segment = {"w", absl::MakeSpan(values), 0, std::move(*codec), {}};
    auto automatic = AutoBits::Create({});
    ASSERT_TRUE(automatic.ok());
    (*automatic)->Measure({segment}, {});
    const auto codecs = (*automatic)->Decide(communicator);
    ASSERT_TRUE(codecs.ok()) << codecs.status();
    EXPECT_TRUE(codecs->empty());
  });
}

TEST(AutoBits, NonsenseIsRefused) {
  EXPECT_FALSE(AutoBits::Create({.candidates = {2, 3}, .reference_bits = 4}).ok());
  EXPECT_FALSE(AutoBits::Create({.candidates = {4, 3}, .reference_bits = 4}).ok());
  EXPECT_FALSE(AutoBits::Create({.candidates = {4, 9}, .reference_bits = 4}).ok());
  EXPECT_FALSE(AutoBits::Create({.codec = {.kind = CodecKind::kSign}}).ok());
}

}  // namespace
}  // namespace ds
