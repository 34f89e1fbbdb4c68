#include "federated/agent/run_agent.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/status.h"

namespace ds::federated {
namespace {

// Pauses between tries, and when they have lasted too long.
class Backoff {
 public:
  Backoff(const RunAgentOptions& options, const std::string& site)
      : options_(options), random_(StreamOf(site.data(), site.size())) {
    Answered();
  }
  void Answered() {
    pause_ = options_.first_pause;
    give_up_ = Deadline::In(options_.give_up_after);
  }
  // The next pause; `why` once there is none any more.
  absl::StatusOr<absl::Duration> Next(const absl::Status& why) {
    if (give_up_.IsPast())
      return absl::DeadlineExceededError(
          absl::StrCat("the aggregator has not answered for ",
                       absl::FormatDuration(options_.give_up_after), ": ", why.message(),
                       "; mend: ds_agent check names what is wrong; the site goes on where it was "
                       "when it is started again"));
    const absl::Duration pause = pause_ * (1 - random_.NextDouble() / 2);
    pause_ = std::min(pause_ * 2, options_.longest_pause);
    return pause;
  }

 private:
  const RunAgentOptions& options_;
  CounterRandom random_;
  absl::Duration pause_;
  Deadline give_up_ = Deadline::In(absl::InfiniteDuration());
};

// The thread that trains and uploads: the newest job, again until it is done or not due any more.
class Worker {
 public:
  Worker(Agent& agent, const RunAgentOptions& options, const std::string& site)
      : agent_(agent),
        backoff_(options, absl::StrCat(site, "/worker")),
        thread_([this] { Loop(); }) {}
  ~Worker() {
    {
      MutexLock lock(mutex_);
      ending_ = true;
      changed_.NotifyAll();
    }
    agent_.Interrupt();
    thread_.join();
  }

  // Nothing where it is the one that is under way.
  void Give(AgentJob job) {
    MutexLock lock(mutex_);
    if (working_round_ == job.plan.round) return;
    next_ = std::move(job);
    changed_.NotifyAll();
  }
  // The error that ends the agent; OK so far.
  absl::Status status() const {
    MutexLock lock(mutex_);
    return status_;
  }

 private:
  void Loop() {
    MutexLock lock(mutex_);
    while (!ending_ && status_.ok()) {
      if (!next_.has_value()) {
        changed_.Wait(mutex_);
        continue;
      }
      const AgentJob job = *std::exchange(next_, std::nullopt);
      working_round_ = job.plan.round;
      WorkOn(job);
      working_round_ = -1;
    }
  }

  void WorkOn(const AgentJob& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    backoff_.Answered();
    while (!ending_ && !next_.has_value()) {
      absl::Status done;
      {
        MutexUnlock unlock(mutex_);
        done = agent_.Work(job);
      }
      if (LeavesTheRun(done)) status_ = done;
      // FailedPrecondition: the next situation says more.
      if (done.ok() || !status_.ok() || absl::IsFailedPrecondition(done) || !agent_.IsDue(job))
        return;
      const absl::StatusOr<absl::Duration> pause = backoff_.Next(done);
      if (!pause.ok()) return;  // the other thread finds the same, and says so
      const Deadline again = Deadline::In(*pause);
      while (!ending_ && !next_.has_value() && !again.IsPast())
        changed_.WaitUntil(mutex_, again.Moment());
    }
  }

  Agent& agent_;
  Backoff backoff_;  // of the thread's own
  mutable Mutex mutex_;
  CondVar changed_;
  std::optional<AgentJob> next_ ABSL_GUARDED_BY(mutex_);
  int64_t working_round_ ABSL_GUARDED_BY(mutex_) = -1;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the others
};

class Runner {
 public:
  Runner(const RunAgentOptions& options, const AgentParts& parts, const std::atomic<bool>* stop)
      : options_(options), parts_(parts), stop_(stop), backoff_(options, parts.identity->site()) {}

  absl::StatusOr<AgentReport> Run() {
    std::unique_ptr<Agent> agent;
    while (agent == nullptr && !stopped()) {
      absl::StatusOr<std::unique_ptr<Agent>> started = Agent::Start(options_.agent, parts_);
      if (started.ok()) {
        agent = *std::move(started);
      } else if (LeavesTheRun(started.status()) || absl::IsFailedPrecondition(started.status())) {
        return started.status();
      } else {
        DS_RETURN_IF_ERROR(Pause(started.status()));
      }
    }
    if (agent == nullptr) return AgentReport{};
    Worker worker(*agent, options_, parts_.identity->site());
    return Follow(*agent, worker);
  }

 private:
  bool stopped() const { return stop_ != nullptr && *stop_; }

  absl::StatusOr<AgentReport> Follow(Agent& agent, Worker& worker) {
    std::optional<Situation> situation;
    uint64_t known = 0;
    backoff_.Answered();
    while (!stopped()) {
      DS_RETURN_IF_ERROR(worker.status());
      absl::StatusOr<Situation> next = parts_.client->Next(known, options_.look_every);
      if (next.ok()) {
        situation = *std::move(next);
        known = situation->number;
        backoff_.Answered();
      } else if (LeavesTheRun(next.status())) {
        return next.status();
      } else if (!absl::IsDeadlineExceeded(next.status())) {
        DS_RETURN_IF_ERROR(Pause(next.status()));
        continue;
      }
      if (!situation.has_value()) continue;
      // Again too where nothing has changed: something may have been due that did not succeed.
      absl::StatusOr<AgentStep> step = agent.React(*situation);
      absl::Status done = step.status();
      if (step.ok()) {
        if (step->ended) return agent.Report();
        if (step->job.has_value()) worker.Give(*std::move(step->job));
        done = agent.Tidy();
      }
      if (LeavesTheRun(done)) return done;
      if (!done.ok() && !absl::IsFailedPrecondition(done)) {
        DS_RETURN_IF_ERROR(Pause(done));
        known = 0;  // the newest situation again, whatever its number
      }
    }
    DS_RETURN_IF_ERROR(worker.status());
    return agent.Report();
  }

  // Sleeps in pieces, so that a stop is seen.
  absl::Status Pause(const absl::Status& why) {
    DS_ASSIGN_OR_RETURN(const absl::Duration pause, backoff_.Next(why));
    const Deadline until = Deadline::In(pause);
    while (!stopped() && !until.IsPast())
      absl::SleepFor(std::min(until.Left(), absl::Milliseconds(100)));
    return absl::OkStatus();
  }

  const RunAgentOptions& options_;
  const AgentParts& parts_;
  const std::atomic<bool>* stop_;
  Backoff backoff_;
};

}  // namespace

absl::StatusOr<AgentReport> RunAgent(const RunAgentOptions& options, const AgentParts& parts,
                                     const std::atomic<bool>* stop) {
  return Runner(options, parts, stop).Run();
}

}  // namespace ds::federated
