#include "comm/mpi/mpi_context.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/cpu_features.h"
#include "base/log.h"
#include "base/status.h"
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

// Over TCP Open MPI by default asks the receiver before each large piece ("put"); where both
// directions of a slow link are full, the question waits behind the data. Sending in pieces of 1
// MiB without asking took a step with 45 MB of gradients at 100 Mbit/s from 7.0 to 4.7 s
// (docs/benchmarks.md). Whoever sets the variables knows better. Before MPI_Init, which reads them.
void SendWithoutAsking() {
  setenv("OMPI_MCA_btl_tcp_flags", "1", /*overwrite=*/0);  // "send"
  setenv("OMPI_MCA_btl_tcp_max_send_size", "1048576", /*overwrite=*/0);
}

// More ranks on this host than cores for them?
absl::StatusOr<bool> RanksShareCores() {
  MPI_Comm host = MPI_COMM_NULL;
  int ranks = 1;
  DS_RETURN_IF_MPI_ERROR(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  MPI_Comm_size(host, &ranks);
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_free(&host));
  return ranks > AvailableCores();
}

// Over TCP Open MPI writes to the socket of a peer that is gone; by default that would kill this
// process too, without a word.
void IgnoreBrokenPipes() {
  struct sigaction action = {};
  if (sigaction(SIGPIPE, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace

absl::StatusOr<std::shared_ptr<MpiContext>> MpiContext::Create(absl::Duration timeout) {
  static std::mutex mutex;
  static std::weak_ptr<MpiContext> current;
  std::lock_guard lock(mutex);
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
    status = AwaitMpiRequests(absl::MakeSpan(&request, 1), {}, absl::Now() + timeout_,
                              /*eager=*/false, rank, "the other ranks to end")
                 .status();
  }
  if (status.ok()) {
    MPI_Finalize();
  } else {
    Log(LogLevel::kError, status.message());
  }
}

void MpiContext::Break(const absl::Status& error) {
  std::lock_guard lock(mutex_);
  if (broken_.ok()) broken_ = error;
}

absl::Status MpiContext::broken() const {
  std::lock_guard lock(mutex_);
  return broken_;
}

absl::StatusOr<int> AwaitMpiRequests(absl::Span<MPI_Request> requests,
                                     absl::Span<MPI_Status> statuses, absl::Time deadline,
                                     bool eager, int rank, absl::string_view what) {
  const absl::Time start = absl::Now();
  MPI_Status* const into = statuses.empty() ? MPI_STATUSES_IGNORE : statuses.data();
  while (true) {
    int done = 0;
    const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, into);
    if (code != MPI_SUCCESS || done != 0) return code;
    eager = eager && absl::Now() < start + kEagerTime;
    if (eager) continue;
    const timespec pause = absl::ToTimespec(
        std::clamp((absl::Now() - start) / kSleepShare, kShortestSleep, kLongestSleep));
    nanosleep(&pause, nullptr);
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          "rank ", rank, " waited ",
          absl::FormatDuration(
              absl::Trunc(absl::Now() - start + absl::Milliseconds(50), absl::Milliseconds(100))),
          " for ", what,
          "; one of them is gone or stuck (raise comm.timeout_s if it is merely slow)"));
    }
  }
}

}  // namespace ds
