#include "deploy/engine/measure/memory.h"

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

namespace ds::engine {

ProcessMemory ReadProcessMemory() {
  ProcessMemory memory;
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  memory.resident_mib = static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / (1 << 20);
  // A line "Private_Dirty:   12 kB" each, behind one of addresses.
  std::ifstream rollup("/proc/self/smaps_rollup");
  rollup.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  std::string name, unit;
  int64_t kib = 0;
  while (rollup >> name >> kib >> unit) {
    const double mib = static_cast<double>(kib) / 1024;
    if (name == "Pss:") memory.pss_mib = mib;
    if (name == "Private_Clean:" || name == "Private_Dirty:") memory.private_mib += mib;
  }
  return memory;
}

}  // namespace ds::engine
