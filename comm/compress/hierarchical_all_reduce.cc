#include "comm/compress/hierarchical_all_reduce.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "comm/reduce.h"

namespace ds {
namespace {

absl::Span<float> ValuesOf(const GradientBucket& segments, const PlanPiece& piece) {
  return segments[static_cast<size_t>(piece.segment)].values.subspan(
      static_cast<size_t>(piece.begin), static_cast<size_t>(piece.count));
}

absl::Span<std::byte> Bytes(absl::Span<float> values) {
  return {reinterpret_cast<std::byte*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<HierarchicalAllReduce>> HierarchicalAllReduce::Create(
    Communicator& communicator, int host, std::vector<GradientBucket> buckets,
    CompressedAllReduceOptions options) {
  auto made = std::unique_ptr<HierarchicalAllReduce>(new HierarchicalAllReduce());
  DS_RETURN_IF_ERROR(made->Connect(communicator, host));
  DS_RETURN_IF_ERROR(made->Plan(std::move(buckets), options));
  return made;
}

absl::Status HierarchicalAllReduce::Connect(Communicator& communicator, int host) {
  if (host < 0) return absl::InvalidArgumentError("a host's number is not negative");
  DS_ASSIGN_OR_RETURN(local_, communicator.Split(host, 0));
  int32_t lowest = communicator.rank(), smallest = local_->size();
  DS_RETURN_IF_ERROR(
      local_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&lowest, 1)), ReduceOp::kMin));
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(&smallest, 1)), ReduceOp::kMin));
  shards_ = smallest;
  // The same order of hosts for every shard.
  DS_ASSIGN_OR_RETURN(
      across_, communicator.Split(
                   local_->rank() < shards_ ? local_->rank() : Communicator::kNoGroup, lowest));
  int32_t place[] = {owns_shard() ? across_->size() : 0, owns_shard() ? across_->rank() : 0};
  DS_RETURN_IF_ERROR(local_->AllReduce(MutableBuffer::Of(absl::MakeSpan(place)), ReduceOp::kMax));
  hosts_ = place[0];
  host_ = place[1];
  return absl::OkStatus();
}

absl::Status HierarchicalAllReduce::Plan(std::vector<GradientBucket> buckets,
                                         const CompressedAllReduceOptions& options) {
  std::vector<GradientBucket> mine;
  size_t most_out = 0, most_in = 0;
  for (GradientBucket& segments : buckets) {
    Bucket& bucket = buckets_.emplace_back();
    DS_ASSIGN_OR_RETURN(bucket.shards, ExchangePlan::Make(segments, shards_, /*chunk_bytes=*/0));
    bucket.segments = std::move(segments);
    size_t all = 0;
    for (const GradientSegment& segment : bucket.segments) all += segment.values.size();
    most_out = std::max(most_out, all);
    most_in = std::max(most_in, all);
    if (!owns_shard()) continue;
    most_in = std::max(most_in,
                       static_cast<size_t>(ShardValues(bucket, local_->rank()) * local_->size()));
    GradientBucket& shard = mine.emplace_back();
    for (const PlanPiece& piece : bucket.shards.Pieces(local_->rank(), 0)) {
      const GradientSegment& whole = bucket.segments[static_cast<size_t>(piece.segment)];
      shard.push_back({whole.name,
                       ValuesOf(bucket.segments, piece),
                       whole.first_element + piece.begin,
                       whole.codec,
                       {}});
    }
  }
  if (local_->size() > 1) {
    outbox_.resize(most_out);
    inbox_.resize(most_in);
  }
  if (!owns_shard()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(compressed_,
                      CompressedAllReduce::Create(across_.get(), std::move(mine), options));
  return absl::OkStatus();
}

int64_t HierarchicalAllReduce::ShardValues(const Bucket& bucket, int shard) const {
  int64_t values = 0;
  if (shard >= shards_) return 0;
  for (const PlanPiece& piece : bucket.shards.Pieces(shard, 0)) values += piece.count;
  return values;
}

void HierarchicalAllReduce::BeginStep(const CompressorStep& step) {
  limit_ = step.limit;
  if (owns_shard()) compressed_->BeginStep(step);
}

void HierarchicalAllReduce::EndStep(bool commit) {
  if (owns_shard()) compressed_->EndStep(commit);
}

absl::Status HierarchicalAllReduce::ReduceWithinHost(Bucket& bucket) {
  const int ranks = local_->size(), me = local_->rank();
  std::vector<absl::Span<const std::byte>> send(static_cast<size_t>(ranks));
  std::vector<absl::Span<std::byte>> receive(static_cast<size_t>(ranks));
  const size_t mine = static_cast<size_t>(ShardValues(bucket, me));
  size_t at = 0;
  for (int r = 0; r < ranks; ++r) {
    const size_t begin = at;
    if (r < shards_) {
      for (const PlanPiece& piece : bucket.shards.Pieces(r, 0)) {
        const absl::Span<float> values = ValuesOf(bucket.segments, piece);
        std::copy(values.begin(), values.end(), outbox_.begin() + static_cast<std::ptrdiff_t>(at));
        at += values.size();
      }
    }
    send[static_cast<size_t>(r)] = Bytes(absl::MakeSpan(outbox_).subspan(begin, at - begin));
    receive[static_cast<size_t>(r)] =
        Bytes(absl::MakeSpan(inbox_).subspan(static_cast<size_t>(r) * mine, mine));
  }
  DS_RETURN_IF_ERROR(local_->Exchange(send, receive));
  if (mine == 0) return absl::OkStatus();
  size_t done = 0;
  for (const PlanPiece& piece : bucket.shards.Pieces(me, 0)) {
    const absl::Span<float> values = ValuesOf(bucket.segments, piece);
    std::copy_n(inbox_.begin() + static_cast<std::ptrdiff_t>(done), values.size(), values.begin());
    for (int r = 1; r < ranks; ++r) {
      const float* from = inbox_.data() + static_cast<size_t>(r) * mine + done;
      ReduceInto(reinterpret_cast<std::byte*>(values.data()),
                 reinterpret_cast<const std::byte*>(from), static_cast<int64_t>(values.size()),
                 DType::kFloat32, ReduceOp::kSum);
    }
    done += values.size();
  }
  return absl::OkStatus();
}

absl::Status HierarchicalAllReduce::GatherWithinHost(Bucket& bucket) {
  const int ranks = local_->size(), me = local_->rank();
  std::vector<absl::Span<const std::byte>> send(static_cast<size_t>(ranks));
  std::vector<absl::Span<std::byte>> receive(static_cast<size_t>(ranks));
  size_t packed = 0;
  if (me < shards_) {
    for (const PlanPiece& piece : bucket.shards.Pieces(me, 0)) {
      const absl::Span<float> values = ValuesOf(bucket.segments, piece);
      std::copy(values.begin(), values.end(),
                outbox_.begin() + static_cast<std::ptrdiff_t>(packed));
      packed += values.size();
    }
  }
  size_t at = 0;
  for (int r = 0; r < ranks; ++r) {
    if (r == me) continue;
    const size_t values = static_cast<size_t>(ShardValues(bucket, r));
    send[static_cast<size_t>(r)] = Bytes(absl::MakeSpan(outbox_).subspan(0, packed));
    receive[static_cast<size_t>(r)] = Bytes(absl::MakeSpan(inbox_).subspan(at, values));
    at += values;
  }
  DS_RETURN_IF_ERROR(local_->Exchange(send, receive));
  at = 0;
  for (int r = 0; r < shards_; ++r) {
    if (r == me) continue;
    for (const PlanPiece& piece : bucket.shards.Pieces(r, 0)) {
      const absl::Span<float> values = ValuesOf(bucket.segments, piece);
      std::copy_n(inbox_.begin() + static_cast<std::ptrdiff_t>(at), values.size(), values.begin());
      at += values.size();
    }
  }
  return absl::OkStatus();
}

absl::Status HierarchicalAllReduce::Exchange(int index) {
  Bucket& bucket = buckets_[static_cast<size_t>(index)];
  if (local_->size() > 1) DS_RETURN_IF_ERROR(ReduceWithinHost(bucket));
  if (owns_shard()) DS_RETURN_IF_ERROR(compressed_->Exchange(index));
  if (local_->size() > 1) DS_RETURN_IF_ERROR(GatherWithinHost(bucket));
  return absl::OkStatus();
}

int64_t HierarchicalAllReduce::LocalWireBytes(int index) const {
  const Bucket& bucket = buckets_[static_cast<size_t>(index)];
  const int me = local_->rank(), ranks = local_->size();
  int64_t others = 0;
  for (int shard = 0; shard < shards_; ++shard) {
    if (shard != me) others += ShardValues(bucket, shard);
  }
  return (others + (ranks - 1) * ShardValues(bucket, me)) * static_cast<int64_t>(sizeof(float));
}

int64_t HierarchicalAllReduce::AcrossWireBytes(int bucket) const {
  return owns_shard() ? compressed_->PredictedWireBytes(bucket) : 0;
}

CompressorState HierarchicalAllReduce::ExportState() const {
  return owns_shard() ? compressed_->ExportState() : CompressorState();
}

absl::Status HierarchicalAllReduce::ImportState(const CompressorState& state) {
  return owns_shard() ? compressed_->ImportState(state) : absl::OkStatus();
}

absl::Status HierarchicalAllReduce::SetCodecs(
    const std::map<std::string, std::shared_ptr<const Codec>>& codecs) {
  return owns_shard() ? compressed_->SetCodecs(codecs) : absl::OkStatus();
}

}  // namespace ds
