#include "comm/bytes.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

// What a rank that failed gives as the length of its bytes.
constexpr int64_t kFailed = -1;

absl::Status CheckRoot(int root, const Communicator& communicator) {
  if (root >= 0 && root < communicator.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rank ", root, " was to be the root among ", communicator.size(), " ranks"));
}

absl::Status CheckLength(int64_t length, int rank) {
  if (length >= 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("rank ", rank, " gave ", length,
                                          " as a number of bytes: the ranks are out of step"));
}

absl::Status BroadcastText(std::string& text, int root, Communicator& communicator) {
  int64_t length = static_cast<int64_t>(text.size());
  DS_RETURN_IF_ERROR(
      communicator.Broadcast({reinterpret_cast<std::byte*>(&length), sizeof(length)}, root));
  DS_RETURN_IF_ERROR(CheckLength(length, root));
  text.resize(static_cast<size_t>(length));
  return communicator.Broadcast(AsWritableBytes(text), root);
}

// After all have heard that `root` failed: what it says.
absl::Status BroadcastError(const absl::Status& mine, int root, Communicator& communicator) {
  std::string message(mine.message());
  DS_RETURN_IF_ERROR(BroadcastText(message, root, communicator));
  if (communicator.rank() == root) return mine;
  return absl::AbortedError(absl::StrCat("rank ", root, ": ", message));
}

absl::StatusOr<std::vector<std::string>> ReceiveFromAll(absl::string_view mine,
                                                        const std::vector<int64_t>& lengths,
                                                        bool here, bool everywhere, int root,
                                                        Communicator& communicator) {
  const size_t ranks = lengths.size();
  std::vector<std::string> texts(here ? ranks : 0);
  std::vector<absl::Span<const std::byte>> send(ranks);
  std::vector<absl::Span<std::byte>> receive(ranks);
  for (size_t r = 0; r < ranks; ++r) {
    if (everywhere || r == static_cast<size_t>(root)) send[r] = AsBytes(mine);
    if (!here) continue;
    DS_RETURN_IF_ERROR(CheckLength(lengths[r], static_cast<int>(r)));
    texts[r].resize(static_cast<size_t>(lengths[r]));
    receive[r] = AsWritableBytes(texts[r]);
  }
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  return texts;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> AllGatherBytes(absl::string_view mine,
                                                        Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths,
                      AllGatherValues(static_cast<int64_t>(mine.size()), communicator));
  return ReceiveFromAll(mine, lengths, /*here=*/true, /*everywhere=*/true, 0, communicator);
}

absl::StatusOr<std::vector<std::string>> GatherBytes(absl::string_view mine, int root,
                                                     Communicator& communicator) {
  DS_RETURN_IF_ERROR(CheckRoot(root, communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths,
                      AllGatherValues(static_cast<int64_t>(mine.size()), communicator));
  return ReceiveFromAll(mine, lengths, communicator.rank() == root, /*everywhere=*/false, root,
                        communicator);
}

absl::StatusOr<std::string> BroadcastBytes(absl::StatusOr<std::string> bytes, int root,
                                           Communicator& communicator) {
  DS_RETURN_IF_ERROR(CheckRoot(root, communicator));
  const bool sends = communicator.rank() == root;
  int64_t length = sends && bytes.ok() ? static_cast<int64_t>(bytes->size()) : kFailed;
  DS_RETURN_IF_ERROR(
      communicator.Broadcast({reinterpret_cast<std::byte*>(&length), sizeof(length)}, root));
  if (length == kFailed) return BroadcastError(bytes.status(), root, communicator);
  DS_RETURN_IF_ERROR(CheckLength(length, root));
  if (!sends) bytes = std::string(static_cast<size_t>(length), '\0');
  DS_RETURN_IF_ERROR(communicator.Broadcast(AsWritableBytes(*bytes), root));
  return bytes;
}

absl::StatusOr<std::string> ScatterBytes(
    const absl::StatusOr<std::vector<absl::string_view>>& parts, int root,
    Communicator& communicator) {
  DS_RETURN_IF_ERROR(CheckRoot(root, communicator));
  const size_t ranks = static_cast<size_t>(communicator.size()),
               me = static_cast<size_t>(communicator.rank());
  const bool sends = communicator.rank() == root;
  absl::Status status = parts.status();
  if (sends && status.ok() && parts->size() != ranks) {
    status = absl::InvalidArgumentError(
        absl::StrCat(parts->size(), " parts were to be scattered to ", ranks, " ranks"));
  }
  std::vector<int64_t> lengths(ranks, kFailed);
  for (size_t r = 0; sends && status.ok() && r < ranks; ++r)
    lengths[r] = static_cast<int64_t>((*parts)[r].size());
  DS_RETURN_IF_ERROR(communicator.Broadcast(
      {reinterpret_cast<std::byte*>(lengths.data()), ranks * sizeof(int64_t)}, root));
  if (lengths[me] == kFailed) return BroadcastError(status, root, communicator);
  DS_RETURN_IF_ERROR(CheckLength(lengths[me], root));
  std::string mine(static_cast<size_t>(lengths[me]), '\0');
  std::vector<absl::Span<const std::byte>> send(ranks);
  std::vector<absl::Span<std::byte>> receive(ranks);
  for (size_t r = 0; sends && r < ranks; ++r) send[r] = AsBytes((*parts)[r]);
  receive[static_cast<size_t>(root)] = AsWritableBytes(mine);
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  return mine;
}

absl::Status AgreeOnStatus(const absl::Status& mine, Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::vector<int32_t> codes,
                      AllGatherValues(static_cast<int32_t>(mine.raw_code()), communicator));
  const auto first =
      std::find_if(codes.begin(), codes.end(), [](int32_t code) { return code != 0; });
  if (first == codes.end()) return absl::OkStatus();
  const int rank = static_cast<int>(first - codes.begin());
  std::string message(mine.message());
  DS_RETURN_IF_ERROR(BroadcastText(message, rank, communicator));
  const std::string where = communicator.size() == 1 ? "" : absl::StrCat("rank ", rank, ": ");
  return absl::Status(static_cast<absl::StatusCode>(*first), absl::StrCat(where, message));
}

}  // namespace ds
