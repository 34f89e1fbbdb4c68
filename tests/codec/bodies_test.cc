// The CUDA kernels' programs, run on the processor by a loop over threads, against the codecs.
#include <cmath>
#include <cstring>
#include <numeric>

#include "codec/cuda/codec_cuda.h"
#include "codec/cuda/codec_plan.h"
#include "codec/cuda/codec_programs.h"
#include "gtest/gtest.h"
#include "tests/codec/cases.h"

namespace ds {
namespace {

constexpr CodecNoise kNoise = {.seed = 5, .step = 6, .tensor = 7, .rank = 8, .first_element = 8192};

// A team whose threads take turns, in an order that a barrier forgotten would show.
struct LoopTeam {
  bool reversed;
  template <typename Work>
  void Each(const Work& work) const {
    for (int t = 0; t < lowbit::kTeamThreads; ++t)
      work(reversed ? lowbit::kTeamThreads - 1 - t : t);
  }
};

std::vector<std::byte> EncodedByBodies(const Codec& codec, const std::vector<float>& values,
                                       bool reversed) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(codec.EncodedSize(static_cast<int64_t>(values.size()))), std::byte{0xa5});
  const lowbit::CodecPlan plan = lowbit::PlanOf(codec, static_cast<int64_t>(values.size()), kNoise);
  auto scratch = std::make_unique<lowbit::TeamScratch>();
  lowbit::WithBits(plan, [&]<int kBits>() {
    for (int64_t bucket = 0; bucket < lowbit::BucketsOf(plan); ++bucket) {
      lowbit::EncodeBucketProgram<kBits>(LoopTeam{reversed}, *scratch, plan, bucket, values.data(),
                                         reinterpret_cast<uint8_t*>(bytes.data()));
    }
  });
  return bytes;
}

int32_t DecodeByBodies(const Codec& codec, const std::vector<std::byte>& bytes, bool add,
                       bool reversed, std::vector<float>* values) {
  const lowbit::CodecPlan plan =
      lowbit::PlanOf(codec, static_cast<int64_t>(values->size()), kNoise);
  auto scratch = std::make_unique<lowbit::TeamScratch>();
  int32_t corrupt = 0;
  lowbit::WithBits(plan, [&]<int kBits>() {
    for (int64_t bucket = 0; bucket < lowbit::BucketsOf(plan); ++bucket) {
      lowbit::DecodeBucketProgram<kBits>(LoopTeam{reversed}, *scratch, plan, bucket,
                                         reinterpret_cast<const uint8_t*>(bytes.data()), add,
                                         values->data(), &corrupt);
    }
  });
  return corrupt;
}

void ExpectSameValues(const std::vector<float>& a, const std::vector<float>& b,
                      const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::memcmp(&a[i], &b[i], sizeof(float)) == 0 ||
                (std::isnan(a[i]) && std::isnan(b[i])))
        << what << ", value " << i << ": " << a[i] << " and " << b[i];
  }
}

// Ordinary values, then a bucket of zeros, of one value, of tiny ones, of huge ones, a poisoned
// one; and many ties.
std::vector<float> Values(int64_t count, int64_t bucket) {
  std::vector<float> values = Gradients(count);
  const auto fill = [&](int64_t index, float value) {
    for (int64_t i = index * bucket; i < std::min(count, (index + 1) * bucket); ++i)
      values[static_cast<size_t>(i)] = value;
  };
  fill(1, 0.0f);
  fill(2, -0.25f);
  fill(3, 0x1p-140f);
  fill(4, 0x1.fffffep127f);
  if (count > 5 * bucket) values[static_cast<size_t>(5 * bucket)] = INFINITY;
  for (int64_t i = 6 * bucket; i < std::min(count, 7 * bucket); ++i)
    values[static_cast<size_t>(i)] = static_cast<float>(i % 5 - 2);
  return values;
}

TEST(CodecBodiesTest, MakeTheBytesAndBitsOfTheCodecs) {
  for (int64_t bucket : {64, 512, 4096}) {
    for (const CodecOptions& options : AllCases(bucket)) {
      const auto codec = CodecOf(options);
      for (int64_t count : {int64_t{1}, int64_t{7}, bucket - 1, bucket, bucket * 7 + 37}) {
        const std::vector<float> values = Values(count, bucket);
        const std::string what = absl::StrCat(NameOf(options), ", count ", count);
        const std::vector<std::byte> bytes = Encoded(*codec, values, kNoise);
        const std::vector<float> decoded = Decoded(*codec, bytes, count, kNoise);
        std::vector<float> sum = Gradients(count, 3);
        ASSERT_TRUE(codec->DecodeAdd(bytes, kNoise, absl::MakeSpan(sum)).ok());
        for (bool reversed : {false, true}) {
          ASSERT_EQ(EncodedByBodies(*codec, values, reversed), bytes) << what;
          std::vector<float> by_bodies(values.size()), sum_by_bodies = Gradients(count, 3);
          EXPECT_EQ(DecodeByBodies(*codec, bytes, false, reversed, &by_bodies), 0) << what;
          EXPECT_EQ(DecodeByBodies(*codec, bytes, true, reversed, &sum_by_bodies), 0) << what;
          ExpectSameValues(by_bodies, decoded, what);
          ExpectSameValues(sum_by_bodies, sum, what);
        }
      }
    }
  }
}

TEST(CodecBodiesTest, TopKReportsIndicesThatAreNone) {
  const auto codec = CodecOf({.kind = CodecKind::kTopK, .bucket = 64, .density = 0.1});
  std::vector<float> values = Gradients(64);
  const std::vector<std::byte> good = Encoded(*codec, values, kNoise);
  for (int fault : {0, 1}) {
    std::vector<std::byte> bytes = good;
    bytes[2] = fault == 0 ? std::byte{64} : bytes[0];
    bytes[3] = std::byte{0};
    EXPECT_EQ(codec->Decode(bytes, kNoise, absl::MakeSpan(values)).code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(DecodeByBodies(*codec, bytes, false, false, &values), 1);
  }
}

TEST(CudaCodecTest, IsThereOrSaysWhyNot) {
  const auto codec = CudaCodec::Create({});
  if (codec.ok()) {
    EXPECT_EQ((*codec)->EncodedSize(512), 260);
    EXPECT_EQ(CudaCodec::Create({.bits = 0}).status().code(), absl::StatusCode::kInvalidArgument);
  } else {
    EXPECT_EQ(codec.status().code(), absl::StatusCode::kUnavailable);
  }
}

}  // namespace
}  // namespace ds
