#include "comm/compress/exchange_plan.h"

#include <algorithm>

#include "base/random.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

std::vector<GradientSegment> Segments(std::vector<float>& memory,
                                      const std::vector<int64_t>& counts) {
  auto four = Codec::Create({.bits = 4, .bucket = 64}),
       one = Codec::Create({.bits = 1, .bucket = 256});
  const std::shared_ptr<const Codec> codecs[] = {std::move(*four), nullptr, std::move(*one)};
  std::vector<GradientSegment> segments;
  int64_t at = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    segments.push_back(
        {"t",
         absl::MakeSpan(memory).subspan(static_cast<size_t>(at), static_cast<size_t>(counts[s])),
         0,
         codecs[s % 3],
         {}});
    at += counts[s];
  }
  return segments;
}

// Every value is in one piece, pieces are in order and start at codec buckets, offsets are without
// gaps.
void ExpectAPartition(const ExchangePlan& plan, const std::vector<GradientSegment>& segments) {
  std::vector<int64_t> covered(segments.size());
  int64_t offset = 0;
  int last_segment = 0;
  for (int rank = 0; rank < plan.ranks(); ++rank) {
    EXPECT_EQ(plan.Owned(rank).begin, offset);
    for (int chunk = 0; chunk < plan.chunks(); ++chunk) {
      EXPECT_EQ(plan.Chunk(rank, chunk).begin, offset);
      for (const PlanPiece& piece : plan.Pieces(rank, chunk)) {
        const GradientSegment& segment = segments[static_cast<size_t>(piece.segment)];
        EXPECT_GE(piece.segment, last_segment);
        last_segment = piece.segment;
        EXPECT_EQ(piece.begin, covered[static_cast<size_t>(piece.segment)]);
        EXPECT_GT(piece.count, 0);
        if (segment.codec != nullptr) {
          EXPECT_EQ(piece.begin % segment.codec->options().bucket, 0);
        }
        EXPECT_EQ(piece.offset, offset);
        EXPECT_EQ(piece.bytes, segment.EncodedSize(piece.count));
        covered[static_cast<size_t>(piece.segment)] += piece.count;
        offset += piece.bytes;
      }
      EXPECT_EQ(plan.Chunk(rank, chunk).end, offset);
    }
    EXPECT_EQ(plan.Owned(rank).end, offset);
  }
  EXPECT_EQ(plan.bytes(), offset);
  for (size_t s = 0; s < segments.size(); ++s)
    EXPECT_EQ(covered[s], segments[s].count()) << "segment " << s;
}

const std::vector<std::vector<int64_t>>& Lists() {
  static const std::vector<std::vector<int64_t>> lists = {{},
                                                          {0},
                                                          {1},
                                                          {0, 0, 0},
                                                          {63},
                                                          {64, 1, 0, 65},
                                                          {1009, 17, 1, 0, 5003, 331},
                                                          {70000, 3, 90001}};
  return lists;
}

TEST(ExchangePlan, IsAPartitionForAnyRanksAndChunks) {
  std::vector<float> memory(200000);
  for (const std::vector<int64_t>& counts : Lists()) {
    const std::vector<GradientSegment> segments = Segments(memory, counts);
    for (const int ranks : {1, 2, 3, 5, 8, 17}) {
      for (const int64_t chunk : {0, 1, 100, 5000}) {
        const auto plan = ExchangePlan::Make(segments, ranks, chunk);
        ASSERT_TRUE(plan.ok());
        ExpectAPartition(*plan, segments);
      }
    }
  }
}

TEST(ExchangePlan, SharesAreEqualUpToACodecBucketAndDoNotDependOnChunks) {
  std::vector<float> memory(200000);
  const std::vector<GradientSegment> segments = Segments(memory, {70000, 3, 90001, 500});
  int64_t bucket_bytes = 0;
  for (const GradientSegment& segment : segments) {
    if (segment.codec != nullptr)
      bucket_bytes = std::max(bucket_bytes, segment.EncodedSize(segment.codec->options().bucket));
  }
  for (const int ranks : {2, 3, 5, 8}) {
    const auto whole = ExchangePlan::Make(segments, ranks, 0),
               cut = ExchangePlan::Make(segments, ranks, 700);
    ASSERT_TRUE(whole.ok() && cut.ok());
    EXPECT_EQ(whole->chunks(), 1);
    EXPECT_EQ(cut->chunks(), (whole->bytes() / ranks + 699) / 700);
    int64_t sent = 0;
    for (int r = 0; r < ranks; ++r) {
      EXPECT_NEAR(static_cast<double>(whole->Owned(r).size()),
                  static_cast<double>(whole->bytes()) / ranks, static_cast<double>(bucket_bytes));
      EXPECT_EQ(whole->Owned(r).begin, cut->Owned(r).begin);
      EXPECT_EQ(whole->Owned(r).end, cut->Owned(r).end);
      sent += whole->WireBytes(r);
    }
    EXPECT_EQ(sent, 2 * (ranks - 1) * whole->bytes());
  }
}

TEST(ExchangePlan, NonsenseIsRefused) {
  std::vector<float> memory(10);
  EXPECT_FALSE(ExchangePlan::Make({}, 0, 0).ok());
  EXPECT_FALSE(ExchangePlan::Make({}, 1, -1).ok());
}

}  // namespace
}  // namespace ds
