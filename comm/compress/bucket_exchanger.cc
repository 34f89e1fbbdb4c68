#include "comm/compress/bucket_exchanger.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"

namespace ds {
namespace {

// What ranks agree on when the buckets are back: the worst of what they saw.
enum Seen : uint8_t { kFinite = 0, kOverflow = 1, kFlag = 2 };

}  // namespace

BucketExchanger::BucketExchanger(Communicator* communicator, int buckets, int encode_threads)
    : communicator_(communicator), buckets_(static_cast<size_t>(buckets)), ready_(buckets_, false) {
  if (encode_threads > 0) encoders_ = std::make_unique<ThreadPool>(encode_threads);
  thread_ = std::thread([this] { Run(); });
}

BucketExchanger::~BucketExchanger() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
  // Its tasks use what is destroyed before it.
  encoders_.reset();
}

void BucketExchanger::Begin(GradientCompressor& compressor, const CompressorStep& step) {
  const MutexLock lock(mutex_);
  DS_CHECK(done_) << "Begin during a round";
  DS_CHECK(compressor.buckets() == static_cast<int>(buckets_))
      << "the compressor is of other buckets";
  compressor_ = &compressor;
  compressor.BeginStep(step);
  ready_.assign(buckets_, false);
  result_ = {};
  finishing_ = false;
  done_ = false;
  ++round_;
  changed_.NotifyAll();
}

void BucketExchanger::MarkReady(int index) {
  const auto mark = [this, index] {
    const MutexLock lock(mutex_);
    ready_[static_cast<size_t>(index)] = true;
    changed_.NotifyAll();
  };
  if (encoders_ == nullptr) return mark();
  encoders_->Submit([this, index, mark] {
    compressor_->Encode(index);
    mark();
  });
}

absl::StatusOr<BucketResult> BucketExchanger::Finish(bool flag, absl::Span<uint8_t> marks) {
  const int64_t start = SteadyMicros();
  const MutexLock lock(mutex_);
  DS_CHECK(!done_) << "Finish without Begin";
  flags_.assign({static_cast<uint8_t>(flag ? 1 : 0)});
  flags_.insert(flags_.end(), marks.begin(), marks.end());
  finishing_ = true;
  changed_.NotifyAll();
  while (!done_) changed_.Wait(mutex_);
  DS_RETURN_IF_ERROR(status_);
  std::copy(flags_.begin() + 1, flags_.end(), marks.begin());
  result_.exposed_us = SteadyMicros() - start;
  return result_;
}

int64_t BucketExchanger::BytesSent() const {
  return communicator_->wire_stats().bytes_sent + compressor_->OwnBytesSent();
}

absl::Status BucketExchanger::Timed(size_t bucket, absl::FunctionRef<absl::Status()> call,
                                    BucketResult& result) {
  const MutexUnlock unlocked(mutex_);
  BucketInterval interval{static_cast<int>(bucket), SteadyMicros(), 0};
  absl::Status status = call();
  interval.end_us = SteadyMicros();
  result.exchange_us += interval.end_us - interval.start_us;
  result.intervals.push_back(interval);
  return status;
}

absl::StatusOr<BucketResult> BucketExchanger::RunRound() {
  BucketResult result;
  const int64_t sent_before = BytesSent();
  for (size_t i = 0; i < buckets_; ++i) {
    while (!stopping_ && !ready_[i]) changed_.Wait(mutex_);
    if (stopping_) return absl::CancelledError("the exchanger is being destroyed");
    DS_RETURN_IF_ERROR(Timed(
        i,
        [&]() -> absl::Status {
          DS_RETURN_IF_ERROR(compressor_->Exchange(static_cast<int>(i)));
          if (result.not_finite.empty())
            result.not_finite = compressor_->NotFinite(static_cast<int>(i));
          return absl::OkStatus();
        },
        result));
  }
  while (!stopping_ && !finishing_) changed_.Wait(mutex_);
  if (stopping_) return absl::CancelledError("the exchanger is being destroyed");
  std::vector<uint8_t> flags = flags_;
  flags[0] = flags[0] != 0 ? kFlag : result.not_finite.empty() ? kFinite : kOverflow;
  DS_RETURN_IF_ERROR(Timed(
      buckets_,
      [&] {
        return communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(flags)), ReduceOp::kMax);
      },
      result));
  flags_ = flags;
  compressor_->EndStep(/*commit=*/flags[0] == kFinite);
  result.flag = flags[0] == kFlag;
  result.overflowed = flags[0] == kOverflow;
  result.wire_bytes = BytesSent() - sent_before;
  return result;
}

void BucketExchanger::Run() {
  const MutexLock lock(mutex_);
  uint64_t seen = 0;
  while (true) {
    while (!stopping_ && round_ == seen) changed_.Wait(mutex_);
    if (stopping_) return;
    seen = round_;
    if (status_.ok()) {
      absl::StatusOr<BucketResult> result = RunRound();
      status_ = result.status();
      if (result.ok()) result_ = *std::move(result);
    }
    // An error must not be told before the other thread waits for it.
    while (!stopping_ && !finishing_) changed_.Wait(mutex_);
    if (stopping_) return;
    if (encoders_ != nullptr) {
      // All are marked. After an error some may still be being encoded; the memory is the caller's
      // again when Finish returns.
      const MutexUnlock unlocked(mutex_);
      encoders_->Wait();
    }
    done_ = true;
    changed_.NotifyAll();
  }
}

}  // namespace ds
