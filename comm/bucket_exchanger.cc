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

BucketExchanger::BucketExchanger(std::unique_ptr<Communicator> communicator, std::vector<absl::Span<float>> buckets)
    : communicator_(std::move(communicator)), buckets_(std::move(buckets)), ready_(buckets_.size(), false) {
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

void BucketExchanger::Begin() {
  std::lock_guard lock(mutex_);
  DS_CHECK(done_) << "Begin during a round";
  ready_.assign(buckets_.size(), false);
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

absl::Status BucketExchanger::ExchangeOne(size_t index, BucketInterval* interval) {
  interval->bucket = static_cast<int>(index);
  interval->start_us = NowUs();
  const absl::Span<float> values = buckets_[index];
  DS_RETURN_IF_ERROR(communicator_->AllReduce(MutableBuffer::Of(values), ReduceOp::kSum));
  // After the sum, on every rank alike: the same bits everywhere.
  const float scale = 1.0f / static_cast<float>(communicator_->size());
  for (float& value : values) value *= scale;
  interval->end_us = NowUs();
  return absl::OkStatus();
}

void BucketExchanger::Run() {
  std::unique_lock lock(mutex_);
  uint64_t seen = 0;
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || round_ != seen; });
    if (stopping_) return;
    seen = round_;
    const int64_t sent_before = communicator_->wire_stats().bytes_sent;
    absl::Status status = status_;
    BucketResult result;
    for (size_t i = 0; i < buckets_.size() && status.ok(); ++i) {
      changed_.wait(lock, [&] { return stopping_ || ready_[i]; });
      if (stopping_) return;
      lock.unlock();
      BucketInterval interval;
      status = ExchangeOne(i, &interval);
      result.intervals.push_back(interval);
      lock.lock();
    }
    changed_.wait(lock, [&] { return stopping_ || finishing_; });
    if (stopping_) return;
    int32_t flag = flag_ ? 1 : 0;
    lock.unlock();
    if (status.ok()) {
      BucketInterval interval{static_cast<int>(buckets_.size()), NowUs(), 0};
      status = communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&flag, 1)), ReduceOp::kMax);
      interval.end_us = NowUs();
      result.intervals.push_back(interval);
    }
    lock.lock();
    for (const BucketInterval& interval : result.intervals) result.exchange_us += interval.end_us - interval.start_us;
    result.flag = flag != 0;
    result.wire_bytes = communicator_->wire_stats().bytes_sent - sent_before;
    result_ = std::move(result);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }
}

}  // namespace ds
