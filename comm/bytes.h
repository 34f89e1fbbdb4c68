// Bytes of any length over a communicator: the one way in which ranks hand each other texts, states
// and errors. All functions are collective; lengths travel with the bytes.
//
// A rank that could not make what it was to send takes part all the same and says so: it gets its
// own error back, the others Aborted with its rank and message, and the communicator stays whole.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "comm/communicator.h"

namespace ds {

inline absl::Span<const std::byte> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline absl::Span<std::byte> AsWritableBytes(std::string& text) {
  return {reinterpret_cast<std::byte*>(text.data()), text.size()};
}

// `mine` of every rank, in the order of ranks, on every rank.
template <typename T>
absl::StatusOr<std::vector<T>> AllGatherValues(const T& mine, Communicator& communicator) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(static_cast<size_t>(communicator.size()));
  DS_RETURN_IF_ERROR(
      communicator.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof(T)},
                             {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(T)}));
  return all;
}

// The bytes of all ranks, in the order of ranks, on every rank.
absl::StatusOr<std::vector<std::string>> AllGatherBytes(absl::string_view mine,
                                                        Communicator& communicator);

// The same on rank `root` alone; an empty list elsewhere. `root` needs memory for all of it.
// InvalidArgument for a root that is no rank, as below.
absl::StatusOr<std::vector<std::string>> GatherBytes(absl::string_view mine, int root,
                                                     Communicator& communicator);

// `bytes` of rank `root` on every rank; what the others give is not looked at.
absl::StatusOr<std::string> BroadcastBytes(absl::StatusOr<std::string> bytes, int root,
                                           Communicator& communicator);

// Rank r gets `parts[r]` of rank `root`, which may name the same bytes for several; what the others
// give is not looked at. InvalidArgument, everywhere as above, for another number of parts than
// ranks.
absl::StatusOr<std::string> ScatterBytes(
    const absl::StatusOr<std::vector<absl::string_view>>& parts, int root,
    Communicator& communicator);

// OK if `mine` is OK on every rank; else the error of the first rank that has one, on every rank,
// with its code and, among several ranks, "rank R: " in front of its message.
absl::Status AgreeOnStatus(const absl::Status& mine, Communicator& communicator);

}  // namespace ds
