#include "federated/secure/setup/survivor_sets.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ds::federated::secure {

std::string CloseSet(absl::Span<const SurvivorSet> earlier, const SurvivorSet& set, int64_t least) {
  for (const SurvivorSet& other : earlier) {
    if (other.round == set.round) continue;
    std::vector<std::string> difference;
    std::set_symmetric_difference(other.sites.begin(), other.sites.end(), set.sites.begin(),
                                  set.sites.end(), std::back_inserter(difference));
    if (difference.empty() || static_cast<int64_t>(difference.size()) > least) continue;
    return absl::StrCat("the survivors of round ", set.round, " differ from those of round ",
                        other.round, " only by ", absl::StrJoin(difference, ", "),
                        " (secure.least_difference is ", least, ")");
  }
  return "";
}

}  // namespace ds::federated::secure
