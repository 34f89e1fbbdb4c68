// An agent of wire version 1, as it was when version 2 came: its bytes are written down here, and
// nothing of federated/wire/ makes them. It must be served from Hello to Commit.
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/channel.h"
#include "federated/rpc/client_call.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/testing.h"

namespace ds::federated {
namespace {

// Versions 1 to 1, of program "v1".
const char kHello[] = "080110011a027631";
// run-1, no samples, no model.
const char kJoin[] = "0a0572756e2d311801";
// Digest of 'model' as base and update, round 4.
std::string CommitBytes(const std::string& digest) {
  return absl::StrCat(absl::HexStringToBytes("0a0572756e2d3110041a40"), digest,
                      absl::HexStringToBytes("2240"), digest);
}

TEST(WireVersion1, IsServedFromHelloToCommit) {
  Federation federation;
  FakeService service;
  ServeOptions options = federation.Serving();
  options.sign_of_life = absl::Milliseconds(100);
  const auto server = Must(ServeFederation(options, service, nullptr));
  const ConnectOptions connecting =
      federation.Connecting(server->port(), federation.Identity("old"));
  const auto channel = Connection(connecting).Get();
  const CallOptions call_options{.version = 1, .stall = absl::Seconds(10)};

  const std::string hello =
      Must(UnaryCallTo(channel, "Hello", absl::HexStringToBytes(kHello), call_options));
  EXPECT_TRUE(absl::StartsWith(hello, absl::HexStringToBytes("0801"))) << "version 1 is spoken";
  Must(UnaryCallTo(channel, "Join", absl::HexStringToBytes(kJoin), call_options));

  const std::string digest(64, 'a');
  service.Say({.number = 5,
               .version = 1,
               .model_digest = digest,
               .recent = {{1, digest, digest, 7, true}}});
  StreamCall watch(channel, "Watch", call_options);
  watch.Start();
  watch.Next();
  watch.Write(grpc::ByteBuffer(ToBuffer("")));
  watch.Next();
  watch.WritesDone();
  watch.Next();
  // Twice: what version 2 sends as a sign of life is the same situation once more. It is a bare
  // Situation without the fields that version 2 added to what is in `recent`.
  const std::string expected = absl::StrCat(
      absl::HexStringToBytes("080528013240"), digest, absl::HexStringToBytes("3a86010801"),
      absl::HexStringToBytes("1240"), digest, absl::HexStringToBytes("1a40"), digest,
      absl::HexStringToBytes("5204300138016001"));
  for (int i = 0; i < 2; ++i) {
    watch.Read();
    EXPECT_TRUE(watch.Next().ok);
    EXPECT_EQ(absl::BytesToHexString(ToString(watch.TakeMessage())),
              absl::BytesToHexString(expected));
  }
  const std::string counted =
      Must(UnaryCallTo(channel, "Commit", CommitBytes(digest), call_options));
  EXPECT_TRUE(absl::StartsWith(counted, absl::HexStringToBytes("0801"))) << "counted";
}

}  // namespace
}  // namespace ds::federated
