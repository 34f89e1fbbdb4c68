// A server that stands still: the process lives, and its port accepts.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/hash/sha256.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/testing.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

// In a process of its own. A program of its own, too: this one must not have used gRPC before.
class StoppedServer : public ::testing::Test {
 protected:
  // Before gRPC has threads here: only the child serves.
  void SetUp() override {
    int ports[2];
    ASSERT_EQ(::pipe(ports), 0);
    federation_ = std::make_unique<Federation>();
    child_ = ::fork();
    if (child_ == 0) {
      FakeService service;
      const auto server = Must(ServeFederation(federation_->Serving(), service, nullptr));
      service.Say({.number = 1});
      const int port = server->port();
      if (::write(ports[1], &port, sizeof(port)) != sizeof(port)) ::_exit(1);
      while (true) ::pause();
    }
    ASSERT_EQ(::read(ports[0], &port_, sizeof(port_)), static_cast<ssize_t>(sizeof(port_)));
  }
  void TearDown() override {
    ::kill(child_, SIGCONT);
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  std::unique_ptr<Federation> federation_;
  pid_t child_ = 0;
  int port_ = 0;
};

TEST_F(StoppedServer, EveryCallEndsAndGoesOnAfterwards) {
  ConnectOptions options = federation_->Connecting(port_, federation_->Identity("north"));
  options.stall = kTimesSlower * absl::Milliseconds(400);
  options.patience = kTimesSlower * absl::Seconds(1);
  const auto client = Must(ConnectFederation(options));
  ASSERT_TRUE(client->Hello({}).ok());
  ASSERT_TRUE(client->Next(0, absl::Seconds(5)).ok());
  ::kill(child_, SIGSTOP);
  const std::string blob = RandomBytes(2 << 20, 9);
  const double began = SteadySeconds();
  absl::Status uploaded, watched;
  std::thread uploading([&] { uploaded = client->Upload(Sha256Hex(blob), *ReaderOf(blob)); });
  std::thread watching(
      [&] { watched = client->Next(1, kTimesSlower * absl::Seconds(30)).status(); });
  EXPECT_EQ(client->Join({.run = "run-1"}).status().code(), absl::StatusCode::kUnavailable);
  uploading.join();
  watching.join();
  EXPECT_EQ(uploaded.code(), absl::StatusCode::kUnavailable) << uploaded;
  EXPECT_EQ(watched.code(), absl::StatusCode::kUnavailable) << watched;
  EXPECT_LT(SteadySeconds() - began, kTimesSlower * 12);
  ::kill(child_, SIGCONT);
  EXPECT_TRUE(client->Join({.run = "run-1"}).ok());
  const absl::Status again = client->Upload(Sha256Hex(blob), *ReaderOf(blob));
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_TRUE(client->Next(0, absl::Seconds(5)).ok());
}

}  // namespace
}  // namespace ds::federated
