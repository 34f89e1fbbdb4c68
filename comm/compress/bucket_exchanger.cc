#include "comm/compress/bucket_exchanger.h"

#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"

namespace ds {

BucketExchanger::BucketExchanger(Communicator* communicator, int buckets, int encode_threads)
    : communicator_(communicator), buckets_(static_cast<size_t>(buckets)), ready_(buckets_, false) {
  if (encode_threads > 0) encoders_ = std::make_unique<ThreadPool>(encode_threads);
  thread_ = std::thread([this] { Run(); });
}

BucketExchanger::~BucketExchanger() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  // Its tasks use what is destroyed before it.
  encoders_.reset();
}

void BucketExchanger::Begin(GradientCompressor& compressor, const CompressorStep& step) {
  std::lock_guard lock(mutex_);
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
  changed_.notify_all();
}

void BucketExchanger::MarkReady(int index) {
  const auto mark = [this, index] {
    std::lock_guard lock(mutex_);
    ready_[static_cast<size_t>(index)] = true;
    changed_.notify_all();
  };
  if (encoders_ == nullptr) return mark();
  encoders_->Submit([this, index, mark] {
    compressor_->Encode(index);
    mark();
  });
}

absl::StatusOr<BucketResult> BucketExchanger::Finish(bool flag) {
  const int64_t start = SteadyMicros();
  std::unique_lock lock(mutex_);
  DS_CHECK(!done_) << "Finish without Begin";
  flag_ = flag;
  finishing_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return done_; });
  DS_RETURN_IF_ERROR(status_);
  result_.exposed_us = SteadyMicros() - start;
  return result_;
}

absl::StatusOr<BucketResult> BucketExchanger::RunRound(std::unique_lock<std::mutex>& lock) {
  BucketResult result;
  const auto sent = [this] {
    return communicator_->wire_stats().bytes_sent + compressor_->OwnBytesSent();
  };
  const int64_t sent_before = sent();
  // Runs `call` without the lock and notes when.
  const auto timed = [&](size_t bucket, auto call) {
    lock.unlock();
    BucketInterval interval{static_cast<int>(bucket), SteadyMicros(), 0};
    absl::Status status = call();
    interval.end_us = SteadyMicros();
    result.exchange_us += interval.end_us - interval.start_us;
    result.intervals.push_back(interval);
    lock.lock();
    return status;
  };
  for (size_t i = 0; i < buckets_; ++i) {
    changed_.wait(lock, [&] { return stopping_ || ready_[i]; });
    if (stopping_) return absl::CancelledError("the exchanger is being destroyed");
    DS_RETURN_IF_ERROR(timed(i, [&] { return compressor_->Exchange(static_cast<int>(i)); }));
  }
  changed_.wait(lock, [&] { return stopping_ || finishing_; });
  if (stopping_) return absl::CancelledError("the exchanger is being destroyed");
  int32_t flag = flag_ ? 1 : 0;
  DS_RETURN_IF_ERROR(timed(buckets_, [&] {
    return communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&flag, 1)), ReduceOp::kMax);
  }));
  compressor_->EndStep(/*commit=*/flag == 0);
  result.flag = flag != 0;
  result.wire_bytes = sent() - sent_before;
  return result;
}

void BucketExchanger::Run() {
  std::unique_lock lock(mutex_);
  uint64_t seen = 0;
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || round_ != seen; });
    if (stopping_) return;
    seen = round_;
    if (status_.ok()) {
      absl::StatusOr<BucketResult> result = RunRound(lock);
      status_ = result.status();
      if (result.ok()) result_ = *std::move(result);
    }
    // An error must not be told before the other thread waits for it.
    changed_.wait(lock, [&] { return stopping_ || finishing_; });
    if (stopping_) return;
    if (encoders_ != nullptr) {
      // All are marked. After an error some may still be being encoded; the memory is the caller's
      // again when Finish returns.
      lock.unlock();
      encoders_->Wait();
      lock.lock();
    }
    done_ = true;
    changed_.notify_all();
  }
}

}  // namespace ds
