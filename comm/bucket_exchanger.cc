#include "comm/bucket_exchanger.h"

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace ds {
namespace {

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

BucketExchanger::BucketExchanger(Communicator* communicator, int buckets)
    : communicator_(communicator), buckets_(static_cast<size_t>(buckets)), ready_(buckets_, false) {
  thread_ = std::thread([this] { Run(); });
}

BucketExchanger::~BucketExchanger() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BucketExchanger::Begin(GradientCompressor& compressor, const CompressorStep& step) {
  std::lock_guard lock(mutex_);
  DS_CHECK(done_) << "Begin during a round";
  DS_CHECK(compressor.buckets() == static_cast<int>(buckets_)) << "the compressor is of other buckets";
  compressor_ = &compressor;
  step_ = step;
  ready_.assign(buckets_, false);
  result_ = {};
  finishing_ = false;
  done_ = false;
  ++round_;
  changed_.notify_all();
}

void BucketExchanger::MarkReady(int index) {
  std::lock_guard lock(mutex_);
  ready_[static_cast<size_t>(index)] = true;
  changed_.notify_all();
}

absl::StatusOr<BucketResult> BucketExchanger::Finish(bool flag) {
  const int64_t start = NowUs();
  std::unique_lock lock(mutex_);
  DS_CHECK(!done_) << "Finish without Begin";
  flag_ = flag;
  finishing_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return done_; });
  DS_RETURN_IF_ERROR(status_);
  result_.exposed_us = NowUs() - start;
  return result_;
}

absl::StatusOr<BucketResult> BucketExchanger::RunRound(std::unique_lock<std::mutex>& lock) {
  BucketResult result;
  const auto sent = [this] { return communicator_->wire_stats().bytes_sent + compressor_->OwnBytesSent(); };
  const int64_t sent_before = sent();
  // Runs `call` without the lock and notes when.
  const auto timed = [&](size_t bucket, auto call) {
    lock.unlock();
    BucketInterval interval{static_cast<int>(bucket), NowUs(), 0};
    absl::Status status = call();
    interval.end_us = NowUs();
    result.exchange_us += interval.end_us - interval.start_us;
    result.intervals.push_back(interval);
    lock.lock();
    return status;
  };
  compressor_->BeginStep(step_);
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
    done_ = true;
    changed_.notify_all();
  }
}

}  // namespace ds
