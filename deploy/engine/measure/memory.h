// What memory this process holds, as Linux counts it.
#pragma once

namespace ds::engine {

struct ProcessMemory {
  double resident_mib = 0;  // pages in memory, shared ones whole
  double private_mib = 0;   // those that no other process has; 0 where the kernel does not say
  double pss_mib = 0;       // private ones and this process' share of the others; 0 as above
};

ProcessMemory ReadProcessMemory();

}  // namespace ds::engine
