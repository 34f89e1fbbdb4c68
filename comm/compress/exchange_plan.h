// Who owns which part of a bucket, and where its encoded bytes lie in a message. A pure function of
// the segments' sizes and codecs, so every rank knows every message's size without asking.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

// [begin, begin + count) of a segment's values; `offset` and `bytes` place their encoding in the
// bucket's encoded bytes.
struct PlanPiece {
  int segment = 0;
  int64_t begin = 0;
  int64_t count = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
};

struct ByteRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

class ExchangePlan {
 public:
  // Gives each rank an equal share of the encoded bytes, as nearly as codec buckets can be kept
  // whole, and cuts each share into the same number of chunks of about `chunk_bytes` (0: one
  // chunk). A share does not depend on `chunk_bytes`. InvalidArgument if a segment does not start
  // at a multiple of its codec's bucket.
  static absl::StatusOr<ExchangePlan> Make(absl::Span<const GradientSegment> segments, int ranks,
                                           int64_t chunk_bytes);

  int ranks() const { return ranks_; }
  int chunks() const { return chunks_; }
  // Of the whole bucket, once.
  int64_t bytes() const { return offsets_.back(); }
  // The bytes that rank `owner` owns: its chunks in order.
  ByteRange Owned(int owner) const {
    return {offsets_[Index(owner, 0)], offsets_[Index(owner + 1, 0)]};
  }
  ByteRange Chunk(int owner, int chunk) const {
    return {offsets_[Index(owner, chunk)], offsets_[Index(owner, chunk) + 1]};
  }
  absl::Span<const PlanPiece> Pieces(int owner, int chunk) const {
    return pieces_[Index(owner, chunk)];
  }
  // What `rank` hands to the transport in a two-shot all-reduce of the bucket: what it does not
  // own, once, and what it owns, to each of the others.
  int64_t WireBytes(int rank) const {
    return bytes() - Owned(rank).size() + (ranks_ - 1) * Owned(rank).size();
  }

 private:
  size_t Index(int owner, int chunk) const {
    return static_cast<size_t>(owner) * static_cast<size_t>(chunks_) + static_cast<size_t>(chunk);
  }

  int ranks_ = 1;
  int chunks_ = 1;
  std::vector<int64_t> offsets_;                // of each part, and the end
  std::vector<std::vector<PlanPiece>> pieces_;  // of each part
};

}  // namespace ds
