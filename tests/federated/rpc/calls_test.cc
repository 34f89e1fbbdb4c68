// Every method over TLS, in one process.
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/hash/sha256.h"
#include "federated/wire/codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/testing.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class Calls : public ::testing::Test {
 protected:
  static Federation& federation() {
    static auto& federation = *new Federation;
    return federation;
  }

  void Serve(const ServeOptions& options) {
    server_ = nullptr;
    server_ = Must(ServeFederation(options, service_, &federation().authority()));
  }
  std::unique_ptr<RpcClient> ClientOf(const std::string& site) {
    return Must(
        ConnectFederation(federation().Connecting(server_->port(), federation().Identity(site))));
  }

  FakeService service_;
  std::unique_ptr<FederationServer> server_;
};

TEST_F(Calls, EveryMethodReachesTheServiceWithItsCaller) {
  Serve(federation().Serving());
  const auto identity = federation().Identity("north");
  const auto client = Must(ConnectFederation(federation().Connecting(server_->port(), identity)));
  const HelloReply hello = Must(client->Hello({.program = "test", .clock_ms = 12}));
  EXPECT_EQ(hello.version, kWireVersion);
  EXPECT_EQ(hello.clock_ms, 12);
  EXPECT_EQ(hello.offer.run, "run-1");
  const Caller caller = service_.last_caller();
  EXPECT_EQ(caller.site, "north");
  EXPECT_EQ(caller.role, "site");
  EXPECT_EQ(caller.serial, federation().SerialOf(*identity));
  EXPECT_THAT(caller.certificate, HasSubstr("BEGIN CERTIFICATE"));

  EXPECT_EQ(Must(client->Join({.run = "run-1", .samples = 7})).samples_reference, 7);
  const std::string digest = Sha256Hex("x");
  const CommitReply reply =
      Must(client->Commit({.run = "run-1", .round = 3, .base_digest = digest, .update = digest}));
  EXPECT_TRUE(reply.counted);
  EXPECT_EQ(reply.reason, "round 3");
  const std::string payload = RandomBytes(3 << 20, 1);
  Must(client->Secure(
      {.run = "run-1", .epoch = 1, .step = SecureStep::kShares, .payload = payload}));
  EXPECT_EQ(service_.last_secure().payload, payload);

  const std::string blob = RandomBytes((5 << 20) + 3, 2);
  ASSERT_TRUE(client->Upload(Sha256Hex(blob), *ReaderOf(blob)).ok());
  EXPECT_EQ(Must(GetBlob(*service_.store, Sha256Hex(blob))), blob);
  EXPECT_EQ(Must(client->DownloadSize(Sha256Hex(blob))), static_cast<int64_t>(blob.size()));
  const auto copies = MemoryStore();
  const auto writer = Must(copies->Write(Sha256Hex(blob), static_cast<int64_t>(blob.size())));
  ASSERT_TRUE(client->Download(Sha256Hex(blob), *writer).ok());
  EXPECT_EQ(Must(GetBlob(*copies, Sha256Hex(blob))), blob);
}

TEST_F(Calls, EmptyBlobsPassToo) {
  Serve(federation().Serving());
  const auto client = ClientOf("north");
  ASSERT_TRUE(client->Upload(Sha256Hex(""), *ReaderOf("")).ok());
  EXPECT_TRUE(service_.store->Has(Sha256Hex("")));
  const auto copies = MemoryStore();
  const auto writer = Must(copies->Write(Sha256Hex(""), 0));
  EXPECT_TRUE(client->Download(Sha256Hex(""), *writer).ok());
}

TEST_F(Calls, WatchBringsTheNewestSituation) {
  Serve(federation().Serving());
  const auto client = ClientOf("north");
  Situation situation{.number = 1, .reason = "first"};
  service_.Say(situation);
  EXPECT_EQ(Must(client->Next(0, absl::Seconds(10))).reason, "first");
  EXPECT_EQ(client->Next(1, absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  for (situation.number = 2; situation.number <= 500; ++situation.number) {
    situation.reason = std::to_string(situation.number);
    service_.Say(situation);
  }
  // Those in between may be left out, the newest never is.
  uint64_t seen = 1;
  while (seen < 500) seen = Must(client->Next(seen, absl::Seconds(10))).number;
  EXPECT_EQ(seen, 500u);
  EXPECT_EQ(service_.subscribers(), 1);
}

TEST_F(Calls, TheServicesErrorsArriveAsTheyAre) {
  Serve(federation().Serving());
  const auto client = ClientOf("north");
  service_.interfere = [](const std::string&) {
    return absl::FailedPreconditionError("round 3 is over, umlaut \xc3\xa4");
  };
  const auto joined = client->Join({.run = "run-1"});
  EXPECT_EQ(joined.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(joined.status().message(), "round 3 is over, umlaut \xc3\xa4");
  EXPECT_EQ(client->Next(0, absl::Seconds(10)).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(client->Upload(Sha256Hex("b"), *ReaderOf("b")).code(),
            absl::StatusCode::kFailedPrecondition);
  service_.interfere = nullptr;
  EXPECT_TRUE(client->Next(77, absl::Seconds(10)).ok());
}

TEST_F(Calls, UnavailableIsTriedAgainUntilThePatienceEnds) {
  Serve(federation().Serving());
  std::atomic<int> left{3};
  service_.interfere = [&](const std::string&) {
    return left-- > 0 ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  EXPECT_TRUE(ClientOf("north")->Join({.run = "run-1"}).ok());
  left = 1 << 30;
  ConnectOptions options = federation().Connecting(server_->port(), federation().Identity("south"));
  options.patience = absl::Milliseconds(300);
  const double began = SteadySeconds();
  const auto joined = Must(ConnectFederation(options))->Join({.run = "run-1"});
  EXPECT_EQ(joined.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(joined.status().message(), HasSubstr("busy"));
  EXPECT_LT(SteadySeconds() - began, kTimesSlower * 5);
  service_.interfere = nullptr;
}

TEST_F(Calls, AClientOutlivesItsServersRestart) {
  Serve(federation().Serving());
  const int port = server_->port();
  const auto client = ClientOf("north");
  service_.Say({.number = 1});
  EXPECT_EQ(Must(client->Next(0, absl::Seconds(10))).number, 1u);
  server_ = nullptr;
  EXPECT_EQ(service_.subscribers(), 0);
  std::thread later([&] {
    absl::SleepFor(absl::Milliseconds(300));
    ServeOptions options = federation().Serving();
    options.address = absl::StrCat("127.0.0.1:", port);
    service_.Say({.number = 2});
    server_ = Must(ServeFederation(options, service_, nullptr));
  });
  const double began = SteadySeconds();
  EXPECT_TRUE(client->Join({.run = "run-1"}).ok());
  EXPECT_EQ(Must(client->Next(1, absl::Seconds(10))).number, 2u);
  EXPECT_LT(SteadySeconds() - began, kTimesSlower * 4);
  later.join();
}

TEST_F(Calls, WhoHasNoCertificateMayOnlyEnrol) {
  Serve(federation().Serving());
  const auto client =
      Must(ConnectFederation(federation().Connecting(server_->port(), federation().Stranger())));
  EXPECT_EQ(client->Hello({}).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client->Next(0, absl::Seconds(10)).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client->Upload(Sha256Hex("b"), *ReaderOf("b")).code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client->Renew({.signing_request = "x"}).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client->Enrol({.token = "t", .signing_request = "x"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(service_.calls().empty());
}

TEST_F(Calls, AnOperatorMayNotTrain) {
  Serve(federation().Serving());
  const auto client = Must(ConnectFederation(
      federation().Connecting(server_->port(), federation().Identity("boss", "operator"))));
  EXPECT_TRUE(client->Hello({}).ok());
  const auto joined = client->Join({.run = "run-1"});
  EXPECT_EQ(joined.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(joined.status().message(), HasSubstr("operator"));
}

TEST_F(Calls, RevocationEndsOpenStreamsWithinASecond) {
  Serve(federation().Serving());
  const auto identity = federation().Identity("leaver");
  const auto client = Must(ConnectFederation(federation().Connecting(server_->port(), identity)));
  service_.Say({.number = 1});
  ASSERT_TRUE(client->Next(0, absl::Seconds(10)).ok());
  ASSERT_TRUE(federation().authority().Revoke("leaver").ok());
  const double began = SteadySeconds();
  const auto next = client->Next(1, absl::Seconds(10));
  EXPECT_EQ(next.status().code(), absl::StatusCode::kPermissionDenied) << next.status();
  EXPECT_THAT(next.status().message(), HasSubstr("revoked"));
  while (service_.subscribers() > 0 && SteadySeconds() - began < kTimesSlower)
    absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LT(SteadySeconds() - began, kTimesSlower);
  EXPECT_EQ(client->Join({.run = "run-1"}).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(Calls, ANewIdentityIsUsedAtOnceAndAStreamGoesOn) {
  Serve(federation().Serving());
  Mutex mutex;
  auto identity = federation().Identity("renewer");
  ConnectOptions options = federation().Connecting(server_->port(), nullptr);
  options.identity = [&] {
    MutexLock lock(mutex);
    return identity;
  };
  const auto client = Must(ConnectFederation(options));
  service_.Say({.number = 1});
  ASSERT_TRUE(client->Next(0, absl::Seconds(10)).ok());
  ASSERT_TRUE(client->Join({.run = "run-1"}).ok());
  const std::string before = service_.last_caller().serial;
  {
    MutexLock lock(mutex);
    identity = federation().Identity("renewer");
  }
  ASSERT_TRUE(client->Join({.run = "run-1"}).ok());
  EXPECT_NE(service_.last_caller().serial, before);
  service_.Say({.number = 2});
  EXPECT_EQ(Must(client->Next(1, absl::Seconds(10))).number, 2u);
}

TEST_F(Calls, TheServersCertificateIsReplacedWhileItRuns) {
  Serve(federation().Serving());
  ASSERT_TRUE(ClientOf("north")->Hello({}).ok());
  ASSERT_TRUE(federation().authority().IssueServer("aggregator", {"elsewhere.example"}).ok());
  absl::SleepFor(absl::Milliseconds(1500));
  ConnectOptions options = federation().Connecting(server_->port(), federation().Identity("north"));
  options.patience = absl::Seconds(1);
  EXPECT_FALSE(Must(ConnectFederation(options))->Hello({}).ok()) << "still the old certificate";
  ASSERT_TRUE(federation().authority().IssueServer("aggregator", {"127.0.0.1"}).ok());
  EXPECT_TRUE(ClientOf("north")->Hello({}).ok());
}

TEST_F(Calls, InsecureIsForLoopbackOnly) {
  ServeOptions options{.address = "0.0.0.0:0", .insecure = true};
  EXPECT_EQ(ServeFederation(options, service_, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.address = "127.0.0.1:0";
  Serve(options);
  ConnectOptions connecting{.address = absl::StrCat("127.0.0.1:", server_->port()),
                            .insecure = true,
                            .insecure_site = "bare"};
  EXPECT_TRUE(Must(ConnectFederation(connecting))->Hello({}).ok());
  EXPECT_EQ(service_.last_caller().site, "bare");
  for (const char* elsewhere : {"192.0.2.1:99", "127.example.org:99"}) {
    connecting.address = elsewhere;
    EXPECT_EQ(ConnectFederation(connecting).status().code(), absl::StatusCode::kInvalidArgument)
        << elsewhere;
  }
}

TEST_F(Calls, BadOptionsAreNamed) {
  ServeOptions options = federation().Serving();
  options.address = "nowhere";
  EXPECT_THAT(ServeFederation(options, service_, nullptr).status().message(),
              HasSubstr("HOST:PORT"));
  options = federation().Serving();
  options.tls.key = "/no/such/file.pem";
  EXPECT_THAT(ServeFederation(options, service_, nullptr).status().message(),
              HasSubstr("/no/such/file.pem"));
  Serve(federation().Serving());
  options = federation().Serving();
  options.address = absl::StrCat("127.0.0.1:", server_->port());
  const auto twice = ServeFederation(options, service_, nullptr);
  EXPECT_EQ(twice.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(twice.status().message(), HasSubstr("another aggregator"));
}

}  // namespace
}  // namespace ds::federated
