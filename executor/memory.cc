#include "executor/memory.h"

#include <cstdlib>  // defines __GLIBC__ where it is

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace ds {

void KeepFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kMiB = 1 << 20;
  // Older versions refuse thresholds over 32 MiB.
  if (mallopt(M_MMAP_THRESHOLD, 1024 * kMiB) == 0) mallopt(M_MMAP_THRESHOLD, 32 * kMiB);
  mallopt(M_TRIM_THRESHOLD, 2047 * kMiB);
#endif
}

}  // namespace ds
