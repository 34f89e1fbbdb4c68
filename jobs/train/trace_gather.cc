#include "jobs/train/trace_gather.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/clock.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {
namespace {

// How far this rank's clock is ahead of rank 0's.
absl::StatusOr<int64_t> ClockOffsetUs(Communicator& communicator) {
  DS_RETURN_IF_ERROR(communicator.Barrier());
  const int64_t now = SteadyMicros();
  int64_t first = now;
  DS_RETURN_IF_ERROR(
      communicator.Broadcast({reinterpret_cast<std::byte*>(&first), sizeof(first)}, 0));
  // Steady clocks count from a host's start, so that those of two hosts are seconds apart at least.
  // Within one second it is one clock, and what is seen is how ranks leave a barrier.
  constexpr int64_t kOneClockUs = 1'000'000;
  return std::abs(now - first) < kOneClockUs ? 0 : now - first;
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
      GatherBytes(traced ? TraceOfRank(communicator.rank(), mine, origin + offset) : "",
                  /*root=*/0, communicator));
  texts.resize(std::min<size_t>(texts.size(), kTracedRanks));
  return texts;
}

}  // namespace ds
