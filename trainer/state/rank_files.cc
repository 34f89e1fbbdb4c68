#include "trainer/state/rank_files.h"

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// Where rank 0 could not tell a size.
constexpr int64_t kFailed = -1;

absl::Span<std::byte> Bytes(std::string& text) {
  return {reinterpret_cast<std::byte*>(text.data()), text.size()};
}

template <typename T>
absl::StatusOr<std::vector<T>> AllOf(T mine, Communicator& communicator) {
  std::vector<T> all(static_cast<size_t>(communicator.size()));
  DS_RETURN_IF_ERROR(
      communicator.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof(mine)},
                             {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(T)}));
  return all;
}

// No tensors are no text.
absl::StatusOr<std::string> ToText(const TensorMap& tensors) {
  if (tensors.empty()) return std::string();
  return SerializeSafetensors(tensors);
}

absl::StatusOr<TensorMap> FromText(std::string text, absl::string_view origin) {
  if (text.empty()) return TensorMap();
  auto owner = std::make_shared<std::string>(std::move(text));
  return ParseSafetensors(*owner, origin, owner);
}

absl::StatusOr<std::vector<std::string>> ToTexts(const absl::StatusOr<RankParts>& parts) {
  DS_RETURN_IF_ERROR(parts.status());
  std::vector<std::string> texts;
  for (const TensorMap& part : parts->parts) {
    DS_ASSIGN_OR_RETURN(texts.emplace_back(), ToText(part));
  }
  return texts;
}

}  // namespace

absl::StatusOr<std::vector<int>> FromAllRanks(int mine, Communicator& communicator) {
  return AllOf(mine, communicator);
}

absl::StatusOr<std::vector<TensorMap>> GatherTensors(const TensorMap& mine, absl::string_view what,
                                                     Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(std::string text, ToText(mine));
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes,
                      AllOf(static_cast<int64_t>(text.size()), communicator));
  const bool root = communicator.rank() == 0;
  std::vector<std::string> texts(root ? sizes.size() : 0);
  std::vector<absl::Span<const std::byte>> send(sizes.size());
  std::vector<absl::Span<std::byte>> receive(sizes.size());
  for (size_t r = 1; r < texts.size(); ++r) {
    texts[r].resize(static_cast<size_t>(sizes[r]));
    receive[r] = Bytes(texts[r]);
  }
  if (!root) send[0] = Bytes(text);
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  if (root) texts[0] = std::move(text);
  std::vector<TensorMap> all;
  for (size_t r = 0; r < texts.size(); ++r) {
    DS_ASSIGN_OR_RETURN(all.emplace_back(),
                        FromText(std::move(texts[r]), absl::StrCat(what, " of rank ", r)));
  }
  return all;
}

absl::StatusOr<TensorMap> ScatterTensors(const absl::StatusOr<RankParts>& parts,
                                         absl::string_view what, Communicator& communicator) {
  const bool root = communicator.rank() == 0;
  const size_t ranks = static_cast<size_t>(communicator.size()),
               me = static_cast<size_t>(communicator.rank());
  absl::StatusOr<std::vector<std::string>> texts = std::vector<std::string>();
  if (root) texts = ToTexts(parts);
  const bool any = root && texts.ok() && !texts->empty();
  const auto part_of = [&](size_t rank) -> std::string& {
    return (*texts)[static_cast<size_t>(parts->part_of_rank[rank])];
  };
  // All learn whether rank 0 could, and how much comes.
  std::vector<int64_t> sizes(ranks, texts.ok() ? 0 : kFailed);
  for (size_t r = 0; any && r < ranks; ++r) sizes[r] = static_cast<int64_t>(part_of(r).size());
  DS_RETURN_IF_ERROR(communicator.Broadcast(
      {reinterpret_cast<std::byte*>(sizes.data()), sizes.size() * sizeof(int64_t)}, 0));
  DS_RETURN_IF_ERROR(texts.status());
  if (sizes[0] == kFailed)
    return absl::AbortedError(
        absl::StrCat("rank 0 could not read the checkpoint's ", what, "; see its message"));
  if (sizes[me] < 0)
    return absl::DataLossError(
        absl::StrCat("rank 0 sent ", sizes[me], " as the size of the checkpoint's ", what));
  std::vector<absl::Span<const std::byte>> send(ranks);
  std::vector<absl::Span<std::byte>> receive(ranks);
  std::string mine(root ? 0 : static_cast<size_t>(sizes[me]), '\0');
  for (size_t r = 1; any && r < ranks; ++r) send[r] = Bytes(part_of(r));
  if (!root) receive[0] = Bytes(mine);
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  if (any) mine = std::move(part_of(0));
  return FromText(std::move(mine), what);
}

absl::StatusOr<std::vector<TensorMap>> NumberedFiles(const Checkpoint& checkpoint,
                                                     absl::string_view prefix) {
  std::map<int, const TensorMap*> by_number;
  for (const auto& [file, tensors] : checkpoint.tensors) {
    if (!absl::StartsWith(file, prefix)) continue;
    int number = 0;
    if (!absl::SimpleAtoi(absl::string_view(file).substr(prefix.size()), &number) || number < 0) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint's file ", file, ".safetensors bears no number"));
    }
    by_number[number] = &tensors;
  }
  std::vector<TensorMap> files;
  for (const auto& [number, tensors] : by_number) {
    if (number != static_cast<int>(files.size())) {
      return absl::DataLossError(
          absl::StrCat("the checkpoint lacks ", prefix, files.size(), ".safetensors"));
    }
    files.push_back(*tensors);
  }
  return files;
}

}  // namespace ds
