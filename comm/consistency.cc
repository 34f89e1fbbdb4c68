#include "comm/consistency.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {
namespace {

using Items = std::vector<std::pair<std::string, std::string>>;

constexpr char kFieldEnd = '\x1f';
constexpr char kItemEnd = '\x1e';

std::string Pack(const Items& items) {
  std::string text;
  for (const auto& [name, value] : items)
    absl::StrAppend(&text, name, std::string(1, kFieldEnd), value, std::string(1, kItemEnd));
  return text;
}

Items Unpack(absl::string_view text) {
  Items items;
  for (absl::string_view item : absl::StrSplit(text, kItemEnd, absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> fields =
        absl::StrSplit(item, absl::MaxSplits(kFieldEnd, 1));
    items.emplace_back(std::string(fields.first), std::string(fields.second));
  }
  return items;
}

// The first line in which two texts differ.
std::pair<std::string, std::string> FirstDifference(const std::string& a, const std::string& b) {
  const std::vector<std::string> left = absl::StrSplit(a, '\n'), right = absl::StrSplit(b, '\n');
  for (size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    const std::string l = i < left.size() ? left[i] : "(nothing)",
                      r = i < right.size() ? right[i] : "(nothing)";
    if (l != r) return {l, r};
  }
  return {};
}

std::optional<std::string> Compare(const Items& first, const Items& other, int rank) {
  for (size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
    const std::pair<std::string, std::string> none = {"(nothing)", ""};
    const auto& a = i < first.size() ? first[i] : none;
    const auto& b = i < other.size() ? other[i] : none;
    if (a.first != b.first)
      return absl::StrCat("rank 0 has ", a.first, " where rank ", rank, " has ", b.first);
    if (a.second == b.second) continue;
    const auto [left, right] = FirstDifference(a.second, b.second);
    return absl::StrCat(a.first, ": rank 0 has '", left, "', rank ", rank, " has '", right, "'");
  }
  return std::nullopt;
}

}  // namespace

absl::Status CheckSameOnAllRanks(Communicator& communicator, const Items& items) {
  if (communicator.size() == 1) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                      AllGatherBytes(Pack(items), communicator));
  const Items first = Unpack(all[0]);
  for (size_t r = 1; r < all.size(); ++r) {
    const std::optional<std::string> difference =
        Compare(first, Unpack(all[r]), static_cast<int>(r));
    if (difference.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the ranks are not about to run the same: ", *difference,
                       "; start all with the same files and arguments"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ds
