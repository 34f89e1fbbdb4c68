#include "jobs/compute_threads.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "base/cpu/available_cores.h"

namespace ds {

void UseThreads(int asked) {
  // LibTorch itself looks at the affinity mask, but at no quota of a container.
  at::set_num_threads(asked > 0 ? asked : std::min(at::get_num_threads(), AvailableCores()));
}

}  // namespace ds
