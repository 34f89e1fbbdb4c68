// Which samples make which batch on which rank: plain arithmetic and one permutation, the same on
// all ranks.
#pragma once

#include <cstdint>
#include <vector>

namespace ds {

struct Sharding {
  int64_t samples = 0;     // >= 0
  int64_t batch_size = 1;  // a rank, >= 1
  int rank = 0;
  int world_size = 1;
  bool drop_last = true;

  int64_t global_batch() const { return batch_size * world_size; }
  // The same on every rank.
  int64_t batches() const;
  // Positions of the epoch that make this rank's batch `batch`: rank, rank + W, ... of the global
  // batch. May be empty where the last global batch is not full.
  std::vector<int64_t> Positions(int64_t batch) const;
};

// The order of an epoch: sample index at each position. A Fisher-Yates shuffle keyed by (seed,
// epoch), or 0, 1, 2, ... without `shuffle`.
std::vector<int64_t> EpochOrder(int64_t samples, bool shuffle, uint64_t seed, int64_t epoch);

}  // namespace ds
