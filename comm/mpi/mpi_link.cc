#include "comm/mpi/mpi_link.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/mpi/mpi_errors.h"

namespace ds {
namespace {

constexpr int kTag = 1;
constexpr size_t kMaxMessageBytes = size_t{1} << 30;  // MPI counts are int

}  // namespace

absl::StatusOr<std::shared_ptr<MpiLink>> MpiLink::Create(std::shared_ptr<MpiContext> context,
                                                         MPI_Comm parent, Deadline deadline) {
  std::shared_ptr<MpiLink> link(new MpiLink(std::move(context)));
  MPI_Comm_rank(parent, &link->rank_);
  MPI_Comm_size(parent, &link->size_);
  MPI_Request request = MPI_REQUEST_NULL;
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_idup(parent, &link->comm_, &request));
  DS_ASSIGN_OR_RETURN(const int code,
                      AwaitMpiRequests(absl::MakeSpan(&request, 1), {},
                                       {.deadline = deadline,
                                        .eager = !link->context_->ranks_share_cores(),
                                        .rank = link->rank_}));
  DS_RETURN_IF_ERROR(MpiStatus(code, "MPI_Comm_idup"));
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_set_errhandler(link->comm_, MPI_ERRORS_RETURN));
  return link;
}

absl::StatusOr<std::shared_ptr<MpiLink>> MpiLink::Split(std::shared_ptr<MpiContext> context,
                                                        MPI_Comm parent, int color, int key) {
  std::shared_ptr<MpiLink> link(new MpiLink(std::move(context)));
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_split(parent, color, key, &link->comm_));
  if (link->comm_ == MPI_COMM_NULL) return nullptr;
  DS_RETURN_IF_MPI_ERROR(MPI_Comm_set_errhandler(link->comm_, MPI_ERRORS_RETURN));
  MPI_Comm_rank(link->comm_, &link->rank_);
  MPI_Comm_size(link->comm_, &link->size_);
  return link;
}

void MpiLink::Free() {
  // With a failed peer it could wait for ever.
  if (context_->broken().ok()) MPI_Comm_free(&comm_);
}

absl::Status MpiLink::Transfer(const std::vector<absl::Span<const std::byte>>& send,
                               const std::vector<absl::Span<std::byte>>& receive,
                               Deadline deadline) {
  absl::Status status = Start(send, receive);
  if (status.ok()) {
    statuses_.resize(requests_.size());
    const absl::StatusOr<int> code =
        AwaitMpiRequests(absl::MakeSpan(requests_), absl::MakeSpan(statuses_),
                         {.deadline = deadline,
                          .eager = !context_->ranks_share_cores(),
                          .rank = rank_,
                          .peers = peers_});
    status = code.ok() ? CheckStatuses(*code) : code.status();
  }
  if (!status.ok()) Abandon(status);
  return status;
}

absl::Status MpiLink::Start(const std::vector<absl::Span<const std::byte>>& send,
                            const std::vector<absl::Span<std::byte>>& receive) {
  requests_.clear();
  expected_.clear();
  peers_.clear();
  // Receives first, so that messages find their place; peers in rotated order, so that not all aim
  // at rank 0.
  for (int step = 1; step < size_; ++step) {
    const int peer = (rank_ - step + size_) % size_;
    const absl::Span<std::byte> bytes = receive[static_cast<size_t>(peer)];
    for (size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
      const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes.size() - at));
      requests_.push_back(MPI_REQUEST_NULL);
      expected_.push_back(count);
      peers_.push_back(peer);
      DS_RETURN_IF_MPI_ERROR(
          MPI_Irecv(bytes.data() + at, count, MPI_BYTE, peer, kTag, comm_, &requests_.back()));
    }
  }
  for (int step = 1; step < size_; ++step) {
    const int peer = (rank_ + step) % size_;
    const absl::Span<const std::byte> bytes = send[static_cast<size_t>(peer)];
    for (size_t at = 0; at < bytes.size(); at += kMaxMessageBytes) {
      const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes.size() - at));
      requests_.push_back(MPI_REQUEST_NULL);
      peers_.push_back(peer);
      DS_RETURN_IF_MPI_ERROR(
          MPI_Isend(bytes.data() + at, count, MPI_BYTE, peer, kTag, comm_, &requests_.back()));
    }
  }
  return absl::OkStatus();
}

// The status of the first operation that failed, or of a message shorter than its buffer.
absl::Status MpiLink::CheckStatuses(int code) {
  for (size_t i = 0; i < statuses_.size(); ++i) {
    if (code == MPI_ERR_IN_STATUS && statuses_[i].MPI_ERROR != MPI_SUCCESS &&
        statuses_[i].MPI_ERROR != MPI_ERR_PENDING) {
      return MpiStatus(statuses_[i].MPI_ERROR, "MPI_Testall");
    }
    int count = 0;
    if (code == MPI_SUCCESS && i < expected_.size()) {
      MPI_Get_count(&statuses_[i], MPI_BYTE, &count);
      if (count != expected_[i]) {
        return absl::InvalidArgumentError(absl::StrCat("rank ", statuses_[i].MPI_SOURCE, " sent ",
                                                       count, " bytes, rank ", rank_, " expected ",
                                                       expected_[i]));
      }
    }
  }
  return MpiStatus(code, "MPI_Testall");
}

// The caller's buffers are its own again after an error: no late message may be written into them.
// Cancelling stops what has not begun to arrive; the rest stands still, since a broken context
// makes no call in which it could go on.
void MpiLink::Abandon(const absl::Status& error) {
  context_->Break(error);
  for (MPI_Request& request : requests_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
}

}  // namespace ds
