// What an exchange costs on this link, measured: with the processor idle otherwise, and beside
// training's compute.
//
// Where a rank has no core to spare, an exchange is slower beside compute, and compute loses time
// to it: copies, the network stack, looking whether anything came, changes of thread and colder
// caches. A load of the same number of threads stands for compute, and its lost work is counted:
// what it loses is what training loses, whatever the reason.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace ds {

struct CostProbe {
  int64_t small_bytes = 4 << 10;  // sent by a rank in the one exchange,
  int64_t large_bytes = 2 << 20;  // and in the other: half a bucket of the usual size
  int repeats = 8;  // of the large one at least, of which the mean counts, after one more;
  double repeat_s =
      0.4;  // more, up to 64, where they take less than this together. TCP that has lost a packet
            // stalls: a mean of few exchanges of megabytes is off by a third
  int small_repeats = 64;           // of the small one
  double window_s = 0.15;           // how long compute is watched without an exchange
  int64_t coding_values = 1 << 22;  // encoded and decoded: beyond the caches, as gradients are
};

// Of something that takes `each` and `per_byte` for every byte a rank sends, seconds.
struct LinearCost {
  double each_s = 0;
  double per_byte_s = 0;
  double of(double bytes, int times = 1) const { return times * each_s + bytes * per_byte_s; }
};

// Of one Communicator::Exchange in which every rank sends the same to each other, the slowest
// rank's mean: exchanges follow one another as those of buckets do, so that a link whose two
// directions hinder each other, or that stalls now and then, is seen as training will see it.
// The same figures on every rank. Zeros for one rank. Collective.
absl::StatusOr<LinearCost> MeasureLink(Communicator& communicator, const CostProbe& probe = {});

// Exchange and compute at the same time.
struct SharedCost {
  LinearCost exchange;      // how long an exchange takes beside compute
  LinearCost stolen;        // how much of its time compute loses meanwhile
  double compute_rate = 1;  // of compute, while one more thread of each rank works: 1 with a core
                            // to spare, 0.5 without
  double other_rate = 1;    // of that thread
};

// Beside `compute_threads` busy threads a rank. The slowest rank's figures, the same on every rank.
// Of one rank: as if alone. Collective.
absl::StatusOr<SharedCost> MeasureShared(Communicator& communicator, int compute_threads,
                                         const CostProbe& probe = {});

}  // namespace ds
