// Blobs over ways that break.
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/hash/sha256.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/relay.h"
#include "tests/federated/rpc/testing.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBlobBytes = (20 << 20) + 7;

class Transfers : public ::testing::Test {
 protected:
  static Federation& federation() {
    static auto& federation = *new Federation;
    return federation;
  }
  std::unique_ptr<RpcClient> ClientOf(const std::string& site, int port) {
    ConnectOptions options = federation().Connecting(port, federation().Identity(site));
    options.stall = absl::Seconds(2);
    return Must(ConnectFederation(options));
  }

  FakeService service_;
  std::unique_ptr<FederationServer> server_ =
      Must(ServeFederation(federation().Serving(), service_, nullptr));
};

TEST_F(Transfers, AnUploadGoesOnWhereItWasCut) {
  CounterRandom random(5, 0, 0);
  int cuts = 6;
  Relay relay(server_->port(), [&]() -> Relay::Limits {
    // The first hundred kilobytes are handshake and requests.
    return cuts-- > 0 ? Relay::Limits{.up = 100000 + random.NextBelow(6 << 20)} : Relay::Limits{};
  });
  const std::string blob = RandomBytes(kBlobBytes, 3);
  const absl::Status status =
      ClientOf("north", relay.port())->Upload(Sha256Hex(blob), *ReaderOf(blob));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Must(GetBlob(*service_.store, Sha256Hex(blob))), blob);
  EXPECT_GE(relay.connections(), 4);
  // What had arrived was not sent again.
  EXPECT_EQ(service_.uploaded, kBlobBytes);
}

TEST_F(Transfers, ADownloadGoesOnWhereItWasCut) {
  CounterRandom random(6, 0, 0);
  int cuts = 6;
  Relay relay(server_->port(), [&]() -> Relay::Limits {
    return cuts-- > 0 ? Relay::Limits{.down = 100000 + random.NextBelow(6 << 20)} : Relay::Limits{};
  });
  const std::string blob = RandomBytes(kBlobBytes, 4);
  const std::string digest = Must(
      PutBlob(*service_.store, {reinterpret_cast<const std::byte*>(blob.data()), blob.size()}));
  const auto copies = MemoryStore();
  auto writer = Must(copies->Write(digest, kBlobBytes));
  const absl::Status status = ClientOf("north", relay.port())->Download(digest, *writer);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Must(GetBlob(*copies, digest)), blob);
  EXPECT_GE(relay.connections(), 4);
}

TEST_F(Transfers, OneSitesBlobMayBeUploadedTwiceAtOnce) {
  const std::string blob = RandomBytes(kBlobBytes, 5);
  absl::Status statuses[2];
  const auto client = ClientOf("north", server_->port());
  std::thread other([&] { statuses[0] = client->Upload(Sha256Hex(blob), *ReaderOf(blob)); });
  statuses[1] = client->Upload(Sha256Hex(blob), *ReaderOf(blob));
  other.join();
  EXPECT_TRUE(statuses[0].ok()) << statuses[0];
  EXPECT_TRUE(statuses[1].ok()) << statuses[1];
  EXPECT_EQ(Must(GetBlob(*service_.store, Sha256Hex(blob))), blob);
}

TEST_F(Transfers, BytesThatAreNotTheDigestsAreGivenUp) {
  const std::string blob = RandomBytes(3 << 20, 6);
  const auto client = ClientOf("north", server_->port());
  EXPECT_EQ(client->Upload(Sha256Hex("other"), *ReaderOf(blob)).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(service_.store->Has(Sha256Hex("other")));
  EXPECT_EQ(service_.uploaded, 3 * int64_t{3 << 20}) << "three attempts";
  EXPECT_EQ(client->DownloadSize(Sha256Hex("other")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Transfers, AWayOfAFewKilobytesASecondIsSlowNotBroken) {
  // An upload whose every message is stored only after a while: chunks of a megabyte would seem to
  // stand still, smaller ones do not.
  service_.interfere = [](const std::string& method) {
    if (method == "Upload") absl::SleepFor(kTimesSlower * absl::Milliseconds(300));
    return absl::OkStatus();
  };
  ConnectOptions options = federation().Connecting(server_->port(), federation().Identity("slow"));
  options.stall = kTimesSlower * absl::Milliseconds(500);
  options.patience = kTimesSlower * absl::Seconds(2);
  const std::string blob = RandomBytes(12 << 20, 8);
  const double began = SteadySeconds();
  const absl::Status status =
      Must(ConnectFederation(options))->Upload(Sha256Hex(blob), *ReaderOf(blob));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_GT(SteadySeconds() - began, kTimesSlower * 3)
      << "longer than the patience, but never without progress";
}

}  // namespace
}  // namespace ds::federated
