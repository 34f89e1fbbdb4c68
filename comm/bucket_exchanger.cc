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

BucketExchanger::BucketExchanger(std::unique_ptr<Communicator> communicator, std::vector<absl::Span<float>> buckets,
                                 BucketCompression compression)
    : communicator_(std::move(communicator)),
      compression_(std::move(compression)),
      buckets_(std::move(buckets)),
      ready_(buckets_.size(), false) {
  if (compressor() != nullptr) {
    DS_CHECK(compressor()->buckets() == static_cast<int>(buckets_.size())) << "the compressor has other buckets";
    if (compression_.encode_threads > 0) encoders_ = std::make_unique<ThreadPool>(compression_.encode_threads);
  }
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

void BucketExchanger::Begin(const BucketRound& round) {
  std::lock_guard lock(mutex_);
  DS_CHECK(done_) << "Begin during a round";
  ready_.assign(buckets_.size(), false);
  result_ = {};
  finishing_ = false;
  done_ = false;
  options_ = round;
  if (options_.scale == 0) options_.scale = 1.0f / static_cast<float>(communicator_->size());
  options_.compress = options_.compress && compressor() != nullptr;
  if (options_.compress) compressor()->BeginStep({options_.step, options_.scale});
  ++round_;
  changed_.notify_all();
}

void BucketExchanger::MarkReady(int index) {
  const auto mark = [this, index] {
    std::lock_guard lock(mutex_);
    ready_[static_cast<size_t>(index)] = true;
    changed_.notify_all();
  };
  // The round's options do not change before Finish.
  if (!options_.compress || encoders_ == nullptr) return mark();
  encoders_->Submit([this, index, mark] {
    compressor()->Encode(index);
    mark();
  });
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
  if (options_.compress) {
    DS_RETURN_IF_ERROR(compressor()->Exchange(static_cast<int>(index)));
  } else {
    const absl::Span<float> values = buckets_[index];
    DS_RETURN_IF_ERROR(communicator_->AllReduce(MutableBuffer::Of(values), ReduceOp::kSum));
    // After the sum, on every rank alike: the same bits everywhere.
    for (float& value : values) value *= options_.scale;
  }
  interval->end_us = NowUs();
  return absl::OkStatus();
}

absl::Status BucketExchanger::ExchangeFlag(bool mine, BucketInterval* interval, bool* any) {
  *interval = {static_cast<int>(buckets_.size()), NowUs(), 0};
  int32_t flag = mine ? 1 : 0;
  DS_RETURN_IF_ERROR(communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&flag, 1)), ReduceOp::kMax));
  interval->end_us = NowUs();
  *any = flag != 0;
  if (options_.compress) compressor()->EndStep(/*commit=*/!*any);
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
    const bool flag = flag_;
    lock.unlock();
    // All are marked. After an error some may still be being encoded; the memory is the caller's again when Finish returns.
    if (encoders_ != nullptr) encoders_->Wait();
    if (status.ok()) status = ExchangeFlag(flag, &result.intervals.emplace_back(), &result.flag);
    lock.lock();
    for (const BucketInterval& interval : result.intervals) result.exchange_us += interval.end_us - interval.start_us;
    result.wire_bytes = communicator_->wire_stats().bytes_sent - sent_before;
    result_ = std::move(result);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }
}

}  // namespace ds
