// Quantised all-reduce, two-shot over Communicator::Exchange: every rank encodes what it does not
// own and sends it to the owner; the owner decodes all contributions, its own included, adds them
// in fp32 in rank order, encodes the sum once and sends it to all, itself using what its bytes
// decode to. Two quantisations whatever the number of ranks, 2 (p-1)/p of the encoded size sent by
// each, and replicas identical bit for bit. Segments without a codec travel in fp32 in the same
// messages.
//
// The result depends on values, names, codecs, seed, step and number of ranks only: not on how
// tensors are grouped into buckets, on chunks, threads or on who owns what, because shares are cut
// between codec buckets and noise is keyed by a value's place in its tensor. Top-k works the same
// way, with a codec of that kind.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/thread_pool.h"
#include "comm/communicator.h"
#include "comm/compress/error_feedback.h"
#include "comm/compress/exchange_plan.h"
#include "comm/compress/gradient_compressor.h"
#include "comm/compress/gradient_segment.h"
#include "comm/compress/two_shot_arithmetic.h"

namespace ds {

struct CompressedAllReduceOptions {
  uint64_t seed = 0;           // of the rounding noise; the same on every rank
  bool error_feedback = true;  // of workers and owners, for segments with a codec
  int64_t chunk_bytes =
      0;  // encoded bytes a message: while one piece travels the next is encoded. 0: all in one
  ThreadPool* pool = nullptr;  // where chunks are encoded and decoded; null: on the communication
                               // thread. Must outlive this
};

class CompressedAllReduce final : public GradientCompressor {
 public:
  // `communicator` and the buckets' memory stay the caller's and must outlive this. InvalidArgument
  // if a segment does not start on a multiple of its codec's bucket. Not collective.
  static absl::StatusOr<std::unique_ptr<CompressedAllReduce>> Create(
      Communicator* communicator, std::vector<GradientBucket> buckets,
      CompressedAllReduceOptions options);

  int buckets() const override { return static_cast<int>(buckets_.size()); }
  void BeginStep(const CompressorStep& step) override;
  void Encode(int bucket) override;
  absl::Status Exchange(int bucket) override;
  std::string NotFinite(int bucket) const override {
    return FirstNotBelow(buckets_[static_cast<size_t>(bucket)].segments, limit_);
  }
  void EndStep(bool commit) override;
  int64_t PredictedWireBytes(int bucket) const override;
  CompressorState ExportState() const override;
  absl::Status ImportState(const CompressorState& state) override;

  // New codecs for the tensors named, between steps; the others keep theirs. Shares move with the
  // sizes, and owners' residuals move to the new owners. A tensor that goes from or to fp32 is
  // InvalidArgument. Collective.
  absl::Status SetCodecs(const std::map<std::string, std::shared_ptr<const Codec>>& codecs);

 private:
  struct OwnerResidual {
    int range = -1;     // in feedback_; -1: none
    int64_t begin = 0;  // its first value's place in the segment
  };
  struct Bucket {
    GradientBucket segments;
    ExchangePlan plan;
    std::vector<std::byte> encoded;     // laid out by the plan: contributions, then sums
    std::vector<int> workers;           // of each segment: its residual in feedback_, or -1
    std::vector<OwnerResidual> owners;  // of each segment
    bool encoded_ahead = false;
    bool exchanged = false;
  };

  CompressedAllReduce(Communicator* communicator, CompressedAllReduceOptions options)
      : communicator_(communicator), options_(options) {}
  absl::Status Plan(std::vector<GradientBucket> buckets);
  void AddResiduals(Bucket& bucket);
  ResidualPart WorkerPart(const Bucket& bucket, const PlanPiece& piece);
  ResidualPart OwnerPart(const Bucket& bucket, const PlanPiece& piece);
  absl::Span<std::byte> EncodedOf(Bucket& bucket, ByteRange range);
  // Where rank `from`'s contribution to byte `offset` on of what this rank owns is received.
  std::byte* Inbox(const Bucket& bucket, int from, int64_t offset);

  absl::Status EncodeChunk(Bucket& bucket, int chunk);
  absl::Status Scatter(Bucket& bucket, int chunk);
  absl::Status ReduceChunk(Bucket& bucket, int chunk);
  absl::Status Gather(Bucket& bucket, int chunk);
  absl::Status DecodeChunk(Bucket& bucket, int chunk);
  absl::Status ExchangeChunks(Bucket& bucket);
  void PassThrough(Bucket& bucket);

  Communicator* const communicator_;
  const CompressedAllReduceOptions options_;
  std::vector<Bucket> buckets_;
  ErrorFeedback feedback_;
  TwoShotStep step_;
  float limit_ = 0;               // of the step's results
  std::vector<std::byte> inbox_;  // contributions of the others to the current bucket's owned part
};

}  // namespace ds
