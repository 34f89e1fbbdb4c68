#include "comm/compress/state_gather.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// On the wire: the keys, each ended by a zero byte; the number of floats of each; the floats, in
// the order of the keys. The receiver knows the length of each part.
struct Lengths {
  int64_t key_bytes = 0;
  int64_t keys = 0;
  int64_t floats = 0;
  size_t bytes() const {
    return static_cast<size_t>(key_bytes) + static_cast<size_t>(keys) * sizeof(int64_t) +
           static_cast<size_t>(floats) * sizeof(float);
  }
};

Lengths LengthsOf(const CompressorState& state) {
  Lengths lengths;
  for (const auto& [key, values] : state) {
    lengths.key_bytes += static_cast<int64_t>(key.size()) + 1;
    lengths.keys += 1;
    lengths.floats += static_cast<int64_t>(values.size());
  }
  return lengths;
}

std::byte* Append(const void* from, size_t bytes, std::byte* to) {
  if (bytes != 0) std::memcpy(to, from, bytes);
  return to + bytes;
}

std::vector<std::byte> Pack(const CompressorState& state) {
  std::vector<std::byte> bytes(LengthsOf(state).bytes());
  std::byte* at = bytes.data();
  for (const auto& [key, values] : state) at = Append(key.c_str(), key.size() + 1, at);
  for (const auto& [key, values] : state) {
    const int64_t count = static_cast<int64_t>(values.size());
    at = Append(&count, sizeof(count), at);
  }
  for (const auto& [key, values] : state)
    at = Append(values.data(), values.size() * sizeof(float), at);
  return bytes;
}

absl::StatusOr<CompressorState> Unpack(const std::vector<std::byte>& bytes,
                                       const Lengths& lengths) {
  const char* key = reinterpret_cast<const char*>(bytes.data());
  const char* const keys_end = key + lengths.key_bytes;
  const std::byte* count_at = bytes.data() + lengths.key_bytes;
  const std::byte* values_at = count_at + lengths.keys * static_cast<int64_t>(sizeof(int64_t));
  int64_t left = lengths.floats;
  CompressorState state;
  for (int64_t k = 0; k < lengths.keys; ++k) {
    const char* const end = std::find(key, keys_end, '\0');
    int64_t count = 0;
    std::memcpy(&count, count_at + k * static_cast<int64_t>(sizeof(count)), sizeof(count));
    if (end == keys_end || count < 0 || count > left)
      return absl::DataLossError("a gathered state contradicts its own lengths");
    std::vector<float>& values = state[std::string(key, end)];
    values.resize(static_cast<size_t>(count));
    if (count != 0) std::memcpy(values.data(), values_at, values.size() * sizeof(float));
    values_at += values.size() * sizeof(float);
    left -= count;
    key = end + 1;
  }
  return state;
}

}  // namespace

absl::StatusOr<std::vector<CompressorState>> GatherStates(Communicator& communicator,
                                                          const CompressorState& state, int root) {
  const size_t ranks = static_cast<size_t>(communicator.size());
  if (root < 0 || root >= communicator.size())
    return absl::InvalidArgumentError(absl::StrCat("gather to rank ", root));
  const Lengths mine = LengthsOf(state);
  std::vector<Lengths> lengths(ranks);
  DS_RETURN_IF_ERROR(communicator.AllGather(
      {reinterpret_cast<const std::byte*>(&mine), sizeof(mine)},
      {reinterpret_cast<std::byte*>(lengths.data()), ranks * sizeof(Lengths)}));
  const bool receives = communicator.rank() == root;
  const std::vector<std::byte> packed = Pack(state);
  std::vector<std::vector<std::byte>> arrived(ranks);
  std::vector<absl::Span<const std::byte>> send(ranks);
  std::vector<absl::Span<std::byte>> receive(ranks);
  send[static_cast<size_t>(root)] = packed;
  for (size_t r = 0; receives && r < ranks; ++r) {
    arrived[r].resize(lengths[r].bytes());
    receive[r] = absl::MakeSpan(arrived[r]);
  }
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  std::vector<CompressorState> states;
  for (size_t r = 0; receives && r < ranks; ++r) {
    DS_ASSIGN_OR_RETURN(CompressorState one, Unpack(arrived[r], lengths[r]));
    states.push_back(std::move(one));
  }
  return states;
}

}  // namespace ds
