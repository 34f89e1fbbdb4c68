// What this process has allocated: bytes now and at most, and how often. Counts every malloc, new
// and aligned_alloc, of all threads, with the allocator's own rounding; through the address
// sanitizer's hooks where it has the allocator, through the C library's own functions otherwise.
#pragma once

#include <cstdint>

namespace ds::engine::testing {

struct Heap {
  int64_t bytes = 0;        // now
  int64_t most_bytes = 0;   // since the last ForgetMost()
  int64_t allocations = 0;  // since the start
};
// False where allocations cannot be counted (another C library, the thread sanitizer, whose hooks
// do not see all of them): figures are 0 then.
bool HeapIsWatched();
Heap HeapNow();
void ForgetMost();

}  // namespace ds::engine::testing
