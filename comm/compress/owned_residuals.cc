#include "comm/compress/owned_residuals.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace ds {
namespace {

// Elements of a parameter that go from one rank to another.
struct Move {
  const std::string* name;
  int64_t first_element;
  int64_t count;
};

// All moves from rank `from` to rank `to`, in an order that both know.
std::vector<Move> Moves(const std::vector<GradientBucket>& buckets,
                        const std::vector<ExchangePlan>& before,
                        const std::vector<ExchangePlan>& after, int from, int to) {
  std::vector<Move> moves;
  for (size_t b = 0; b < buckets.size(); ++b) {
    for (size_t s = 0; s < buckets[b].size(); ++s) {
      const GradientSegment& segment = buckets[b][s];
      if (segment.codec == nullptr) continue;
      const ValueRange had = OwnedValues(before[b], from, static_cast<int>(s));
      const ValueRange will = OwnedValues(after[b], to, static_cast<int>(s));
      const int64_t begin = std::max(had.begin, will.begin);
      const int64_t end = std::min(had.begin + had.count, will.begin + will.count);
      if (end > begin) moves.push_back({&segment.name, segment.first_element + begin, end - begin});
    }
  }
  return moves;
}

size_t Total(const std::vector<Move>& moves) {
  int64_t total = 0;
  for (const Move& move : moves) total += move.count;
  return static_cast<size_t>(total);
}

absl::StatusOr<std::vector<float>> Pack(const std::vector<Move>& moves,
                                        const CompressorState& state) {
  std::vector<float> values(Total(moves));
  size_t at = 0;
  for (const Move& move : moves) {
    const size_t count = static_cast<size_t>(move.count);
    DS_RETURN_IF_ERROR(FillFromState(state, kOwnerResidual, *move.name, move.first_element,
                                     absl::MakeSpan(values).subspan(at, count))
                           .status());
    at += count;
  }
  return values;
}

}  // namespace

ValueRange OwnedValues(const ExchangePlan& plan, int owner, int segment) {
  ValueRange owned;
  for (int chunk = 0; chunk < plan.chunks(); ++chunk) {
    for (const PlanPiece& piece : plan.Pieces(owner, chunk)) {
      if (piece.segment != segment) continue;
      if (owned.count == 0) owned.begin = piece.begin;
      owned.count += piece.count;
    }
  }
  return owned;
}

absl::Status MoveOwnerResiduals(Communicator& communicator,
                                const std::vector<GradientBucket>& buckets,
                                const std::vector<ExchangePlan>& before,
                                const std::vector<ExchangePlan>& after, CompressorState& state) {
  const int ranks = communicator.size(), me = communicator.rank();
  std::vector<std::vector<float>> out(static_cast<size_t>(ranks)), in(static_cast<size_t>(ranks));
  std::vector<absl::Span<const std::byte>> send;
  std::vector<absl::Span<std::byte>> receive;
  for (int r = 0; r < ranks; ++r) {
    const size_t i = static_cast<size_t>(r);
    DS_ASSIGN_OR_RETURN(out[i], Pack(Moves(buckets, before, after, me, r), state));
    in[i].resize(Total(Moves(buckets, before, after, r, me)));
    send.push_back(
        {reinterpret_cast<const std::byte*>(out[i].data()), out[i].size() * sizeof(float)});
    receive.push_back({reinterpret_cast<std::byte*>(in[i].data()), in[i].size() * sizeof(float)});
  }
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  const std::string owners = StateKey(kOwnerResidual, "", 0).substr(0, kOwnerResidual.size() + 1);
  for (auto entry = state.lower_bound(owners);
       entry != state.end() && entry->first.rfind(owners, 0) == 0;) {
    entry = state.erase(entry);
  }
  for (int r = 0; r < ranks; ++r) {
    auto values = in[static_cast<size_t>(r)].cbegin();
    for (const Move& move : Moves(buckets, before, after, r, me)) {
      state[StateKey(kOwnerResidual, *move.name, move.first_element)].assign(values,
                                                                             values + move.count);
      values += move.count;
    }
  }
  return absl::OkStatus();
}

}  // namespace ds
