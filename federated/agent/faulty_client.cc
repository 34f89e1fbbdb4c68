#include "federated/agent/faulty_client.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace ds::federated {
namespace {

absl::Status Lost(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("the ", what, " was lost (an injected fault)"));
}

// Ends before the end.
class CutReader final : public BlobReader {
 public:
  CutReader(const BlobReader& whole, int64_t readable) : whole_(whole), readable_(readable) {}
  int64_t size() const override { return whole_.size(); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    if (offset + static_cast<int64_t>(out.size()) > readable_) return Lost("rest of an upload");
    return whole_.Read(offset, out);
  }

 private:
  const BlobReader& whole_;
  const int64_t readable_;
};

}  // namespace

FaultyClient::FaultyClient(FederationClient& client, const LinkFaults& faults)
    : client_(client), faults_(faults), random_(faults.seed) {}

bool FaultyClient::Happens(double share) { return random_.NextDouble() < share; }

FaultyClient::Fate FaultyClient::Draw() {
  Fate fate;
  absl::Duration delay;
  {
    MutexLock lock(mutex_);
    fate.lose_request = Happens(faults_.lose_request);
    fate.lose_reply = Happens(faults_.lose_reply);
    fate.duplicate = Happens(faults_.duplicate);
    if (Happens(faults_.delay)) delay = faults_.longest_delay * random_.NextDouble();
  }
  absl::SleepFor(delay);
  return fate;
}

template <typename Call>
auto FaultyClient::Send(const Call& call) -> decltype(call()) {
  const Fate fate = Draw();
  if (fate.lose_request) return Lost("request");
  auto reply = call();
  if (fate.duplicate) call().status().IgnoreError();
  if (fate.lose_reply) return Lost("reply");
  return reply;
}

void FaultyClient::ReplayAnEarlierCall() {
  std::optional<CommitRequest> commit;
  std::optional<SecureRequest> secure;
  {
    MutexLock lock(mutex_);
    if (!Happens(faults_.replay)) return;
    const size_t calls = commits_.size() + secures_.size();
    if (calls == 0) return;
    const size_t which = random_.NextBelow(static_cast<uint32_t>(calls));
    if (which < commits_.size()) {
      commit = commits_[which];
    } else {
      secure = secures_[which - commits_.size()];
    }
  }
  if (commit.has_value()) client_.Commit(*commit).status().IgnoreError();
  if (secure.has_value()) client_.Secure(*secure).status().IgnoreError();
}

absl::StatusOr<HelloReply> FaultyClient::Hello(const HelloRequest& request) {
  return Send([&] { return client_.Hello(request); });
}

absl::StatusOr<JoinReply> FaultyClient::Join(const JoinRequest& request) {
  return Send([&] { return client_.Join(request); });
}

absl::StatusOr<Situation> FaultyClient::Next(uint64_t known, absl::Duration patience) {
  if (Draw().lose_reply) return Lost("watch");
  return client_.Next(known, patience);
}

absl::StatusOr<CommitReply> FaultyClient::Commit(const CommitRequest& request) {
  ReplayAnEarlierCall();
  {
    MutexLock lock(mutex_);
    commits_.push_back(request);
  }
  return Send([&] { return client_.Commit(request); });
}

absl::StatusOr<SecureReply> FaultyClient::Secure(const SecureRequest& request) {
  ReplayAnEarlierCall();
  {
    MutexLock lock(mutex_);
    secures_.push_back(request);
  }
  return Send([&] { return client_.Secure(request); });
}

absl::Status FaultyClient::Upload(const std::string& digest, const BlobReader& blob) {
  const Fate fate = Draw();
  if (fate.lose_request) return Lost("request");
  std::optional<int64_t> cut;
  {
    MutexLock lock(mutex_);
    if (Happens(faults_.cut_upload))
      cut = static_cast<int64_t>(random_.NextDouble() * static_cast<double>(blob.size()));
  }
  if (cut.has_value()) return client_.Upload(digest, CutReader(blob, *cut));
  const absl::Status sent = client_.Upload(digest, blob);
  if (fate.duplicate) client_.Upload(digest, blob).IgnoreError();  // the first one's result counts
  return fate.lose_reply ? Lost("reply") : sent;
}

absl::Status FaultyClient::Download(const std::string& digest, BlobWriter& into) {
  if (Draw().lose_request) return Lost("request");
  return client_.Download(digest, into);
}

absl::StatusOr<int64_t> FaultyClient::DownloadSize(const std::string& digest) {
  return Send([&] { return client_.DownloadSize(digest); });
}

}  // namespace ds::federated
