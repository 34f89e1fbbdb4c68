#include "federated/aggregator/turn_loop.h"

#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace ds::federated {

struct TurnLoop::Job {
  std::function<absl::Status()> work;
  absl::Status status;
  bool answered = false;  // under the loop's mutex
};

TurnLoop::TurnLoop(Steps steps) : steps_(std::move(steps)) {}

void TurnLoop::Start() {
  thread_ = std::thread([this] { Loop(); });
}

TurnLoop::~TurnLoop() { Stop(); }

void TurnLoop::Enqueue(std::shared_ptr<Job> job) {
  MutexLock lock(mutex_);
  if (stopping_ || !broken_.ok()) {
    job->status = stopping_ ? absl::UnavailableError("the aggregator is stopping") : broken_;
    job->answered = true;
    return;
  }
  waiting_.push_back(std::move(job));
  changed_.NotifyOne();
}

absl::Status TurnLoop::Call(std::function<absl::Status()> work) {
  auto job = std::make_shared<Job>(Job{std::move(work)});
  Enqueue(job);
  MutexLock lock(mutex_);
  // Ends: every turn does, and Stop answers what is left.
  while (!job->answered) answered_.Wait(mutex_);
  return job->status;
}

void TurnLoop::Post(std::function<void()> work) {
  Enqueue(std::make_shared<Job>(Job{[work = std::move(work)] {
    work();
    return absl::OkStatus();
  }}));
}

void TurnLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyOne();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Status TurnLoop::broken() const {
  MutexLock lock(mutex_);
  return broken_;
}

std::vector<std::shared_ptr<TurnLoop::Job>> TurnLoop::Wait(absl::Duration until) {
  MutexLock lock(mutex_);
  while (waiting_.empty() && !stopping_ && SteadyTime() < until) {
    changed_.WaitUntil(mutex_, Deadline::In(until - SteadyTime()).Moment());
  }
  return std::exchange(waiting_, {});
}

void TurnLoop::Answer(const std::vector<std::shared_ptr<Job>>& jobs) {
  MutexLock lock(mutex_);
  for (const auto& job : jobs) job->answered = true;
  answered_.NotifyAll();
}

void TurnLoop::Loop() {
  absl::Duration until = absl::ZeroDuration();  // the first turn finds what is due at once
  while (true) {
    const auto jobs = Wait(until);
    absl::Status broken;
    {
      MutexLock lock(mutex_);
      if (stopping_) broken = absl::UnavailableError("the aggregator is stopping");
    }
    if (broken.ok()) {
      for (const auto& job : jobs) job->status = job->work();
      until = steps_.decide();
      const absl::Status durable = steps_.commit();
      if (durable.ok()) {
        steps_.effects();
      } else {
        broken = absl::UnavailableError(durable.message());
      }
    }
    if (!broken.ok()) {
      for (const auto& job : jobs) job->status = broken;
    }
    if (!broken.ok()) {
      std::vector<std::shared_ptr<Job>> late;
      {
        MutexLock lock(mutex_);
        broken_ = broken;
        late = std::exchange(waiting_, {});
      }
      for (const auto& job : late) job->status = broken;
      Answer(late);
    }
    Answer(jobs);
    if (!broken.ok()) return;
  }
}

}  // namespace ds::federated
