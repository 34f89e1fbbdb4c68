// Averages float32 buffers ("buckets") over the ranks on a thread of its own, in index order on every rank whatever the order in
// which they become ready: the part of gradient exchange that knows nothing of networks.
//
// Begin, MarkReady and Finish are called by one thread; MarkReady may also come from others between the two.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/communicator.h"

namespace ds {

// Microseconds of the steady clock.
struct BucketInterval {
  int bucket = 0;
  int64_t start_us = 0;
  int64_t end_us = 0;
};

struct BucketResult {
  std::vector<BucketInterval> intervals;  // of this round, in index order; the flag's exchange is the last
  int64_t exchange_us = 0;                // sum of the intervals
  int64_t exposed_us = 0;                 // how long Finish waited
  int64_t wire_bytes = 0;                 // sent by this rank
  bool flag = false;                      // OR over the ranks
};

class BucketExchanger {
 public:
  // Takes the communicator (a duplicate of the program's: its calls come from the new thread). The buckets' memory stays the caller's;
  // between MarkReady and Finish it must not be touched.
  BucketExchanger(std::unique_ptr<Communicator> communicator, std::vector<absl::Span<float>> buckets);
  ~BucketExchanger();

  // Starts a round: no bucket is ready.
  void Begin();
  // Bucket `index` holds its local values. It is exchanged as soon as all before it have been.
  void MarkReady(int index);
  // Waits until every bucket holds the mean over the ranks. All must have been marked. `flag` is OR-ed over the ranks.
  // After an error every later round returns it.
  absl::StatusOr<BucketResult> Finish(bool flag);

 private:
  void Run();
  absl::Status ExchangeOne(size_t index, BucketInterval* interval);

  std::unique_ptr<Communicator> communicator_;
  std::vector<absl::Span<float>> buckets_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> ready_;
  bool finishing_ = false;   // Finish has been called; the flag is known
  bool done_ = true;         // the round is over
  bool stopping_ = false;
  bool flag_ = false;
  uint64_t round_ = 0;
  BucketResult result_;
  absl::Status status_;
  std::thread thread_;
};

}  // namespace ds
