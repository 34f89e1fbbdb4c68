#include "comm/compress/compressed_all_reduce.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "comm/compress/owned_residuals.h"
#include "comm/compress/task_group.h"

namespace ds {

absl::StatusOr<std::unique_ptr<CompressedAllReduce>> CompressedAllReduce::Create(
    Communicator* communicator, std::vector<GradientBucket> buckets,
    CompressedAllReduceOptions options) {
  auto made = std::unique_ptr<CompressedAllReduce>(new CompressedAllReduce(communicator, options));
  DS_RETURN_IF_ERROR(made->Plan(std::move(buckets)));
  return made;
}

absl::Status CompressedAllReduce::Plan(std::vector<GradientBucket> buckets) {
  const int me = communicator_->rank(), ranks = communicator_->size();
  buckets_.clear();
  feedback_ = ErrorFeedback();
  size_t inbox = 0;
  for (GradientBucket& segments : buckets) {
    Bucket& bucket = buckets_.emplace_back();
    DS_ASSIGN_OR_RETURN(bucket.plan, ExchangePlan::Make(segments, ranks, options_.chunk_bytes));
    bucket.segments = std::move(segments);
    AddResiduals(bucket);
    if (ranks == 1) continue;
    bucket.encoded.resize(static_cast<size_t>(bucket.plan.bytes()));
    inbox = std::max(inbox, static_cast<size_t>(bucket.plan.Owned(me).size() * (ranks - 1)));
  }
  inbox_.resize(inbox);
  // A rank alone loses nothing; it has residuals only if some are imported.
  if (ranks > 1) feedback_.Allocate();
  return absl::OkStatus();
}

void CompressedAllReduce::AddResiduals(Bucket& bucket) {
  bucket.workers.assign(bucket.segments.size(), -1);
  bucket.owners.assign(bucket.segments.size(), {});
  if (!options_.error_feedback) return;
  for (size_t s = 0; s < bucket.segments.size(); ++s) {
    const GradientSegment& segment = bucket.segments[s];
    if (segment.codec == nullptr || segment.count() == 0) continue;
    bucket.workers[s] =
        feedback_.Add(kWorkerResidual, segment.name, segment.first_element, segment.count());
    const ValueRange owned = OwnedValues(bucket.plan, communicator_->rank(), static_cast<int>(s));
    if (owned.count == 0) continue;
    bucket.owners[s] = {feedback_.Add(kOwnerResidual, segment.name,
                                      segment.first_element + owned.begin, owned.count),
                        owned.begin};
  }
}

void CompressedAllReduce::BeginStep(const CompressorStep& step) {
  step_ = {options_.seed, step.step, step.scale};
  limit_ = step.limit;
  for (Bucket& bucket : buckets_) bucket.encoded_ahead = bucket.exchanged = false;
}

void CompressedAllReduce::EndStep(bool commit) {
  if (!commit) return;
  for (const Bucket& bucket : buckets_)
    DS_CHECK(bucket.exchanged) << "a step is committed whose buckets were not all exchanged";
  feedback_.Commit();
}

int64_t CompressedAllReduce::PredictedWireBytes(int bucket) const {
  return buckets_[static_cast<size_t>(bucket)].plan.WireBytes(communicator_->rank());
}

CompressorState CompressedAllReduce::ExportState() const {
  CompressorState state;
  feedback_.Export(state);
  return state;
}

absl::Status CompressedAllReduce::ImportState(const CompressorState& state) {
  return feedback_.Import(state);
}

absl::Status CompressedAllReduce::SetCodecs(
    const std::map<std::string, std::shared_ptr<const Codec>>& codecs) {
  std::vector<GradientBucket> changed;
  std::vector<ExchangePlan> before, after;
  for (const Bucket& bucket : buckets_) {
    GradientBucket& segments = changed.emplace_back(bucket.segments);
    for (GradientSegment& segment : segments) {
      const auto found = codecs.find(segment.name);
      if (found == codecs.end()) continue;
      if ((found->second == nullptr) != (segment.codec == nullptr)) {
        return absl::InvalidArgumentError(
            absl::StrCat(segment.name, ": a tensor cannot go from or to fp32 during a run"));
      }
      segment.codec = found->second;
    }
    before.push_back(bucket.plan);
    DS_ASSIGN_OR_RETURN(ExchangePlan plan,
                        ExchangePlan::Make(segments, communicator_->size(), options_.chunk_bytes));
    after.push_back(std::move(plan));
  }
  CompressorState state = ExportState();
  if (options_.error_feedback)
    DS_RETURN_IF_ERROR(MoveOwnerResiduals(*communicator_, changed, before, after, state));
  DS_RETURN_IF_ERROR(Plan(std::move(changed)));
  return ImportState(state);
}

namespace {

ResidualPart Part(ErrorFeedback& feedback, int range, int64_t begin, int64_t count) {
  if (range < 0 || feedback.pending(range).empty()) return {};
  const size_t from = static_cast<size_t>(begin), size = static_cast<size_t>(count);
  return {feedback.current(range).subspan(from, size), feedback.pending(range).subspan(from, size)};
}

}  // namespace

ResidualPart CompressedAllReduce::WorkerPart(const Bucket& bucket, const PlanPiece& piece) {
  return Part(feedback_, bucket.workers[static_cast<size_t>(piece.segment)], piece.begin,
              piece.count);
}

ResidualPart CompressedAllReduce::OwnerPart(const Bucket& bucket, const PlanPiece& piece) {
  const OwnerResidual& owner = bucket.owners[static_cast<size_t>(piece.segment)];
  return Part(feedback_, owner.range, piece.begin - owner.begin, piece.count);
}

absl::Span<std::byte> CompressedAllReduce::EncodedOf(Bucket& bucket, ByteRange range) {
  return absl::MakeSpan(bucket.encoded)
      .subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size()));
}

std::byte* CompressedAllReduce::Inbox(const Bucket& bucket, int from, int64_t offset) {
  const ByteRange owned = bucket.plan.Owned(communicator_->rank());
  const int slot = from < communicator_->rank() ? from : from - 1;
  return inbox_.data() + slot * owned.size() + (offset - owned.begin);
}

absl::Status CompressedAllReduce::EncodeChunk(Bucket& bucket, int chunk) {
  for (int owner = 0; owner < communicator_->size(); ++owner) {
    for (const PlanPiece& piece : bucket.plan.Pieces(owner, chunk)) {
      EncodeContribution(bucket.segments[static_cast<size_t>(piece.segment)], piece, step_,
                         communicator_->rank(), WorkerPart(bucket, piece),
                         EncodedOf(bucket, {piece.offset, piece.offset + piece.bytes}));
    }
  }
  return absl::OkStatus();
}

absl::Status CompressedAllReduce::Scatter(Bucket& bucket, int chunk) {
  const int ranks = communicator_->size(), me = communicator_->rank();
  std::vector<absl::Span<const std::byte>> send(static_cast<size_t>(ranks));
  std::vector<absl::Span<std::byte>> receive(static_cast<size_t>(ranks));
  const ByteRange mine = bucket.plan.Chunk(me, chunk);
  for (int r = 0; r < ranks; ++r) {
    if (r == me) continue;
    send[static_cast<size_t>(r)] = EncodedOf(bucket, bucket.plan.Chunk(r, chunk));
    receive[static_cast<size_t>(r)] = {Inbox(bucket, r, mine.begin),
                                       static_cast<size_t>(mine.size())};
  }
  return communicator_->Exchange(send, receive);
}

absl::Status CompressedAllReduce::ReduceChunk(Bucket& bucket, int chunk) {
  const int ranks = communicator_->size(), me = communicator_->rank();
  for (const PlanPiece& piece : bucket.plan.Pieces(me, chunk)) {
    const absl::Span<std::byte> mine =
        EncodedOf(bucket, {piece.offset, piece.offset + piece.bytes});
    const auto contribution = [&](int r) -> absl::Span<const std::byte> {
      if (r == me) return mine;
      return {Inbox(bucket, r, piece.offset), static_cast<size_t>(piece.bytes)};
    };
    DS_RETURN_IF_ERROR(ReduceContributions(bucket.segments[static_cast<size_t>(piece.segment)],
                                           piece, step_, ranks, contribution,
                                           OwnerPart(bucket, piece), mine));
  }
  return absl::OkStatus();
}

absl::Status CompressedAllReduce::Gather(Bucket& bucket, int chunk) {
  const int ranks = communicator_->size(), me = communicator_->rank();
  std::vector<absl::Span<const std::byte>> send(static_cast<size_t>(ranks));
  std::vector<absl::Span<std::byte>> receive(static_cast<size_t>(ranks));
  for (int r = 0; r < ranks; ++r) {
    if (r == me) continue;
    send[static_cast<size_t>(r)] = EncodedOf(bucket, bucket.plan.Chunk(me, chunk));
    receive[static_cast<size_t>(r)] = EncodedOf(bucket, bucket.plan.Chunk(r, chunk));
  }
  return communicator_->Exchange(send, receive);
}

absl::Status CompressedAllReduce::DecodeChunk(Bucket& bucket, int chunk) {
  for (int owner = 0; owner < communicator_->size(); ++owner) {
    if (owner == communicator_->rank()) continue;
    for (const PlanPiece& piece : bucket.plan.Pieces(owner, chunk)) {
      DS_RETURN_IF_ERROR(DecodeSum(bucket.segments[static_cast<size_t>(piece.segment)], piece,
                                   step_,
                                   EncodedOf(bucket, {piece.offset, piece.offset + piece.bytes})));
    }
  }
  return absl::OkStatus();
}

void CompressedAllReduce::PassThrough(Bucket& bucket) {
  for (size_t s = 0; s < bucket.segments.size(); ++s) {
    const PlanPiece whole = {static_cast<int>(s), 0, bucket.segments[s].count(), 0, 0};
    PayResiduals(bucket.segments[s].values, step_.scale, WorkerPart(bucket, whole),
                 OwnerPart(bucket, whole));
  }
}

void CompressedAllReduce::Encode(int index) {
  Bucket& bucket = buckets_[static_cast<size_t>(index)];
  DS_CHECK(!bucket.encoded_ahead && !bucket.exchanged)
      << "bucket " << index << " is encoded twice in one step";
  if (communicator_->size() == 1) return;
  for (int chunk = 0; chunk < bucket.plan.chunks(); ++chunk) (void)EncodeChunk(bucket, chunk);
  bucket.encoded_ahead = true;
}

absl::Status CompressedAllReduce::Exchange(int index) {
  Bucket& bucket = buckets_[static_cast<size_t>(index)];
  DS_CHECK(!bucket.exchanged) << "bucket " << index << " is exchanged twice in one step";
  if (communicator_->size() == 1) {
    PassThrough(bucket);
  } else {
    DS_RETURN_IF_ERROR(ExchangeChunks(bucket));
  }
  bucket.exchanged = true;
  return absl::OkStatus();
}

// While a chunk travels to its owners, the next is encoded and the one before it added up.
absl::Status CompressedAllReduce::ExchangeChunks(Bucket& bucket) {
  const int chunks = bucket.plan.chunks();
  TaskGroup tasks(options_.pool);  // waits for them all, whichever way this ends
  std::vector<int> encoded(static_cast<size_t>(chunks)), reduced = encoded;
  const auto encode = [&](int chunk) {
    if (bucket.encoded_ahead || chunk >= chunks) return;
    encoded[static_cast<size_t>(chunk)] =
        tasks.Start([this, &bucket, chunk] { return EncodeChunk(bucket, chunk); });
  };
  encode(0);
  for (int chunk = 0; chunk <= chunks; ++chunk) {
    if (chunk < chunks) {
      encode(chunk + 1);
      if (!bucket.encoded_ahead)
        DS_RETURN_IF_ERROR(tasks.Wait(encoded[static_cast<size_t>(chunk)]));
      DS_RETURN_IF_ERROR(Scatter(bucket, chunk));
      reduced[static_cast<size_t>(chunk)] =
          tasks.Start([this, &bucket, chunk] { return ReduceChunk(bucket, chunk); });
    }
    if (chunk > 0) {
      const int previous = chunk - 1;
      DS_RETURN_IF_ERROR(tasks.Wait(reduced[static_cast<size_t>(previous)]));
      DS_RETURN_IF_ERROR(Gather(bucket, previous));
      tasks.Start([this, &bucket, previous] { return DecodeChunk(bucket, previous); });
    }
  }
  return tasks.WaitAll();
}

}  // namespace ds
