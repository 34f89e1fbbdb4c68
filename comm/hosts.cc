#include "comm/hosts.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr size_t kMaxName = 256;  // POSIX allows 255 bytes and a zero

}  // namespace

absl::StatusOr<int> HostOfRank(Communicator& communicator, const std::string& host_name) {
  std::vector<char> mine(kMaxName, '\0');
  if (host_name.empty()) {
    if (gethostname(mine.data(), mine.size() - 1) != 0)
      return ErrnoStatus(errno, "cannot ask for the host's name");
  } else if (host_name.size() < kMaxName) {
    std::copy(host_name.begin(), host_name.end(), mine.begin());
  } else {
    return absl::InvalidArgumentError("a host name has at most 255 bytes");
  }
  std::vector<char> all(kMaxName * static_cast<size_t>(communicator.size()));
  DS_RETURN_IF_ERROR(
      communicator.AllGather({reinterpret_cast<const std::byte*>(mine.data()), mine.size()},
                             {reinterpret_cast<std::byte*>(all.data()), all.size()}));
  int rank = 0;
  while (std::memcmp(all.data() + static_cast<size_t>(rank) * kMaxName, mine.data(), kMaxName) != 0)
    ++rank;
  return rank;
}

}  // namespace ds
