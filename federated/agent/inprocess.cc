#include "federated/agent/inprocess.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"

namespace ds::federated {

// Outlives the client where the service still holds the callback.
struct InProcessClient::Mailbox {
  Mutex mutex;
  CondVar changed;
  std::optional<Situation> newest ABSL_GUARDED_BY(mutex);
};

InProcessClient::InProcessClient(FederationService& service, Caller caller, int64_t chunk_bytes)
    : service_(service), caller_(std::move(caller)), chunk_bytes_(chunk_bytes) {
  DS_CHECK(chunk_bytes > 0);
}

InProcessClient::~InProcessClient() = default;

absl::StatusOr<HelloReply> InProcessClient::Hello(const HelloRequest& request) {
  return service_.Hello(caller_, request);
}

absl::StatusOr<JoinReply> InProcessClient::Join(const JoinRequest& request) {
  return service_.Join(caller_, request);
}

absl::StatusOr<std::shared_ptr<InProcessClient::Mailbox>> InProcessClient::Watched() {
  MutexLock lock(mutex_);
  if (mailbox_ != nullptr) return mailbox_;
  auto mailbox = std::make_shared<Mailbox>();
  DS_ASSIGN_OR_RETURN(subscription_, service_.Watch(caller_, [mailbox](const Situation& situation) {
    MutexLock inner(mailbox->mutex);
    mailbox->newest = situation;
    mailbox->changed.NotifyAll();
  }));
  mailbox_ = mailbox;
  return mailbox;
}

absl::StatusOr<Situation> InProcessClient::Next(uint64_t known, absl::Duration patience) {
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<Mailbox> mailbox, Watched());
  const Deadline deadline = Deadline::In(patience);
  MutexLock lock(mailbox->mutex);
  while (true) {
    if (mailbox->newest.has_value() && mailbox->newest->number > known) return *mailbox->newest;
    if (deadline.IsPast())
      return absl::DeadlineExceededError(absl::StrCat("no situation after number ", known,
                                                      " within ", absl::FormatDuration(patience)));
    mailbox->changed.WaitUntil(mailbox->mutex, deadline.Moment());
  }
}

absl::StatusOr<CommitReply> InProcessClient::Commit(const CommitRequest& request) {
  return service_.Commit(caller_, request);
}

absl::StatusOr<SecureReply> InProcessClient::Secure(const SecureRequest& request) {
  return service_.Secure(caller_, request);
}

absl::Status InProcessClient::UploadFrom(const std::string& digest, const BlobReader& blob,
                                         int64_t offset) {
  std::vector<std::byte> chunk;
  do {  // an empty blob is one empty chunk
    chunk.resize(static_cast<size_t>(std::min(chunk_bytes_, blob.size() - offset)));
    DS_RETURN_IF_ERROR(blob.Read(offset, absl::MakeSpan(chunk)));
    DS_RETURN_IF_ERROR(service_.Upload(caller_, digest, blob.size(), offset, chunk));
    offset += static_cast<int64_t>(chunk.size());
  } while (offset < blob.size());
  return absl::OkStatus();
}

absl::Status InProcessClient::Upload(const std::string& digest, const BlobReader& blob) {
  DS_ASSIGN_OR_RETURN(const int64_t there, service_.UploadStatus(caller_, digest, blob.size()));
  if (there >= blob.size() && blob.size() > 0) return absl::OkStatus();
  const absl::Status sent = UploadFrom(digest, blob, there);
  // What lay there was not this blob's beginning.
  return absl::IsDataLoss(sent) && there > 0 ? UploadFrom(digest, blob, 0) : sent;
}

absl::Status InProcessClient::Download(const std::string& digest, BlobWriter& into) {
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<BlobReader> blob, service_.Download(caller_, digest));
  std::vector<std::byte> chunk;
  for (int64_t offset = into.received(); offset < blob->size();) {
    chunk.resize(static_cast<size_t>(std::min(chunk_bytes_, blob->size() - offset)));
    DS_RETURN_IF_ERROR(blob->Read(offset, absl::MakeSpan(chunk)));
    DS_RETURN_IF_ERROR(into.Write(offset, chunk));
    offset += static_cast<int64_t>(chunk.size());
  }
  return into.Finish();
}

absl::StatusOr<int64_t> InProcessClient::DownloadSize(const std::string& digest) {
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<BlobReader> blob, service_.Download(caller_, digest));
  return blob->size();
}

}  // namespace ds::federated
