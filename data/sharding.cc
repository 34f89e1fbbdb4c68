#include "data/sharding.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "data/sample_random.h"

namespace ds {

int64_t Sharding::batches() const {
  const int64_t full = samples / global_batch();
  return drop_last || samples % global_batch() == 0 ? full : full + 1;
}

std::vector<int64_t> Sharding::Positions(int64_t batch) const {
  const int64_t begin = batch * global_batch();
  const int64_t end = std::min(begin + global_batch(), samples);
  std::vector<int64_t> positions;
  positions.reserve(batch_size);
  for (int64_t p = begin + rank; p < end; p += world_size) positions.push_back(p);
  return positions;
}

std::vector<int64_t> EpochOrder(int64_t samples, bool shuffle, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(samples);
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle) return order;
  SampleRandom random(seed, RandomPurpose::kShuffle, epoch, 0);
  for (int64_t i = samples - 1; i > 0; --i) {
    std::swap(order[i], order[static_cast<int64_t>(random.Below(i + 1))]);
  }
  return order;
}

}  // namespace ds
