#include "comm/hosts.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/cpu/available_cores.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {
namespace {

std::string FirstWord(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

// The lowest rank of each rank's machine.
absl::StatusOr<std::vector<int>> HostsOfAll(Communicator& communicator, const std::string& host) {
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                      AllGatherBytes(host.empty() ? ThisHost().id : host, communicator));
  std::vector<int> hosts;
  for (const std::string& id : ids)
    hosts.push_back(static_cast<int>(std::find(ids.begin(), ids.end(), id) - ids.begin()));
  return hosts;
}

}  // namespace

HostIdentity ThisHost(const std::string& root) {
  char name[256] = "";  // POSIX allows 255 bytes and a zero
  (void)gethostname(name, sizeof(name) - 1);
  const std::string boot_id = FirstWord(root + "/proc/sys/kernel/random/boot_id");
  if (!boot_id.empty()) return {boot_id, name};
  return {absl::StrCat(FirstWord(root + "/etc/machine-id"), " ", name), name};
}

absl::StatusOr<int> HostOfRank(Communicator& communicator, const std::string& host) {
  DS_ASSIGN_OR_RETURN(const std::vector<int> hosts, HostsOfAll(communicator, host));
  return hosts[static_cast<size_t>(communicator.rank())];
}

absl::StatusOr<int> CoresOfRank(Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::vector<int> hosts, HostsOfAll(communicator, ""));
  DS_ASSIGN_OR_RETURN(const std::vector<CoreClaim> all,
                      AllGatherValues(ThisProcessCores(), communicator));
  const size_t me = static_cast<size_t>(communicator.rank());
  std::vector<CoreClaim> here;
  size_t place = 0;
  for (size_t r = 0; r < all.size(); ++r) {
    if (hosts[r] != hosts[me]) continue;
    if (r == me) place = here.size();
    here.push_back(all[r]);
  }
  constexpr double kRounding = 1e-9;  // of many fractions that make a whole core
  return std::max(1, static_cast<int>(ShareOfCores(here, place) + kRounding));
}

}  // namespace ds
