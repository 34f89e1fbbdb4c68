#include "comm/mpi/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "comm/exchange_collectives.h"
#include "comm/mpi/mpi_context.h"
#include "comm/mpi/mpi_errors.h"

namespace ds {
namespace {

constexpr int kTag = 1;
constexpr size_t kMaxMessageBytes = size_t{1} << 30;  // MPI counts are int

class MpiCommunicator final : public ExchangeCollectives {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(std::shared_ptr<MpiContext> context, MPI_Comm parent,
                                                              absl::Duration timeout) {
    DS_RETURN_IF_ERROR(context->broken());
    absl::StatusOr<MPI_Comm> comm = Copy(parent, absl::Now() + timeout);
    if (!comm.ok()) context->Break(comm.status());
    DS_RETURN_IF_ERROR(comm.status());
    auto made = std::unique_ptr<MpiCommunicator>(new MpiCommunicator(std::move(context), *comm));
    made->set_timeout(timeout);
    return made;
  }

  ~MpiCommunicator() override {
    // Freeing is collective: with a failed peer it could wait for ever.
    if (context_->broken().ok()) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::string_view backend() const override { return "mpi"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    DS_RETURN_IF_ERROR(broken());
    return Create(context_, comm_, timeout());
  }

 protected:
  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive, absl::Time deadline) override {
    DS_RETURN_IF_ERROR(context_->broken());
    absl::Status status = Start(send, receive);
    if (status.ok()) status = Wait(deadline);
    if (!status.ok()) Abandon(status);
    return status;
  }

 private:
  MpiCommunicator(std::shared_ptr<MpiContext> context, MPI_Comm comm) : context_(std::move(context)), comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }

  static absl::StatusOr<MPI_Comm> Copy(MPI_Comm parent, absl::Time deadline) {
    int rank = 0;
    MPI_Comm_rank(parent, &rank);
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_idup(parent, &comm, &request));
    DS_ASSIGN_OR_RETURN(const int code, AwaitMpiRequests(absl::MakeSpan(&request, 1), {}, deadline, rank, "the other ranks"));
    DS_RETURN_IF_ERROR(MpiStatus(code, "MPI_Comm_idup"));
    DS_RETURN_IF_MPI_ERROR(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    return comm;
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

  // The caller's buffers are its own again after an error: no late message may be written into them. Cancelling stops what has not
  // begun to arrive; the rest stands still, since a broken context makes no call in which it could go on.
  void Abandon(const absl::Status& error) {
    context_->Break(error);
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
    DS_ASSIGN_OR_RETURN(const int code,
                        AwaitMpiRequests(absl::MakeSpan(requests_), absl::MakeSpan(statuses_), deadline, rank_, "the other ranks"));
    return CheckStatuses(code);
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

absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(absl::Duration timeout) {
  DS_ASSIGN_OR_RETURN(std::shared_ptr<MpiContext> context, MpiContext::Create(timeout));
  return MpiCommunicator::Create(std::move(context), MPI_COMM_WORLD, timeout);
}

void AbortMpiJob(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace ds
