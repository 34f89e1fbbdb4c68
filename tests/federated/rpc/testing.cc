#include "tests/federated/rpc/testing.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/hash/sha256.h"
#include "base/random.h"
#include "base/status.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"

namespace ds::federated {

class FakeService::Listening : public Subscription {
 public:
  explicit Listening(FakeService& service) : service_(service) {}
  ~Listening() override {
    MutexLock lock(service_.mutex_);
    service_.listening_.erase(this);
  }

 private:
  FakeService& service_;
};

absl::Status FakeService::Note(const Caller& caller, const std::string& method) {
  {
    MutexLock lock(mutex_);
    calls_.push_back(absl::StrCat(caller.site, " ", method));
    last_caller_ = caller;
  }
  return interfere ? interfere(method) : absl::OkStatus();
}

absl::StatusOr<HelloReply> FakeService::Hello(const Caller& caller, const HelloRequest& request) {
  DS_RETURN_IF_ERROR(Note(caller, "Hello"));
  HelloReply reply{.program = "fake", .clock_ms = request.clock_ms};
  reply.offer = {.run = "run-1", .name = "test", .task = "model: none\n"};
  reply.offer.model = Sha256Hex("model");
  return reply;
}

absl::StatusOr<JoinReply> FakeService::Join(const Caller& caller, const JoinRequest& request) {
  DS_RETURN_IF_ERROR(Note(caller, "Join"));
  return JoinReply{.samples_reference = request.samples, .maximum_sites = 8};
}

absl::StatusOr<std::unique_ptr<Subscription>> FakeService::Watch(
    const Caller& caller, std::function<void(const Situation&)> changed) {
  DS_RETURN_IF_ERROR(Note(caller, "Watch"));
  auto listening = std::make_unique<Listening>(*this);
  MutexLock lock(mutex_);
  changed(situation_);
  listening_.emplace(listening.get(), std::move(changed));
  return listening;
}

absl::StatusOr<CommitReply> FakeService::Commit(const Caller& caller,
                                                const CommitRequest& request) {
  DS_RETURN_IF_ERROR(Note(caller, "Commit"));
  return CommitReply{.counted = true, .reason = absl::StrCat("round ", request.round)};
}

absl::StatusOr<SecureReply> FakeService::Secure(const Caller& caller,
                                                const SecureRequest& request) {
  DS_RETURN_IF_ERROR(Note(caller, "Secure"));
  MutexLock lock(mutex_);
  last_secure_ = request;
  return SecureReply{};
}

absl::StatusOr<int64_t> FakeService::UploadStatus(const Caller& caller, const std::string& digest,
                                                  int64_t size) {
  DS_RETURN_IF_ERROR(Note(caller, "UploadStatus"));
  MutexLock lock(mutex_);
  if (store->Has(digest)) return size;
  const auto found = writers_.find(digest);
  return found == writers_.end() ? 0 : found->second->received();
}

absl::Status FakeService::Upload(const Caller& caller, const std::string& digest, int64_t size,
                                 int64_t offset, absl::Span<const std::byte> bytes) {
  DS_RETURN_IF_ERROR(Note(caller, "Upload"));
  uploaded += static_cast<int64_t>(bytes.size());
  MutexLock lock(mutex_);
  if (store->Has(digest)) return absl::OkStatus();
  auto& writer = writers_[digest];
  if (writer == nullptr) {
    DS_ASSIGN_OR_RETURN(writer, store->Write(digest, size));
  }
  DS_RETURN_IF_ERROR(writer->Write(offset, bytes));
  if (writer->received() < size) return absl::OkStatus();
  const absl::Status finished = writer->Finish();
  writers_.erase(digest);
  return finished;
}

absl::StatusOr<std::shared_ptr<BlobReader>> FakeService::Download(const Caller& caller,
                                                                  const std::string& digest) {
  DS_RETURN_IF_ERROR(Note(caller, "Download"));
  return store->Read(digest);
}

void FakeService::Say(const Situation& situation) {
  MutexLock lock(mutex_);
  situation_ = situation;
  for (const auto& [key, changed] : listening_) changed(situation);
}

int FakeService::subscribers() const {
  MutexLock lock(mutex_);
  return static_cast<int>(listening_.size());
}

std::vector<std::string> FakeService::calls() const {
  MutexLock lock(mutex_);
  return calls_;
}

Caller FakeService::last_caller() const {
  MutexLock lock(mutex_);
  return last_caller_;
}

SecureRequest FakeService::last_secure() const {
  MutexLock lock(mutex_);
  return last_secure_;
}

Federation::Federation(const AuthorityOptions& options)
    : authority_(*Authority::Make(folder_.File("authority"), "test", options)) {
  const absl::Status made = authority_->IssueServer("aggregator", {"127.0.0.1", "localhost"});
  DS_CHECK(made.ok()) << made;
  revoked_ = *RevocationList::Open(RevocationFile(folder_.File("authority")));
}

std::shared_ptr<const TlsIdentity> Federation::Identity(const std::string& site,
                                                        const std::string& role) {
  const std::string key = *MakeKey();
  const auto token = authority_->IssueToken(site, role, absl::Hours(1));
  DS_CHECK(token.ok()) << token.status();
  const auto reply = authority_->Enrol({*token, *MakeSigningRequest(key, site, role)});
  DS_CHECK(reply.ok()) << reply.status();
  return std::make_shared<TlsIdentity>(TlsIdentity{reply->certificates, key, reply->authority});
}

std::shared_ptr<const TlsIdentity> Federation::Stranger() {
  return std::make_shared<TlsIdentity>(TlsIdentity{.authority = authority_->certificate()});
}

std::string Federation::SerialOf(const TlsIdentity& identity) {
  return ReadCertificate(identity.certificates)->serial;
}

ServeOptions Federation::Serving() {
  const std::string file = ServerFile(folder_.File("authority"));
  return {.address = "127.0.0.1:0",
          .tls = {.certificates = file, .key = file, .authority = file},
          .revoked = [this](const std::string& serial) { return revoked_->IsRevoked(serial); }};
}

ConnectOptions Federation::Connecting(int port, std::shared_ptr<const TlsIdentity> identity) {
  return {.address = absl::StrCat("127.0.0.1:", port),
          .identity = [identity = std::move(identity)] { return identity; },
          .patience = absl::Seconds(20)};
}

std::string RandomBytes(int64_t size, uint64_t seed) {
  std::string bytes(static_cast<size_t>(size), '\0');
  CounterRandom random(seed, 0, 0);
  for (char& byte : bytes) byte = static_cast<char>(random.NextBelow(256));
  return bytes;
}

std::shared_ptr<BlobReader> ReaderOf(const std::string& bytes) {
  return SpanReader({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

int64_t PeakResidentBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace ds::federated
