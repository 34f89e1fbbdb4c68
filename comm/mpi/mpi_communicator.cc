#include "comm/mpi/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/cpu_features.h"
#include "base/status.h"
#include "comm/exchange_collectives.h"
#include "comm/mpi/mpi_errors.h"

namespace ds {
namespace {

constexpr int kTag = 1;
constexpr size_t kMaxMessageBytes = size_t{1} << 30;  // MPI counts are int
// A wait first looks all the time, for latency, then leaves its core to the compute threads; where ranks share cores it sleeps at
// once. A sleep takes 50 us longer than asked for, which is how exactly Linux keeps time for threads that did not ask for more.
constexpr absl::Duration kEagerTime = absl::Microseconds(200);
constexpr long kSleepNs = 10'000;

// Over TCP Open MPI by default asks the receiver before each large piece ("put"); where both directions of a slow link are full, the
// question waits behind the data. Sending in pieces of 1 MiB without asking took an all-reduce of 45 MB at 100 Mbit/s from 7.0 to
// 4.6 s (docs/benchmarks.md). Whoever sets the variables knows better. Before MPI_Init, which reads them.
void SendWithoutAsking() {
  setenv("OMPI_MCA_btl_tcp_flags", "1", /*overwrite=*/0);  // "send"
  setenv("OMPI_MCA_btl_tcp_max_send_size", "1048576", /*overwrite=*/0);
}

// Owns MPI's life: finalises it when the last communicator goes, unless a peer failed (finalising would wait for it).
class MpiContext {
 public:
  static absl::StatusOr<std::shared_ptr<MpiContext>> Create() {
    static std::mutex mutex;
    static std::weak_ptr<MpiContext> current;
    std::lock_guard lock(mutex);
    // All communicators share one context: MPI must not be finalised under any of them.
    if (std::shared_ptr<MpiContext> shared = current.lock()) return shared;
    int initialized = 0, finalized = 0, level = MPI_THREAD_SINGLE;
    MPI_Finalized(&finalized);
    if (finalized != 0) return absl::FailedPreconditionError("MPI has been finalised in this process; it cannot start again");
    MPI_Initialized(&initialized);
    if (initialized == 0) {
      SendWithoutAsking();
      DS_RETURN_IF_MPI_ERROR(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level));
    } else {
      MPI_Query_thread(&level);
    }
    auto context = std::shared_ptr<MpiContext>(new MpiContext(initialized == 0));
    if (level < MPI_THREAD_MULTIPLE) {
      return absl::FailedPreconditionError(
          "this MPI library does not support MPI_THREAD_MULTIPLE, which overlapping exchange with compute needs");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    DS_ASSIGN_OR_RETURN(context->ranks_share_cores_, RanksShareCores());
    current = context;
    return context;
  }

  ~MpiContext() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (owned_ && finalized == 0 && !broken) MPI_Finalize();
  }

  bool ranks_share_cores() const { return ranks_share_cores_; }

  std::atomic<bool> broken = false;

 private:
  explicit MpiContext(bool owned) : owned_(owned) {}

  // More ranks on this host than cores for them?
  static absl::StatusOr<bool> RanksShareCores() {
    MPI_Comm host = MPI_COMM_NULL;
    int ranks = 1;
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
    MPI_Comm_size(host, &ranks);
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_free(&host));
    return ranks > AvailableCores();
  }

  const bool owned_;
  bool ranks_share_cores_ = false;
};

class MpiCommunicator final : public ExchangeCollectives {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(std::shared_ptr<MpiContext> context, MPI_Comm parent,
                                                              absl::Duration timeout) {
    MPI_Comm comm = MPI_COMM_NULL;
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_dup(parent, &comm));
    return Wrap(std::move(context), comm, timeout);
  }

  // Takes `comm`.
  static absl::StatusOr<std::unique_ptr<Communicator>> Wrap(std::shared_ptr<MpiContext> context, MPI_Comm comm,
                                                            absl::Duration timeout) {
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    auto made = std::unique_ptr<MpiCommunicator>(new MpiCommunicator(std::move(context), comm));
    made->set_timeout(timeout);
    return made;
  }

  ~MpiCommunicator() override {
    // Freeing is collective: with a failed peer it could wait for ever.
    if (!context_->broken) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::string_view backend() const override { return "mpi"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override { return Create(context_, comm_, timeout()); }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int color, absl::Span<const int> members) override {
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    MPI_Comm comm = MPI_COMM_NULL;
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_split(comm_, color == kNoGroup ? MPI_UNDEFINED : color, static_cast<int>(place), &comm));
    if (comm == MPI_COMM_NULL) return nullptr;
    return Wrap(context_, comm, timeout());
  }

  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive, absl::Time deadline) override {
    absl::Status status = Start(send, receive);
    if (status.ok()) status = Wait(deadline);
    if (!status.ok()) Abandon();
    return status;
  }

 private:
  MpiCommunicator(std::shared_ptr<MpiContext> context, MPI_Comm comm) : context_(std::move(context)), comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }

  absl::Status Start(absl::Span<const absl::Span<const std::byte>> send,
                     absl::Span<const absl::Span<std::byte>> receive) {
    requests_.clear();
    expected_.clear();
    // Receives first, so that messages find their place; peers in rotated order, so that not all aim at rank 0.
    for (int step = 1; step < size_; ++step) {
      const int peer = (rank_ - step + size_) % size_;
      const absl::Span<std::byte> bytes = receive[static_cast<size_t>(peer)];
      for (size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
        const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes.size() - at));
        requests_.push_back(MPI_REQUEST_NULL);
        expected_.push_back(count);
        DS_RETURN_IF_MPI_ERROR(MPI_Irecv(bytes.data() + at, count, MPI_BYTE, peer, kTag, comm_, &requests_.back()));
      }
    }
    for (int step = 1; step < size_; ++step) {
      const int peer = (rank_ + step) % size_;
      const absl::Span<const std::byte> bytes = send[static_cast<size_t>(peer)];
      for (size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
        const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes.size() - at));
        requests_.push_back(MPI_REQUEST_NULL);
        DS_RETURN_IF_MPI_ERROR(MPI_Isend(bytes.data() + at, count, MPI_BYTE, peer, kTag, comm_, &requests_.back()));
      }
    }
    return absl::OkStatus();
  }

  // The caller's buffers are its own again after an error: no late message may be written into them.
  void Abandon() {
    context_->broken = true;
    for (MPI_Request& request : requests_) {
      if (request == MPI_REQUEST_NULL) continue;
      MPI_Cancel(&request);
      MPI_Request_free(&request);
    }
  }

  // The status of the first operation that failed, or of a message shorter than its buffer.
  absl::Status CheckStatuses(int code) {
    for (size_t i = 0; i < statuses_.size(); ++i) {
      if (code == MPI_ERR_IN_STATUS && statuses_[i].MPI_ERROR != MPI_SUCCESS &&
          statuses_[i].MPI_ERROR != MPI_ERR_PENDING) {
        return MpiStatus(statuses_[i].MPI_ERROR, "MPI_Testall");
      }
      int count = 0;
      if (code == MPI_SUCCESS && i < expected_.size()) {
        MPI_Get_count(&statuses_[i], MPI_BYTE, &count);
        if (count != expected_[i]) {
          return absl::InvalidArgumentError(absl::StrCat("rank ", statuses_[i].MPI_SOURCE, " sent ", count, " bytes, rank ",
                                                         rank_, " expected ", expected_[i]));
        }
      }
    }
    return MpiStatus(code, "MPI_Testall");
  }

  absl::Status Wait(absl::Time deadline) {
    statuses_.resize(requests_.size());
    const absl::Time eager_until = absl::Now() + kEagerTime;
    for (bool eager = !context_->ranks_share_cores();;) {
      int done = 0;
      const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, statuses_.data());
      if (code != MPI_SUCCESS || done != 0) return CheckStatuses(code);
      if (eager && absl::Now() < eager_until) continue;
      eager = false;
      const timespec pause = {0, kSleepNs};
      nanosleep(&pause, nullptr);
      if (absl::Now() > deadline) {
        return absl::DeadlineExceededError(absl::StrCat(
            "rank ", rank_, " waited longer than ", absl::FormatDuration(timeout()),
            " for the other ranks; one of them is gone or stuck (raise comm.timeout_s if it is merely slow)"));
      }
    }
  }

  std::shared_ptr<MpiContext> context_;
  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<MPI_Request> requests_;  // of the current transfer: receives, then sends
  std::vector<MPI_Status> statuses_;
  std::vector<int> expected_;          // bytes of each receive
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator() {
  DS_ASSIGN_OR_RETURN(std::shared_ptr<MpiContext> context, MpiContext::Create());
  return MpiCommunicator::Create(std::move(context), MPI_COMM_WORLD, absl::Minutes(10));
}

void AbortMpiJob(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace ds
