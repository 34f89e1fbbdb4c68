// Averages float32 buffers ("buckets") over the ranks on a thread of its own, in index order on every rank whatever the order in
// which they become ready: the part of gradient exchange that knows nothing of networks. With a compressor they travel in fewer bytes, and
// a bucket is encoded while others are exchanged.
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
#include "base/thread_pool.h"
#include "comm/communicator.h"
#include "comm/gradient_compressor.h"

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

struct BucketCompression {
  // Made for the same buckets in the same order, and for the communicator that the exchanger gets.
  std::unique_ptr<GradientCompressor> compressor;
  int encode_threads = 1;   // 0: the exchanging thread encodes too
};

// What one round does; the same on every rank.
struct BucketRound {
  uint64_t step = 0;       // keys the compressor's noise
  float scale = 0;         // of the sum over the ranks; 0: 1 / ranks, the mean
  bool compress = true;    // false: in float32, as without a compressor (the first steps of a run)
};

class BucketExchanger {
 public:
  // Takes the communicator (a duplicate of the program's: its calls come from the new thread). The buckets' memory stays the caller's;
  // between MarkReady and Finish it must not be touched.
  BucketExchanger(std::unique_ptr<Communicator> communicator, std::vector<absl::Span<float>> buckets,
                  BucketCompression compression = {});
  ~BucketExchanger();

  // Null without one. For use between rounds: its state, its codecs (with `communicator`).
  GradientCompressor* compressor() { return compression_.compressor.get(); }
  // For use between rounds.
  Communicator& communicator() { return *communicator_; }

  // Starts a round: no bucket is ready.
  void Begin(const BucketRound& round = {});
  // Bucket `index` holds its local values. It is exchanged as soon as all before it have been.
  void MarkReady(int index);
  // Waits until every bucket holds the scaled sum over the ranks. All must have been marked. `flag` is OR-ed over the ranks; if it is set,
  // the compressor's residuals stay as they were before the round. After an error every later round returns it.
  absl::StatusOr<BucketResult> Finish(bool flag);

 private:
  void Run();
  absl::Status ExchangeOne(size_t index, BucketInterval* interval);
  absl::Status ExchangeFlag(bool mine, BucketInterval* interval, bool* any);

  std::unique_ptr<Communicator> communicator_;
  BucketCompression compression_;
  std::vector<absl::Span<float>> buckets_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> ready_;
  bool finishing_ = false;   // Finish has been called; the flag is known
  bool done_ = true;         // the round is over
  bool stopping_ = false;
  bool flag_ = false;
  uint64_t round_ = 0;
  BucketRound options_;      // of the round
  BucketResult result_;
  absl::Status status_;
  std::unique_ptr<ThreadPool> encoders_;   // ends before what its tasks use
  std::thread thread_;
};

}  // namespace ds
