#include "comm/while_others_wait.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {
namespace {

// The first beat soon, for work that is short; then less and less often.
constexpr absl::Duration kFirstPause = absl::Milliseconds(1), kLongestPause = absl::Seconds(1);
// Beats within what others wait for one.
constexpr int kBeatsInSilence = 8;

enum class State : uint8_t { kWorking, kDone, kFailed };

// Tells the others how this rank is, round after round, until all are through. A rank that works
// pauses between rounds; one that is through goes into the next at once, and waits in it for those
// that pause.
class Beats {
 public:
  explicit Beats(Communicator& communicator)
      : communicator_(communicator),
        timeout_(communicator.timeout()),
        silence_(std::min(timeout_, kLongestSilence)) {}

  // Of this rank's work. Any thread.
  void Tell(State state) {
    const MutexLock lock(mutex_);
    state_ = state;
    changed_.NotifyAll();
  }

  // Until no rank works any more: how each ended. On one thread.
  absl::StatusOr<std::vector<State>> Run() {
    absl::StatusOr<std::vector<State>> states = Rounds();
    communicator_.set_timeout(timeout_);
    return states;
  }

 private:
  absl::StatusOr<std::vector<State>> Rounds() {
    absl::Duration pause = kFirstPause;
    while (true) {
      DS_ASSIGN_OR_RETURN(std::vector<State> states,
                          AllGatherValues(StateAfter(pause), communicator_));
      if (std::find(states.begin(), states.end(), State::kWorking) == states.end()) return states;
      // From here on every rank is known to be at it.
      communicator_.set_timeout(silence_);
      pause = std::min({2 * pause, kLongestPause, silence_ / kBeatsInSilence});
    }
  }

  // Waits for this rank's work, no longer than `pause`.
  State StateAfter(absl::Duration pause) {
    const Deadline deadline = Deadline::In(pause);
    const MutexLock lock(mutex_);
    while (state_ == State::kWorking && !deadline.IsPast())
      changed_.WaitUntil(mutex_, deadline.Moment());
    return state_;
  }

  Communicator& communicator_;
  const absl::Duration timeout_, silence_;
  Mutex mutex_;
  CondVar changed_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kWorking;
};

// `work` here, the beats on a thread of their own meanwhile.
absl::StatusOr<std::vector<State>> WorkAndBeat(Beats& beats, absl::Status& mine,
                                               absl::FunctionRef<absl::Status()> work) {
  absl::StatusOr<std::vector<State>> states = std::vector<State>();
  std::thread thread([&] { states = beats.Run(); });
  mine = work();
  beats.Tell(mine.ok() ? State::kDone : State::kFailed);
  thread.join();
  return states;
}

// All know how all ended; the first that failed says why.
absl::Status Conclude(const std::vector<State>& states, const absl::Status& mine,
                      absl::string_view what, Communicator& communicator) {
  const auto failed = std::find(states.begin(), states.end(), State::kFailed);
  if (failed == states.end()) return absl::OkStatus();
  const int first = static_cast<int>(failed - states.begin());
  const absl::StatusOr<std::string> message =
      BroadcastBytes(std::string(mine.message()), first, communicator);
  DS_RETURN_IF_ERROR(mine);
  DS_RETURN_IF_ERROR(message.status());
  return absl::AbortedError(absl::StrCat("rank ", first, " could not ", what, ": ", *message));
}

absl::Status Together(Communicator& communicator, absl::string_view who, absl::string_view what,
                      const absl::FunctionRef<absl::Status()>* work) {
  if (communicator.size() == 1) return work == nullptr ? absl::OkStatus() : (*work)();
  Beats beats(communicator);
  absl::Status mine;
  absl::StatusOr<std::vector<State>> states = std::vector<State>();
  if (work != nullptr) {
    states = WorkAndBeat(beats, mine, *work);
  } else {
    beats.Tell(State::kDone);
    states = beats.Run();
  }
  if (states.ok()) return Conclude(*states, mine, what, communicator);
  DS_RETURN_IF_ERROR(mine);
  return Annotate(states.status(), absl::StrCat("while ", who, " was to ", what));
}

}  // namespace

absl::Status WorkAtOwnPace(Communicator& communicator, absl::string_view what,
                           absl::FunctionRef<absl::Status()> work) {
  return Together(communicator, "every rank", what, &work);
}

absl::Status WhileOthersWait(Communicator& communicator, int worker, absl::string_view what,
                             absl::FunctionRef<absl::Status()> work) {
  if (worker < 0 || worker >= communicator.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", worker, " of ", communicator.size(), " was to ", what));
  }
  return Together(communicator, absl::StrCat("rank ", worker), what,
                  communicator.rank() == worker ? &work : nullptr);
}

}  // namespace ds
