// Exchanges the buckets of a GradientCompressor on a thread of its own, in index order on every
// rank whatever the order in which they become ready, and a flag: the part of gradient exchange
// that knows nothing of networks. A bucket is encoded while others are exchanged.
//
// Begin, MarkReady and Finish are called by one thread; MarkReady may also come from others between
// the two.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_compressor.h"

namespace ds {

// Microseconds of the steady clock.
struct BucketInterval {
  int bucket = 0;
  int64_t start_us = 0;
  int64_t end_us = 0;
};

struct BucketResult {
  std::vector<BucketInterval>
      intervals;            // of this round, in index order; the flag's exchange is the last
  int64_t exchange_us = 0;  // sum of the intervals
  int64_t exposed_us = 0;   // how long Finish waited
  int64_t wire_bytes = 0;   // sent by this rank
  bool flag = false;        // OR over the ranks
  // No rank's flag was set, and yet what came of the exchange is not finite.
  bool overflowed = false;
  std::string not_finite;  // the first tensor of whose result that is so; empty: none
};

class BucketExchanger {
 public:
  // `communicator` (a duplicate of the program's: between Begin and Finish its calls come from the
  // new thread) and the compressors stay the caller's and outlive this; the latter have `buckets`
  // buckets each. `encode_threads`: 0 for none, the exchanging thread encodes too.
  BucketExchanger(Communicator* communicator, int buckets, int encode_threads = 1);
  ~BucketExchanger();

  // Starts a round: no bucket is ready. The compressor is this round's; its buckets' memory must
  // not be touched between MarkReady and Finish.
  void Begin(GradientCompressor& compressor, const CompressorStep& step);
  // Bucket `index` holds its local values. It is exchanged as soon as all before it have been.
  void MarkReady(int index);
  // Waits until every bucket has been exchanged. All must have been marked. `flag` is OR-ed over
  // the ranks; if it is set on any, or what arrived is not finite (GradientCompressor::NotFinite),
  // the compressor does not commit the step. `marks`, 0 or 1 each and as many on every rank, travel
  // with it and come back OR-ed too. After an error every later round returns it.
  absl::StatusOr<BucketResult> Finish(bool flag, absl::Span<uint8_t> marks = {});

 private:
  void Run();
  // Exchanges bucket after bucket as they become ready, then the flag.
  absl::StatusOr<BucketResult> RunRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the call without the lock and notes when in `result`.
  absl::Status Timed(size_t bucket, absl::FunctionRef<absl::Status()> call, BucketResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t BytesSent() const;

  Communicator* const communicator_;
  const size_t buckets_;
  // Of the round: it changes between rounds only, when no other thread looks.
  GradientCompressor* compressor_ = nullptr;
  Mutex mutex_;
  CondVar changed_;
  std::vector<bool> ready_ ABSL_GUARDED_BY(mutex_);  // and encoded, where there are encoders
  // Finish has been called; the flag is known.
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = true;  // the round is over
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<uint8_t> flags_ ABSL_GUARDED_BY(mutex_);  // the flag, then the marks
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  BucketResult result_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ThreadPool> encoders_;
  std::thread thread_;
};

}  // namespace ds
