// What the federation's port costs above gRPC itself: uploads of MEGABYTES over TLS on the
// loopback, client and server a process each, through Upload (chunks, acknowledgements, budget)
// and, by turns, through a bare gRPC stream of messages of the same size, which are read and
// forgotten; then uploads into a store of files (SHA-256, disk), downloads, and how long an empty
// call and a situation take.
//
//   federated_ingest_bench [MEGABYTES=256] [REPEATS=5]
//
// Prints medians. `ratio` is Upload over the bare stream.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hash/sha256.h"
#include "base/median.h"
#include "base/mutex.h"
#include "base/status.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"
#include "federated/rpc/client.h"
#include "federated/rpc/client_call.h"
#include "federated/rpc/server.h"
#include "federated/store/store.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/grpcpp.h"

namespace ds::federated {
namespace {

constexpr int64_t kMessageBytes = 1 << 20;
constexpr int kCalls = 2000;

template <typename T>
T Must(absl::StatusOr<T> value) {
  DS_CHECK(value.ok()) << value.status();
  return *std::move(value);
}
void Must(const absl::Status& status) { DS_CHECK(status.ok()) << status; }

// Forgets uploads, or stores them where their size is odd.
class Sink : public FederationService {
 public:
  explicit Sink(const std::string& folder) : store_(Must(OpenFileStore(folder))) {}

  absl::StatusOr<HelloReply> Hello(const Caller&, const HelloRequest&) override {
    return absl::UnimplementedError("");
  }
  // Tells those who watch what time it is.
  absl::StatusOr<JoinReply> Join(const Caller&, const JoinRequest& request) override {
    if (request.version == 0) return JoinReply{};
    MutexLock lock(mutex_);
    if (changed_) changed_({.number = ++number_, .reason = absl::StrCat(SteadyMicros())});
    return JoinReply{};
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller&, std::function<void(const Situation&)> changed) override {
    MutexLock lock(mutex_);
    changed_ = std::move(changed);
    changed_({.number = ++number_});
    return std::make_unique<Subscription>();
  }
  absl::StatusOr<CommitReply> Commit(const Caller&, const CommitRequest&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<SecureReply> Secure(const Caller&, const SecureRequest&) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<int64_t> UploadStatus(const Caller&, const std::string&, int64_t) override {
    return 0;
  }
  absl::Status Upload(const Caller&, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override {
    if (size % 2 == 0) return absl::OkStatus();
    if (offset == 0) writer_ = Must(store_->Write(digest, size));
    DS_RETURN_IF_ERROR(writer_->Write(offset, bytes));
    return writer_->received() < size ? absl::OkStatus() : writer_->Finish();
  }
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller&,
                                                       const std::string& digest) override {
    return store_->Read(digest);
  }

 private:
  Mutex mutex_;
  std::function<void(const Situation&)> changed_ ABSL_GUARDED_BY(mutex_);
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobWriter> writer_;
};

// Reads all messages, then answers with an empty one.
class BareService : public grpc::CallbackGenericService {
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    Reactor() { StartRead(&message_); }
    void OnReadDone(bool ok) override {
      if (ok) return StartRead(&message_);
      const grpc::Slice nothing;
      message_ = grpc::ByteBuffer(&nothing, 1);
      StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    grpc::ByteBuffer message_;
  };
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Reactor;
  }
};

std::shared_ptr<grpc::ServerCredentials> BareCredentials(const Credentials& credentials) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = credentials.authority;
  options.pem_key_cert_pairs.push_back({credentials.key, credentials.certificate});
  return grpc::SslServerCredentials(options);
}

// The child: both servers, until the parent closes its end; their ports go up `out`.
void Serve(const std::string& folder, int in, int out) {
  Sink sink(folder + "/store");
  const std::string file = ServerFile(folder + "/authority");
  const auto server =
      Must(ServeFederation({.address = "127.0.0.1:0", .tls = {file, file, file}}, sink, nullptr));
  BareService bare;
  grpc::ServerBuilder builder;
  int ports[2] = {server->port(), 0};
  builder.AddListeningPort("127.0.0.1:0", BareCredentials(Must(ReadCredentials(file))), &ports[1]);
  builder.SetMaxReceiveMessageSize(4 << 20);
  builder.RegisterCallbackGenericService(&bare);
  const auto bare_server = builder.BuildAndStart();
  DS_CHECK(::write(out, ports, sizeof(ports)) == sizeof(ports));
  char end;
  while (::read(in, &end, 1) > 0) {
  }
  bare_server->Shutdown();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("%-34s %10.1f MiB\n", "server's peak RSS", usage.ru_maxrss / 1024.0);
}

class Client {
 public:
  Client(std::shared_ptr<const TlsIdentity> identity, const int (&ports)[2])
      : client_(Must(ConnectFederation({.address = absl::StrCat("127.0.0.1:", ports[0]),
                                        .identity = [identity] { return identity; }}))) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = identity->authority;
    tls.pem_private_key = identity->key;
    tls.pem_cert_chain = identity->certificates;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(4 << 20);
    bare_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", ports[1]),
                                      grpc::SslCredentials(tls), arguments);
  }

  double Upload(absl::Span<const std::byte> bytes, const std::string& digest) {
    const double began = SteadySeconds();
    Must(client_->Upload(digest, *SpanReader(bytes)));
    return SteadySeconds() - began;
  }

  double Download(int64_t size, const std::string& digest) {
    const auto store = MemoryStore();
    const auto writer = Must(store->Write(digest, size));
    const double began = SteadySeconds();
    Must(client_->Download(digest, *writer));
    return SteadySeconds() - began;
  }

  double Bare(absl::Span<const std::byte> bytes) {
    const double began = SteadySeconds();
    StreamCall call(bare_, "Bare", {.stall = absl::Seconds(60)});
    call.Start();
    call.Next();
    for (size_t at = 0; at < bytes.size(); at += kMessageBytes) {
      const size_t count = std::min<size_t>(kMessageBytes, bytes.size() - at);
      const grpc::Slice slice(bytes.data() + at, count);
      call.Write(grpc::ByteBuffer(&slice, 1));
      call.Next();
    }
    call.WritesDone();
    call.Next();
    call.Read();
    call.Next();
    Must(call.Finish());
    return SteadySeconds() - began;
  }

  double Empty() {
    const double began = SteadySeconds();
    Must(client_->Join({.run = "r", .version = 0}).status());
    return (SteadySeconds() - began) * 1e6;
  }

  double BareEmpty() {
    const double began = SteadySeconds();
    Must(UnaryCallTo(bare_, "Bare", "", {.stall = absl::Seconds(60)}).status());
    return (SteadySeconds() - began) * 1e6;
  }

  // From the change at the aggregator to Next's return here: one clock for both processes.
  double Situation() {
    if (known_ == 0) known_ = Must(client_->Next(0, absl::Seconds(10))).number;
    Must(client_->Join({.run = "r", .version = 1}).status());
    const auto situation = Must(client_->Next(known_, absl::Seconds(10)));
    const int64_t arrived = SteadyMicros();
    known_ = situation.number;
    int64_t changed = 0;
    DS_CHECK(absl::SimpleAtoi(situation.reason, &changed));
    return static_cast<double>(arrived - changed);
  }

 private:
  std::unique_ptr<RpcClient> client_;
  std::shared_ptr<grpc::Channel> bare_;
  uint64_t known_ = 0;
};

template <typename Measure>
std::vector<double> Times(int count, Measure measure) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) times.push_back(measure());
  return times;
}

void Latency(const char* name, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("%-34s %10.0f us p50 %8.0f us p99\n", name, times[times.size() / 2],
              times[times.size() * 99 / 100]);
}

void Measure(Client& client, int64_t megabytes, int repeats) {
  std::vector<std::byte> bytes(static_cast<size_t>(megabytes) * 1000000 + 1);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>((i * 2654435761u) >> 13);
  const absl::Span<const std::byte> even(bytes.data(), bytes.size() - 1), odd(bytes);
  const std::string digest =
      Sha256Hex(absl::string_view(reinterpret_cast<const char*>(odd.data()), odd.size()));
  std::vector<double> ours, bare, stored, down;
  client.Upload(even, digest);
  client.Bare(even);
  for (int i = 0; i < repeats; ++i) {
    ours.push_back(client.Upload(even, digest));
    bare.push_back(client.Bare(even));
  }
  stored.push_back(client.Upload(odd, digest));
  for (int i = 0; i < repeats; ++i)
    down.push_back(client.Download(static_cast<int64_t>(odd.size()), digest));
  const auto rate = [&](const std::vector<double>& times) { return megabytes / Median(times); };
  std::printf("%-34s %10.0f MB/s\n", "bare gRPC stream over TLS", rate(bare));
  std::printf("%-34s %10.0f MB/s  ratio %.2f\n", "Upload, forgotten", rate(ours),
              rate(ours) / rate(bare));
  std::printf("%-34s %10.0f MB/s\n", "Upload into a store of files", rate(stored));
  std::printf("%-34s %10.0f MB/s\n", "Download from it, into memory", rate(down));
  Latency("empty call", Times(kCalls, [&] { return client.Empty(); }));
  Latency("empty bare gRPC call", Times(kCalls, [&] { return client.BareEmpty(); }));
  Latency("situation, from change to Next", Times(kCalls, [&] { return client.Situation(); }));
}

std::shared_ptr<const TlsIdentity> MakeCertificates(const std::string& folder) {
  const auto authority = Must(Authority::Make(folder + "/authority", "bench"));
  Must(authority->IssueServer("aggregator", {"127.0.0.1"}));
  const std::string key = Must(MakeKey());
  const std::string token = Must(authority->IssueToken("site", "site", absl::Hours(1)));
  const EnrolReply reply =
      Must(authority->Enrol({token, Must(MakeSigningRequest(key, "site", "site"))}));
  return std::make_shared<TlsIdentity>(TlsIdentity{reply.certificates, key, reply.authority});
}

int Run(int64_t megabytes, int repeats) {
  std::string folder = (std::filesystem::temp_directory_path() / "ingest_bench_XXXXXX").string();
  DS_CHECK(::mkdtemp(folder.data()) != nullptr);
  const auto identity = MakeCertificates(folder);
  int up[2], down[2];
  DS_CHECK(::pipe(up) == 0 && ::pipe(down) == 0);
  const pid_t child = ::fork();  // before gRPC has any thread
  if (child == 0) {
    ::close(down[1]);
    Serve(folder, down[0], up[1]);
    std::fflush(stdout);
    ::_exit(0);
  }
  ::close(up[1]);
  int ports[2] = {};
  DS_CHECK(::read(up[0], ports, sizeof(ports)) == sizeof(ports)) << "the server did not start";
  {
    Client client(identity, ports);
    Measure(client, megabytes, repeats);
  }
  std::fflush(stdout);
  ::close(down[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  std::filesystem::remove_all(folder);
  return status;
}

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) {
  int64_t megabytes = 256;
  int repeats = 5;
  if ((argc > 1 && (!absl::SimpleAtoi(argv[1], &megabytes) || megabytes < 1)) ||
      (argc > 2 && (!absl::SimpleAtoi(argv[2], &repeats) || repeats < 1))) {
    std::fprintf(stderr, "usage: %s [MEGABYTES=256] [REPEATS=5]\n", argv[0]);
    return 2;
  }
  return ds::federated::Run(megabytes, repeats);
}
