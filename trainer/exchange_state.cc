#include "trainer/exchange_state.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/safetensors.h"
#include "base/status.h"
#include "comm/hosts.h"

namespace ds {
namespace {

constexpr absl::string_view kPrefix = "residuals-";

absl::StatusOr<TensorMap> ToTensors(const CompressorState& state) {
  TensorMap tensors;
  for (const auto& [key, values] : state) {
    DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(DType::kFloat32, {static_cast<int64_t>(values.size())}));
    if (!values.empty()) std::memcpy(tensor.mutable_data(), values.data(), values.size() * sizeof(float));
    tensors[key] = std::move(tensor);
  }
  return tensors;
}

absl::StatusOr<CompressorState> FromTensors(const std::map<std::string, Tensor>& tensors, absl::string_view file) {
  CompressorState state;
  for (const auto& [key, tensor] : tensors) {
    if (tensor.dtype() != DType::kFloat32) {
      return absl::DataLossError(absl::StrCat(file, ": '", key, "' is not of type float32"));
    }
    std::vector<float>& values = state[key];
    values.resize(static_cast<size_t>(tensor.num_elements()));
    if (!values.empty()) std::memcpy(values.data(), tensor.data(), values.size() * sizeof(float));
  }
  return state;
}

absl::Span<std::byte> Bytes(std::string& text) { return {reinterpret_cast<std::byte*>(text.data()), text.size()}; }

template <typename T>
absl::StatusOr<std::vector<T>> FromAllRanks(T mine, Communicator& communicator) {
  std::vector<T> all(static_cast<size_t>(communicator.size()));
  DS_RETURN_IF_ERROR(communicator.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof(mine)},
                                            {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(T)}));
  return all;
}

// Every contributor's state that a checkpoint holds.
absl::StatusOr<std::vector<CompressorState>> StoredStates(const Checkpoint& checkpoint) {
  std::map<int, CompressorState> by_number;
  for (const auto& [file, tensors] : checkpoint.tensors) {
    if (!HoldsResiduals(file)) continue;
    int number = 0;
    if (!absl::SimpleAtoi(absl::string_view(file).substr(kPrefix.size()), &number) || number < 0) {
      return absl::DataLossError(absl::StrCat("the checkpoint's file ", file, ".safetensors names no contributor"));
    }
    DS_ASSIGN_OR_RETURN(by_number[number], FromTensors(tensors, file));
  }
  std::vector<CompressorState> states;
  for (auto& [number, state] : by_number) {
    if (number != static_cast<int>(states.size())) {
      return absl::DataLossError(absl::StrCat("the checkpoint lacks ", kPrefix, states.size(), ".safetensors"));
    }
    states.push_back(std::move(state));
  }
  return states;
}

// One serialised state for each contributor; on rank 0 only. Empty if the checkpoint has none.
absl::StatusOr<std::vector<std::string>> Portions(const Checkpoint& checkpoint, int contributors) {
  std::vector<std::string> portions(static_cast<size_t>(contributors));
  DS_ASSIGN_OR_RETURN(std::vector<CompressorState> states, StoredStates(checkpoint));
  if (states.empty()) return portions;
  DS_ASSIGN_OR_RETURN(states, RedistributeResiduals(states, contributors));
  for (size_t c = 0; c < portions.size(); ++c) {
    DS_ASSIGN_OR_RETURN(const TensorMap tensors, ToTensors(states[c]));
    DS_ASSIGN_OR_RETURN(portions[c], SerializeSafetensors(tensors));
  }
  return portions;
}

// Rank 0 gets what every rank has serialised; the others get nothing.
absl::StatusOr<std::vector<std::string>> GatherTexts(std::string mine, Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, FromAllRanks(static_cast<int64_t>(mine.size()), communicator));
  const bool root = communicator.rank() == 0;
  std::vector<std::string> received(root ? sizes.size() : 0);
  std::vector<absl::Span<const std::byte>> send(sizes.size());
  std::vector<absl::Span<std::byte>> receive(sizes.size());
  for (size_t r = 1; r < received.size(); ++r) {
    received[r].resize(static_cast<size_t>(sizes[r]));
    receive[r] = Bytes(received[r]);
  }
  if (!root) send[0] = Bytes(mine);
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  if (root) received[0] = std::move(mine);
  return received;
}

absl::StatusOr<CompressorState> ParseState(std::string text, absl::string_view origin) {
  if (text.empty()) return CompressorState();
  auto owner = std::make_shared<std::string>(std::move(text));
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(*owner, origin, owner));
  return FromTensors(tensors, origin);
}

}  // namespace

bool HoldsResiduals(const std::string& file_stem) { return absl::StartsWith(file_stem, kPrefix); }

absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator) {
  if (!hierarchical) return communicator.rank();
  DS_ASSIGN_OR_RETURN(const int host, HostOfRank(communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<int> hosts, FromAllRanks(host, communicator));
  // A host is named by its lowest rank; contributors are numbered without gaps.
  const std::set<int> distinct(hosts.begin(), hosts.end());
  return static_cast<int>(std::distance(distinct.begin(), distinct.find(host)));
}

absl::Status GatherResiduals(const CompressorState& mine, int contributor, Communicator& communicator, Checkpoint* checkpoint) {
  std::string text;
  if (!mine.empty()) {
    DS_ASSIGN_OR_RETURN(const TensorMap tensors, ToTensors(mine));
    DS_ASSIGN_OR_RETURN(text, SerializeSafetensors(tensors));
  }
  DS_ASSIGN_OR_RETURN(const std::vector<int> contributors, FromAllRanks(contributor, communicator));
  DS_ASSIGN_OR_RETURN(std::vector<std::string> texts, GatherTexts(std::move(text), communicator));
  std::map<int, std::vector<CompressorState>> states;
  for (size_t r = 0; r < texts.size(); ++r) {
    if (texts[r].empty()) continue;
    DS_ASSIGN_OR_RETURN(CompressorState state, ParseState(std::move(texts[r]), absl::StrCat("residuals of rank ", r)));
    states[contributors[r]].push_back(std::move(state));
  }
  for (const auto& [number, parts] : states) {
    DS_ASSIGN_OR_RETURN(const CompressorState merged, MergeStates(parts));
    DS_ASSIGN_OR_RETURN(checkpoint->tensors[absl::StrCat(kPrefix, number)], ToTensors(merged));
  }
  return absl::OkStatus();
}

absl::StatusOr<CompressorState> ScatterResiduals(const Checkpoint& checkpoint, int contributor, Communicator& communicator) {
  const bool root = communicator.rank() == 0;
  DS_ASSIGN_OR_RETURN(const std::vector<int> contributors, FromAllRanks(contributor, communicator));
  const int count = *std::max_element(contributors.begin(), contributors.end()) + 1;
  absl::StatusOr<std::vector<std::string>> portions = std::vector<std::string>(static_cast<size_t>(count));
  if (root) portions = Portions(checkpoint, count);
  // All learn whether rank 0 could, and how much comes: -1 is rank 0's failure.
  std::vector<int64_t> sizes(static_cast<size_t>(count), -1);
  if (root && portions.ok()) {
    for (size_t c = 0; c < sizes.size(); ++c) sizes[c] = static_cast<int64_t>((*portions)[c].size());
  }
  DS_RETURN_IF_ERROR(communicator.Broadcast(
      {reinterpret_cast<std::byte*>(sizes.data()), sizes.size() * sizeof(int64_t)}, 0));
  DS_RETURN_IF_ERROR(portions.status());
  if (sizes[0] < 0) return absl::AbortedError("rank 0 could not read the checkpoint's residuals; see its message");
  std::vector<absl::Span<const std::byte>> send(contributors.size());
  std::vector<absl::Span<std::byte>> receive(contributors.size());
  const size_t my_number = static_cast<size_t>(contributor);
  std::string mine = root ? (*portions)[my_number] : std::string(static_cast<size_t>(sizes[my_number]), '\0');
  for (size_t r = 1; root && r < contributors.size(); ++r) send[r] = Bytes((*portions)[static_cast<size_t>(contributors[r])]);
  if (!root) receive[0] = Bytes(mine);
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  return ParseState(std::move(mine), "residuals");
}

}  // namespace ds
