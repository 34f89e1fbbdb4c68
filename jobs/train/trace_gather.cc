#include "jobs/train/trace_gather.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>

#include "base/status.h"

namespace ds {
namespace {

// How far this rank's clock is ahead of rank 0's.
absl::StatusOr<int64_t> ClockOffsetUs(Communicator& communicator) {
  DS_RETURN_IF_ERROR(communicator.Barrier());
  const int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  int64_t first = now;
  DS_RETURN_IF_ERROR(
      communicator.Broadcast({reinterpret_cast<std::byte*>(&first), sizeof(first)}, 0));
  // Steady clocks count from a host's start, so that those of two hosts are seconds apart at least.
  // Within one second it is one clock, and what is seen is how ranks leave a barrier.
  constexpr int64_t kOneClockUs = 1'000'000;
  return std::abs(now - first) < kOneClockUs ? 0 : now - first;
}

// Rank 0 gets the texts of all ranks.
absl::StatusOr<std::vector<std::string>> GatherTexts(const std::string& mine,
                                                     Communicator& communicator) {
  const size_t ranks = static_cast<size_t>(communicator.size());
  const bool root = communicator.rank() == 0;
  int64_t length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(ranks);
  DS_RETURN_IF_ERROR(communicator.AllGather(
      {reinterpret_cast<const std::byte*>(&length), sizeof(length)},
      {reinterpret_cast<std::byte*>(lengths.data()), ranks * sizeof(length)}));
  std::vector<std::string> texts(root ? ranks : 0);
  std::vector<absl::Span<const std::byte>> send(ranks);
  std::vector<absl::Span<std::byte>> receive(ranks);
  if (!root) send[0] = {reinterpret_cast<const std::byte*>(mine.data()), mine.size()};
  for (size_t r = 1; r < texts.size(); ++r) {
    texts[r].resize(static_cast<size_t>(lengths[r]));
    receive[r] = {reinterpret_cast<std::byte*>(texts[r].data()), texts[r].size()};
  }
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  if (root) texts[0] = mine;
  return texts;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> GatherTraces(const std::vector<TraceSpan>& mine,
                                                      Communicator& communicator) {
  const bool traced = communicator.rank() < kTracedRanks;
  DS_ASSIGN_OR_RETURN(const int64_t offset, ClockOffsetUs(communicator));
  int64_t origin = std::numeric_limits<int64_t>::max() /
                   2;  // leaves room for an offset where no rank has a span
  for (const TraceSpan& span : mine)
    origin = traced ? std::min(origin, span.start_us - offset) : origin;
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(&origin, 1)), ReduceOp::kMin));
  DS_ASSIGN_OR_RETURN(
      std::vector<std::string> texts,
      GatherTexts(traced ? TraceOfRank(communicator.rank(), mine, origin + offset) : "",
                  communicator));
  texts.resize(std::min<size_t>(texts.size(), kTracedRanks));
  return texts;
}

}  // namespace ds
