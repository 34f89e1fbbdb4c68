// What a site fetches into memory: whole, at most as much as makes sense, in one call.
#include "federated/agent/site_files.h"

#include <string>

#include "base/hash/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

// Gives `bytes` in chunks of 100, whatever is asked for.
class BytesClient final : public FederationClient {
 public:
  absl::Status Download(const std::string& digest, BlobWriter& into) override {
    ++calls;
    if (!status.ok()) return status;
    for (size_t at = 0; at < bytes.size(); at += 100) {
      const std::string chunk = bytes.substr(at, 100);
      const absl::Status written = into.Write(
          static_cast<int64_t>(at),
          absl::MakeConstSpan(reinterpret_cast<const std::byte*>(chunk.data()), chunk.size()));
      if (!written.ok()) return written;
      taken = into.received();
    }
    return into.Finish();
  }
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override {
    ++calls;
    return static_cast<int64_t>(bytes.size());
  }
  absl::StatusOr<HelloReply> Hello(const HelloRequest&) override { return Never(); }
  absl::StatusOr<JoinReply> Join(const JoinRequest&) override { return Never(); }
  absl::StatusOr<Situation> Next(uint64_t, absl::Duration) override { return Never(); }
  absl::StatusOr<CommitReply> Commit(const CommitRequest&) override { return Never(); }
  absl::StatusOr<SecureReply> Secure(const SecureRequest&) override { return Never(); }
  absl::Status Upload(const std::string&, const BlobReader&) override { return Never(); }

  std::string bytes = std::string(950, 'x');
  absl::Status status;
  int calls = 0;
  int64_t taken = 0;

 private:
  static absl::Status Never() { return absl::UnimplementedError("not in this test"); }
};

TEST(FetchBytesTest, ABlobComesInOneCall) {
  BytesClient client;
  const auto bytes = FetchBytes(client, Sha256Hex(client.bytes), 950);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, client.bytes);
  EXPECT_EQ(client.calls, 1);
  client.bytes.clear();
  const auto none = FetchBytes(client, Sha256Hex(""), 0);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(*none, "");
}

TEST(FetchBytesTest, NoMoreIsTakenThanMakesSense) {
  BytesClient client;
  const absl::Status refused = FetchBytes(client, Sha256Hex(client.bytes), 320).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("at most 320 make sense"));
  EXPECT_LE(client.taken, 320);
}

TEST(FetchBytesTest, OtherBytesAreFetchedAgainAndAnOldNameIsLeft) {
  BytesClient client;
  const absl::Status damaged = FetchBytes(client, Sha256Hex("other bytes"), 1000).status();
  EXPECT_TRUE(absl::IsUnavailable(damaged)) << damaged;
  client.status = absl::NotFoundError("no such blob");
  const absl::Status gone = FetchBytes(client, Sha256Hex(client.bytes), 1000).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(gone)) << gone;
}

}  // namespace
}  // namespace ds::federated
