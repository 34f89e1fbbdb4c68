// How many cores this process may keep busy: what its affinity mask allows, and the CPU quota of
// the cgroups (v1 and v2) that a container or a batch system put it in. 64 cores and a quota of 2
// are two cores: more threads would be stopped most of the time, in the middle of whatever they
// hold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"

namespace ds {

// Of the cgroups that a process is in, the one that allows it least.
struct CpuQuota {
  double cores = 0;    // processor seconds a second, > 0
  uint64_t group = 0;  // which cgroup: processes of one host that share it share the quota
};

// As /proc/self/cgroup and /proc/self/mountinfo under `root` (empty: the system's) lead to it.
// Nothing where no quota is set, or none can be read.
std::optional<CpuQuota> ReadCpuQuota(const std::string& root = "");

// At least 1. A fraction of a core beyond whole ones is left to other threads.
int AvailableCores();
// The same for `affinity_cores` in the mask.
int AvailableCores(int affinity_cores, const std::optional<CpuQuota>& quota);

// What one process may use, to be compared with what others of its host may. Plain bytes: ranks
// send it to each other.
struct CoreClaim {
  static constexpr size_t kMostCores = 1024;
  std::array<uint64_t, kMostCores / 64> mask = {};
  double quota_cores = 0;  // 0: no quota
  uint64_t quota_group = 0;
};

CoreClaim ThisProcessCores();
// Cores that process `index` of `claims`, all of one host, may keep busy while the others do
// likewise: a core in several masks is divided among them, a quota among those under it. Ranks that
// a launcher bound to cores of their own each have theirs. May be less than 1.
double ShareOfCores(absl::Span<const CoreClaim> claims, size_t index);

}  // namespace ds
