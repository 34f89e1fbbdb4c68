#include "comm/exchange_collectives.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/reduce.h"

namespace ds {
namespace {

using SendSpans = std::vector<absl::Span<const std::byte>>;
using ReceiveSpans = std::vector<absl::Span<std::byte>>;

// [begin, end) of part `part` when `count` things are divided among `parts`, the first ones one
// larger.
struct Range {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

Range Part(int64_t count, int parts, int part) {
  const int64_t base = count / parts, extra = count % parts;
  const int64_t begin = part * base + std::min<int64_t>(part, extra);
  return {begin, begin + base + (part < extra ? 1 : 0)};
}

}  // namespace

int64_t AllReduceWireBytes(int64_t count, int64_t element_bytes, int ranks, int rank) {
  const int64_t mine = Part(count, ranks, rank).size();
  return (count - mine + (ranks - 1) * mine) * element_bytes;
}

absl::Status ExchangeCollectives::CopyLocal(absl::Span<std::byte> to,
                                            absl::Span<const std::byte> from, Deadline) {
  if (!to.empty() && to.data() != from.data()) std::memcpy(to.data(), from.data(), to.size());
  return absl::OkStatus();
}

absl::Status ExchangeCollectives::Exchange(absl::Span<const absl::Span<const std::byte>> send,
                                           absl::Span<const absl::Span<std::byte>> receive) {
  return ExchangeUntil(Deadline::In(timeout_), send, receive);
}

// A first shot that ended well although the time is up stood still with its process (Patience).
Deadline ExchangeCollectives::ForSecondShot(Deadline deadline) const {
  return deadline.IsPast() ? Deadline::In(timeout_) : deadline;
}

absl::Status ExchangeCollectives::ExchangeUntil(Deadline deadline,
                                                absl::Span<const absl::Span<const std::byte>> send,
                                                absl::Span<const absl::Span<std::byte>> receive) {
  DS_RETURN_IF_ERROR(broken_);
  const size_t ranks = static_cast<size_t>(size()), me = static_cast<size_t>(rank());
  if (send.size() != ranks || receive.size() != ranks) {
    return absl::InvalidArgumentError(absl::StrCat("exchange among ", ranks, " ranks got ",
                                                   send.size(), " buffers to send and ",
                                                   receive.size(), " to receive"));
  }
  if (send[me].size() != receive[me].size()) {
    return absl::InvalidArgumentError("exchange: a rank's own two buffers differ in size");
  }
  broken_ = CopyLocal(receive[me], send[me], deadline);
  DS_RETURN_IF_ERROR(broken_);
  SendSpans others(send.begin(), send.end());
  ReceiveSpans from(receive.begin(), receive.end());
  others[me] = {};
  from[me] = {};
  broken_ = Transfer(others, from, deadline);
  DS_RETURN_IF_ERROR(broken_);
  for (size_t r = 0; r < ranks; ++r) {
    stats_.bytes_sent += static_cast<int64_t>(others[r].size());
    stats_.bytes_received += static_cast<int64_t>(from[r].size());
  }
  return absl::OkStatus();
}

absl::Status ExchangeCollectives::AllReduce(MutableBuffer buffer, ReduceOp op) {
  DS_RETURN_IF_ERROR(CheckReducible(buffer.dtype));
  const int ranks = size(), me = rank();
  if (ranks == 1 || buffer.count == 0) return broken_;
  Deadline deadline = Deadline::In(timeout_);
  const int64_t element = BitWidth(buffer.dtype) / 8;
  const auto part = [&](int r) {
    const Range range = Part(buffer.count, ranks, r);
    return absl::Span<std::byte>(buffer.data + range.begin * element,
                                 static_cast<size_t>(range.size() * element));
  };
  const absl::Span<std::byte> mine = part(me);
  scratch_.resize(mine.size() * static_cast<size_t>(ranks));
  SendSpans send(static_cast<size_t>(ranks));
  ReceiveSpans receive(static_cast<size_t>(ranks));
  for (int r = 0; r < ranks; ++r) {
    send[static_cast<size_t>(r)] = part(r);
    receive[static_cast<size_t>(r)] =
        absl::MakeSpan(scratch_).subspan(static_cast<size_t>(r) * mine.size(), mine.size());
  }
  DS_RETURN_IF_ERROR(ExchangeUntil(deadline, send, receive));
  deadline = ForSecondShot(deadline);
  const int64_t count = static_cast<int64_t>(mine.size()) / element;
  for (int r = 1; r < ranks; ++r) {
    ReduceInto(scratch_.data(), receive[static_cast<size_t>(r)].data(), count, buffer.dtype, op);
  }
  broken_ = CopyLocal(mine, absl::MakeSpan(scratch_).first(mine.size()), deadline);
  DS_RETURN_IF_ERROR(broken_);
  for (int r = 0; r < ranks; ++r) {
    send[static_cast<size_t>(r)] = mine;
    receive[static_cast<size_t>(r)] = part(r);
  }
  return ExchangeUntil(deadline, send, receive);
}

absl::Status ExchangeCollectives::AllGather(absl::Span<const std::byte> input,
                                            absl::Span<std::byte> output) {
  const size_t ranks = static_cast<size_t>(size());
  if (output.size() != input.size() * ranks) {
    return absl::InvalidArgumentError(absl::StrCat("all-gather of ", input.size(), " bytes from ",
                                                   ranks, " ranks needs ", input.size() * ranks,
                                                   " bytes, got ", output.size()));
  }
  SendSpans send(ranks, input);
  ReceiveSpans receive(ranks);
  for (size_t r = 0; r < ranks; ++r) receive[r] = output.subspan(r * input.size(), input.size());
  return Exchange(send, receive);
}

absl::Status ExchangeCollectives::Broadcast(absl::Span<std::byte> bytes, int root) {
  const int ranks = size(), me = rank();
  if (root < 0 || root >= ranks) {
    return absl::InvalidArgumentError(absl::StrCat("broadcast from rank ", root, " of ", ranks));
  }
  if (ranks == 1 || bytes.empty()) return broken_;
  Deadline deadline = Deadline::In(timeout_);
  // The root scatters the parts and all ranks gather them: no rank sends more than about twice the
  // buffer.
  const auto part = [&](int r) {
    const Range range = Part(static_cast<int64_t>(bytes.size()), ranks, r);
    return bytes.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size()));
  };
  SendSpans send(static_cast<size_t>(ranks));
  ReceiveSpans receive(static_cast<size_t>(ranks));
  const absl::Span<std::byte> mine = part(me);
  if (me == root) {
    for (int r = 0; r < ranks; ++r) {
      if (r != root) send[static_cast<size_t>(r)] = part(r);
    }
  } else {
    receive[static_cast<size_t>(root)] = mine;
  }
  DS_RETURN_IF_ERROR(ExchangeUntil(deadline, send, receive));
  deadline = ForSecondShot(deadline);
  for (int r = 0; r < ranks; ++r) {
    const bool to_root = r == root, from_root = me == root;
    send[static_cast<size_t>(r)] = to_root || r == me ? absl::Span<const std::byte>() : mine;
    receive[static_cast<size_t>(r)] = from_root || r == me ? absl::Span<std::byte>() : part(r);
  }
  return ExchangeUntil(deadline, send, receive);
}

absl::Status ExchangeCollectives::Barrier() {
  int32_t arrived = 1;
  return AllReduce(MutableBuffer::Of(absl::MakeSpan(&arrived, 1)), ReduceOp::kMax);
}

absl::StatusOr<std::unique_ptr<Communicator>> ExchangeCollectives::Split(int color, int key) {
  if (color < 0 && color != kNoGroup)
    return absl::InvalidArgumentError(absl::StrCat("split with color ", color));
  struct Wish {
    int32_t color;
    int32_t key;
  };
  DS_ASSIGN_OR_RETURN(const std::vector<Wish> wishes, AllGatherValues(Wish{color, key}, *this));
  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (color != kNoGroup && wishes[static_cast<size_t>(r)].color == color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return wishes[static_cast<size_t>(a)].key < wishes[static_cast<size_t>(b)].key;
  });
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> group, MakeGroup(color, members));
  if (group != nullptr) group->set_timeout(timeout_);
  return group;
}

}  // namespace ds
