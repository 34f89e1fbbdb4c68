#include "base/cpu/available_cores.h"

#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ds {
namespace {

// The two generations of cgroups differ in where a quota stands.
enum class Version { kV1, kV2 };

bool HasWord(absl::string_view list, absl::string_view word) {
  const std::vector<absl::string_view> words = absl::StrSplit(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string FirstLine(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

// A line of mountinfo: "36 35 98:0 ROOT MOUNT OPTIONS [...] - TYPE SOURCE SUPER_OPTIONS".
struct Mount {
  std::string root;  // the part of the hierarchy that is mounted
  std::string point;
};

std::optional<Mount> FindMount(const std::string& root, Version version) {
  std::ifstream mounts(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<std::string> left = absl::StrSplit(halves[0], ' '),
                                   right = absl::StrSplit(halves[1], ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool found = version == Version::kV2 ? right[0] == "cgroup2"
                                               : right[0] == "cgroup" && HasWord(right[2], "cpu");
    if (found) return Mount{left[3], left[4]};
  }
  return std::nullopt;
}

// Where the hierarchy's mount has this process's group; the mount itself where it is mounted as a
// whole for this container.
std::optional<std::string> GroupWithin(const std::string& root, const Mount& mount,
                                       Version version) {
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const bool found =
        version == Version::kV2 ? parts[0] == "0" && parts[1].empty() : HasWord(parts[1], "cpu");
    if (!found) continue;
    absl::string_view path = parts[2];
    if (mount.root != "/" && !absl::ConsumePrefix(&path, mount.root)) return "";
    if (absl::StrContains(path, "..")) return "";
    return std::string(absl::StripSuffix(path, "/"));
  }
  return std::nullopt;
}

std::optional<double> QuotaOf(const std::string& folder, Version version) {
  double quota = 0, period = 0;
  if (version == Version::kV2) {
    const std::vector<std::string> words = absl::StrSplit(FirstLine(folder + "/cpu.max"), ' ');
    if (words.size() != 2 || !absl::SimpleAtod(words[0], &quota) ||
        !absl::SimpleAtod(words[1], &period))
      return std::nullopt;  // "max 100000", or no such file
  } else if (!absl::SimpleAtod(FirstLine(folder + "/cpu.cfs_quota_us"), &quota) ||
             !absl::SimpleAtod(FirstLine(folder + "/cpu.cfs_period_us"), &period)) {
    return std::nullopt;
  }
  if (!(quota > 0) || !(period > 0) || !std::isfinite(quota / period)) return std::nullopt;
  return quota / period;
}

uint64_t IdOf(const std::string& folder) {
  struct stat status = {};
  if (stat(folder.c_str(), &status) != 0) return 0;
  constexpr uint64_t kMix = 0x9E3779B97F4A7C15u;
  return static_cast<uint64_t>(status.st_dev) * kMix ^ static_cast<uint64_t>(status.st_ino);
}

void LookUpwards(const std::string& root, Version version, std::optional<CpuQuota>& least) {
  const std::optional<Mount> mount = FindMount(root, version);
  if (!mount.has_value()) return;
  std::optional<std::string> group = GroupWithin(root, *mount, version);
  while (group.has_value()) {
    const std::string folder = absl::StrCat(root, mount->point, *group);
    const std::optional<double> cores = QuotaOf(folder, version);
    if (cores.has_value() && (!least.has_value() || *cores < least->cores))
      least = CpuQuota{*cores, IdOf(folder)};
    if (group->empty()) return;
    group->resize(group->rfind('/'));
  }
}

int MaskedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

std::optional<CpuQuota> ReadCpuQuota(const std::string& root) {
  std::optional<CpuQuota> least;
  LookUpwards(root, Version::kV2, least);
  LookUpwards(root, Version::kV1, least);
  return least;
}

int AvailableCores(int affinity_cores, const std::optional<CpuQuota>& quota) {
  if (!quota.has_value() || quota->cores >= affinity_cores) return std::max(1, affinity_cores);
  return std::max(1, static_cast<int>(quota->cores));
}

int AvailableCores() { return AvailableCores(MaskedCores(), ReadCpuQuota()); }

CoreClaim ThisProcessCores() {
  CoreClaim claim;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (size_t core = 0; core < std::min<size_t>(CPU_SETSIZE, CoreClaim::kMostCores); ++core) {
      if (CPU_ISSET(core, &set)) claim.mask[core / 64] |= uint64_t{1} << (core % 64);
    }
  } else {
    for (int core = 0; core < MaskedCores(); ++core)
      claim.mask[static_cast<size_t>(core) / 64] |= uint64_t{1} << (core % 64);
  }
  if (const std::optional<CpuQuota> quota = ReadCpuQuota()) {
    claim.quota_cores = quota->cores;
    claim.quota_group = quota->group;
  }
  return claim;
}

double ShareOfCores(absl::Span<const CoreClaim> claims, size_t index) {
  const CoreClaim& mine = claims[index];
  double share = 0;
  for (size_t core = 0; core < CoreClaim::kMostCores; ++core) {
    const auto has = [core](const CoreClaim& claim) {
      return (claim.mask[core / 64] >> (core % 64) & 1) != 0;
    };
    if (has(mine))
      share += 1.0 / static_cast<double>(std::count_if(claims.begin(), claims.end(), has));
  }
  if (mine.quota_cores == 0) return share;
  const auto under = std::count_if(claims.begin(), claims.end(), [&](const CoreClaim& claim) {
    return claim.quota_cores != 0 && claim.quota_group == mine.quota_group;
  });
  return std::min(share, mine.quota_cores / static_cast<double>(under));
}

}  // namespace ds
