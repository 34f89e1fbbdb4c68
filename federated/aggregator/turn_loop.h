// One thread that owns the run's state. Callers hand it work; it does all that has come, then what
// is due by itself, makes the records of all of it durable with one sync, and only then lets
// effects and answers out. What comes while a sync is under way shares the next one.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace ds::federated {

class TurnLoop {
 public:
  struct Steps {
    // What is due; when to look again at the latest, as SteadyTime.
    std::function<absl::Duration()> decide;
    // Makes durable what this turn has recorded. After an error nothing more is done.
    std::function<absl::Status()> commit;
    std::function<void()> effects;
  };

  explicit TurnLoop(Steps steps);
  // Once; calls before it wait for it.
  void Start();
  ~TurnLoop();  // Stop

  // The work's own status, once its records are durable. Unavailable once stopped, or where the
  // log could not be written.
  absl::Status Call(std::function<absl::Status()> work);
  // Likewise, without an answer.
  void Post(std::function<void()> work);
  // Work that has not begun is answered with Unavailable.
  void Stop();
  // Why nothing is done any more; OK as long as it is.
  absl::Status broken() const;

 private:
  struct Job;

  void Enqueue(std::shared_ptr<Job> job);
  void Loop();
  std::vector<std::shared_ptr<Job>> Wait(absl::Duration until);
  void Answer(const std::vector<std::shared_ptr<Job>>& jobs);

  const Steps steps_;
  mutable Mutex mutex_;
  CondVar changed_, answered_;
  std::vector<std::shared_ptr<Job>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace ds::federated
