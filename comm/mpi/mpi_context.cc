#include "comm/mpi/mpi_context.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/cpu/available_cores.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/launch_info.h"
#include "comm/mpi/mpi_errors.h"

namespace ds {
namespace {

// A wait first looks all the time, for latency, then leaves its core to the compute threads; where
// ranks share cores it sleeps at once. A sleep takes 50 us longer than asked for, which is how
// exactly Linux keeps time for threads that did not ask for more. Each look costs some 15 us over
// TCP, so a wait that lasts looks less often: sleeps grow to a sixteenth of it, up to what a
// socket's buffer bridges at 10 Gbit/s.
constexpr absl::Duration kEagerTime = absl::Microseconds(200);
constexpr absl::Duration kShortestSleep = absl::Microseconds(10),
                         kLongestSleep = absl::Microseconds(200);
constexpr int kSleepShare = 16;
constexpr double kRounding = 1e-9;  // of fractions of cores that make a whole one

// Over TCP Open MPI by default asks the receiver before each large piece ("put"); where both
// directions of a slow link are full, the question waits behind the data. Sending in pieces of 1
// MiB without asking took a step with 45 MB of gradients at 100 Mbit/s from 7.0 to 4.7 s
// (docs/benchmarks.md). Whoever sets the variables knows better. Before MPI_Init, which reads them.
void SendWithoutAsking() {
  setenv("OMPI_MCA_btl_tcp_flags", "1", /*overwrite=*/0);  // "send"
  setenv("OMPI_MCA_btl_tcp_max_send_size", "1048576", /*overwrite=*/0);
}

// What MPI waits for itself, in MPI_Init say, it looks for all the time. Open MPI leaves the core
// to others between looks where there are more ranks than cores, but knows no quota of a container.
// Where each rank has a core this would cost: docs/overlap.md.
void YieldWhereCoresAreFew() {
  if (DetectLaunch().local_size > AvailableCores())
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);
}

// Has this rank less than a core of its own?
absl::StatusOr<bool> RanksShareCores() {
  MPI_Comm host = MPI_COMM_NULL;
  int ranks = 1, me = 0;
  DS_RETURN_IF_MPI_ERROR(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  MPI_Comm_size(host, &ranks);
  MPI_Comm_rank(host, &me);
  const CoreClaim mine = ThisProcessCores();
  std::vector<CoreClaim> all(static_cast<size_t>(ranks));
  DS_RETURN_IF_MPI_ERROR(
      MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, all.data(), sizeof(mine), MPI_BYTE, host));
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_free(&host));
  return ShareOfCores(all, static_cast<size_t>(me)) < 1 - kRounding;
}

// Over TCP Open MPI writes to the socket of a peer that is gone; by default that would kill this
// process too, without a word.
void IgnoreBrokenPipes() {
  struct sigaction action = {};
  if (sigaction(SIGPIPE, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

// Whom the wait still waits for.
std::string Missing(absl::Span<MPI_Request> requests, const MpiWait& wait) {
  constexpr size_t kNamed = 8;
  std::set<int> missing;
  for (size_t i = 0; i < std::min(requests.size(), wait.peers.size()); ++i) {
    int done = 0;
    if (MPI_Request_get_status(requests[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0)
      missing.insert(wait.peers[i]);
  }
  if (missing.empty()) return absl::StrCat(wait.what, "; one of them is gone or stuck");
  if (missing.size() == 1) return absl::StrCat("rank ", *missing.begin(), ", gone or stuck");
  const std::vector<int> named(missing.begin(),
                               std::next(missing.begin(), std::min(kNamed, missing.size())));
  return absl::StrCat(
      "ranks ", absl::StrJoin(named, ", "),
      missing.size() > kNamed ? absl::StrCat(" and ", missing.size() - kNamed, " more") : "",
      "; one of them is gone or stuck");
}

}  // namespace

absl::StatusOr<std::shared_ptr<MpiContext>> MpiContext::Create(absl::Duration timeout) {
  static Mutex mutex;
  static std::weak_ptr<MpiContext> current ABSL_GUARDED_BY(mutex);
  const MutexLock lock(mutex);
  // All communicators share one context: MPI must not be finalised under any of them.
  if (std::shared_ptr<MpiContext> shared = current.lock()) return shared;
  int initialized = 0, finalized = 0, level = MPI_THREAD_SINGLE;
  MPI_Finalized(&finalized);
  if (finalized != 0)
    return absl::FailedPreconditionError(
        "MPI has been finalised in this process; it cannot start again");
  MPI_Initialized(&initialized);
  IgnoreBrokenPipes();
  if (initialized == 0) {
    SendWithoutAsking();
    YieldWhereCoresAreFew();
    DS_RETURN_IF_MPI_ERROR(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level));
  } else {
    MPI_Query_thread(&level);
  }
  auto context = std::shared_ptr<MpiContext>(new MpiContext(initialized == 0, timeout));
  if (level < MPI_THREAD_MULTIPLE) {
    return absl::FailedPreconditionError(
        "this MPI library does not support MPI_THREAD_MULTIPLE, which overlapping exchange with "
        "compute needs");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  DS_ASSIGN_OR_RETURN(context->ranks_share_cores_, RanksShareCores());
  current = context;
  return context;
}

MpiContext::~MpiContext() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (owned_ && finalized == 0 && broken().ok()) Finalize();
}

// MPI_Finalize waits for all ranks, and has no deadline; a barrier before it has one.
void MpiContext::Finalize() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Request request = MPI_REQUEST_NULL;
  absl::Status status = MpiStatus(MPI_Ibarrier(MPI_COMM_WORLD, &request), "MPI_Ibarrier");
  if (status.ok()) {
    status =
        AwaitMpiRequests(
            absl::MakeSpan(&request, 1), {},
            {.deadline = Deadline::In(timeout_), .rank = rank, .what = "the other ranks to end"})
            .status();
  }
  if (status.ok()) {
    MPI_Finalize();
  } else {
    Log(LogLevel::kError, status.message());
  }
}

void MpiContext::Break(const absl::Status& error) {
  const MutexLock lock(mutex_);
  if (broken_.ok()) broken_ = error;
}

absl::Status MpiContext::broken() const {
  const MutexLock lock(mutex_);
  return broken_;
}

absl::StatusOr<int> AwaitMpiRequests(absl::Span<MPI_Request> requests,
                                     absl::Span<MPI_Status> statuses, const MpiWait& wait) {
  const absl::Duration start = SteadyTime();
  Patience patience(wait.deadline);
  MPI_Status* const into = statuses.empty() ? MPI_STATUSES_IGNORE : statuses.data();
  while (true) {
    int done = 0;
    const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, into);
    if (code != MPI_SUCCESS || done != 0) return code;
    const absl::Duration waited = SteadyTime() - start;
    if (wait.eager && waited < kEagerTime) continue;
    const timespec pause =
        absl::ToTimespec(std::clamp(waited / kSleepShare, kShortestSleep, kLongestSleep));
    nanosleep(&pause, nullptr);
    if (patience.IsOver()) {
      const absl::Duration tenths =
          absl::Trunc(waited + absl::Milliseconds(50), absl::Milliseconds(100));
      return absl::DeadlineExceededError(
          absl::StrCat("rank ", wait.rank, " waited ", absl::FormatDuration(tenths), " for ",
                       Missing(requests, wait), " (raise comm.timeout_s if merely slow)"));
    }
  }
}

}  // namespace ds
