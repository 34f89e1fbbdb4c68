// Callers that hold a certificate and mean harm, or hold none: they are refused and named, memory
// stays bounded, and others finish.
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/hash/sha256.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/channel.h"
#include "federated/rpc/client_call.h"
#include "federated/wire/transfer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/relay.h"
#include "tests/federated/rpc/testing.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using Operation = StreamCall::Operation;

class Hostile : public ::testing::Test {
 protected:
  static Federation& federation() {
    static auto& federation = *new Federation;
    return federation;
  }
  void Serve(const ServeOptions& options) {
    server_ = Must(ServeFederation(options, service_, &federation().authority()));
  }
  ServeOptions Impatient() {
    ServeOptions options = federation().Serving();
    options.stall = absl::Milliseconds(600);
    options.memory_bytes = options.caller_bytes = int64_t{16} << 20;
    return options;
  }
  // gRPC without our client.
  std::shared_ptr<grpc::Channel> Bare(const std::string& site) {
    const auto& options = connecting_.emplace_back(std::make_unique<ConnectOptions>(
        federation().Connecting(server_->port(), federation().Identity(site))));
    return Connection(*options).Get();
  }
  // An honest site's upload and download.
  void ExpectOthersFinish() {
    const std::string blob = RandomBytes(3 << 20, 11);
    const auto client = Must(ConnectFederation(
        federation().Connecting(server_->port(), federation().Identity("honest"))));
    const absl::Status uploaded = client->Upload(Sha256Hex(blob), *ReaderOf(blob));
    EXPECT_TRUE(uploaded.ok()) << uploaded;
    const auto copies = MemoryStore();
    auto writer = Must(copies->Write(Sha256Hex(blob), static_cast<int64_t>(blob.size())));
    const absl::Status downloaded = client->Download(Sha256Hex(blob), *writer);
    EXPECT_TRUE(downloaded.ok()) << downloaded;
  }
  std::string FirstChunk(const std::string& blob, int64_t offset, size_t count) {
    const absl::string_view data =
        absl::string_view(blob).substr(static_cast<size_t>(offset), count);
    return EncodeChunkHead({.digest = Sha256Hex(blob),
                            .size = static_cast<int64_t>(blob.size()),
                            .offset = offset,
                            .data = data}) +
           std::string(data);
  }
  // What an upload of these messages ends with.
  absl::Status Upload(const std::shared_ptr<grpc::Channel>& channel,
                      const std::vector<std::string>& messages) {
    StreamCall call(channel, "Upload", {.stall = absl::Seconds(10)});
    call.Start();
    call.Next();
    call.Read();
    size_t next = 0;
    bool writing = false;
    while (true) {
      if (!writing && next < messages.size()) {
        call.Write(ToBuffer(messages[next++]));
        writing = true;
      }
      const StreamCall::Event event = call.Next();
      if (event.operation == Operation::kNone) return absl::UnavailableError("nothing");
      if (event.operation == Operation::kWrite) writing = false;
      if (event.operation == Operation::kRead) {
        if (!event.ok) return call.Finish();
        call.Read();
      }
    }
  }

  FakeService service_;
  std::unique_ptr<FederationServer> server_;
  std::vector<std::unique_ptr<ConnectOptions>> connecting_;
};

TEST_F(Hostile, MalformedMessagesAreRefusedByName) {
  Serve(federation().Serving());
  const auto channel = Bare("evil");
  const CallOptions options{.stall = absl::Seconds(10)};
  const auto refused = [&](const std::string& method, const std::string& message) {
    return UnaryCallTo(channel, method, message, options).status();
  };
  for (const char* method :
       {"Hello", "Join", "Commit", "Secure", "UploadStatus", "Enrol", "Renew", "Download"}) {
    const absl::Status status = refused(method, "\xff\xff garbage");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << method << ": " << status;
  }
  EXPECT_EQ(refused("NoSuchMethod", "").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(refused("Join", std::string(5 << 20, 'x')).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(UnaryCallTo(channel, "Hello", "", {.version = 99, .stall = absl::Seconds(10)})
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  ExpectOthersFinish();
}

TEST_F(Hostile, HealthIsToldToAnybody) {
  Serve(federation().Serving());
  connecting_.push_back(std::make_unique<ConnectOptions>(
      federation().Connecting(server_->port(), federation().Stranger())));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(Connection(*connecting_.back()).Get());
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", ToBuffer(""), &queue);
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->StartCall();
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(ToString(reply), "\x08\x01") << "SERVING";
}

TEST_F(Hostile, ChunksThatCannotBeAreRefused) {
  Serve(federation().Serving());
  const auto channel = Bare("evil");
  const std::string blob = RandomBytes(4 << 20, 12);
  EXPECT_EQ(Upload(channel, {FirstChunk(blob, 0, 2 << 20)}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Upload(channel, {FirstChunk(blob, 1 << 20, 9)}).code(),
            absl::StatusCode::kInvalidArgument)
      << "a gap";
  EXPECT_EQ(Upload(channel, {EncodeChunkHead({.offset = 0, .data = "x"}) + "x"}).code(),
            absl::StatusCode::kInvalidArgument)
      << "no digest";
  std::string cut = FirstChunk(blob, 0, 1000);
  cut.resize(500);
  EXPECT_EQ(Upload(channel, {cut}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Upload(channel, {FirstChunk(blob, 0, 9), FirstChunk(blob, 5, 9) + "x"}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Upload(channel, {std::string(5 << 20, 'x')}).code(),
            absl::StatusCode::kResourceExhausted);
  ExpectOthersFinish();
}

TEST_F(Hostile, WhoWritesNothingIsEnded) {
  Serve(Impatient());
  const std::string blob = RandomBytes(4 << 20, 13);
  const double began = SteadySeconds();
  StreamCall call(Bare("evil"), "Upload", {.stall = absl::Seconds(10)});
  call.Start();
  call.Next();
  call.Write(ToBuffer(FirstChunk(blob, 0, 1 << 20)));
  call.Next();
  call.Read();
  call.Next();  // the acknowledgement
  call.Read();
  const StreamCall::Event event = call.Next();
  EXPECT_FALSE(event.ok);
  EXPECT_THAT(call.Finish().message(), HasSubstr("no progress"));
  EXPECT_LT(SteadySeconds() - began, kTimesSlower * 3);
  ExpectOthersFinish();
}

TEST_F(Hostile, WhoReadsNothingIsEndedAndHoldsABoundedPart) {
  ServeOptions options = Impatient();
  options.max_calls = 32;
  Serve(options);
  const std::string blob = RandomBytes(32 << 20, 14);
  const std::string digest = Must(
      PutBlob(*service_.store, {reinterpret_cast<const std::byte*>(blob.data()), blob.size()}));
  std::vector<std::unique_ptr<StreamCall>> calls;
  for (int site = 0; site < 2; ++site) {
    const auto channel = Bare("evil" + std::to_string(site));
    for (int i = 0; i < 8; ++i) {
      calls.push_back(std::make_unique<StreamCall>(channel, "Download",
                                                   CallOptions{.stall = absl::Seconds(10)}));
      calls.back()->Start();
      calls.back()->Next();
      calls.back()->Write(ToBuffer(Encode(DownloadRequest{.digest = digest})));
      calls.back()->Next();
    }
  }
  ExpectOthersFinish();
  const double began = SteadySeconds();
  while (server_->open_calls() > 0 && SteadySeconds() - began < 10)
    absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(server_->open_calls(), 0);
  EXPECT_LE(server_->peak_bytes(), options.memory_bytes);
}

TEST_F(Hostile, OneCallerHasSoManyCallsAndNoMore) {
  ServeOptions options = federation().Serving();
  options.max_calls = 4;
  Serve(options);
  const auto channel = Bare("greedy");
  std::vector<std::unique_ptr<StreamCall>> watches;
  for (int i = 0; i < 4; ++i) {
    watches.push_back(
        std::make_unique<StreamCall>(channel, "Watch", CallOptions{.stall = absl::Seconds(10)}));
    watches.back()->Start();
    watches.back()->Next();
  }
  while (server_->open_calls() < 4) absl::SleepFor(absl::Milliseconds(1));
  const absl::Status fifth =
      UnaryCallTo(channel, "Hello", "", {.stall = absl::Seconds(10)}).status();
  EXPECT_EQ(fifth.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(fifth.message(), HasSubstr("site 'greedy' has 4 calls open"));
  ExpectOthersFinish();
}

TEST_F(Hostile, AFloodOfConnectionsIsBoundedAndPasses) {
  ServeOptions options = federation().Serving();
  options.max_connections = 16;
  options.handshake = absl::Milliseconds(400);
  Serve(options);
  std::vector<std::unique_ptr<Descriptor>> flood;
  for (int i = 0; i < 64; ++i)
    flood.push_back(std::make_unique<Descriptor>(ConnectTo(server_->port())));
  ExpectOthersFinish();
}

// What `command` prints, errors too.
std::string OutputOf(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen((command + " 2>&1 </dev/null").c_str(), "r");
  std::array<char, 4096> bytes;
  while (const size_t count = ::fread(bytes.data(), 1, bytes.size(), pipe))
    output.append(bytes.data(), count);
  ::pclose(pipe);
  return output;
}

TEST_F(Hostile, TlsBelow13IsRefused) {
  Serve(federation().Serving());
  const std::string connect =
      absl::StrCat("timeout 10 openssl s_client -alpn h2 -connect 127.0.0.1:", server_->port());
  const std::string newest = OutputOf(connect);
  if (newest.find("not found") != std::string::npos) GTEST_SKIP() << "there is no openssl here";
  EXPECT_THAT(newest, HasSubstr("TLSv1.3"));
  for (const char* version : {" -tls1_2", " -tls1_2 -cipher ALL:@SECLEVEL=0", " -tls1_1"}) {
    const std::string older = OutputOf(connect + version);
    EXPECT_THAT(older, HasSubstr("Cipher is (NONE)")) << version << older;
  }
}

}  // namespace
}  // namespace ds::federated
