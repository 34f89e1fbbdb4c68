#include "federated/pki/check/diagnose.h"

#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "federated/pki/check/endpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/check/tls_server.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using Speaks = TlsServerOptions::Speaks;

class DiagnoseTest : public PkiTest {
 protected:
  DiagnoseTest() : server_(Server(*authority_, "authority", {"localhost", "127.0.0.1"})) {
    std::signal(SIGPIPE, SIG_IGN);  // the test's server writes with OpenSSL
    Enrolled("alice");
    options_.identity = IdentityFile(SiteFolder("alice"));
    options_.patience = absl::Seconds(20);  // machines are busy
    options_.clock = Clock();
    options_.hello = [this](const HelloRequest&) -> absl::StatusOr<HelloReply> {
      return HelloReply{.version = kWireVersion,
                        .program = "ds_aggregator",
                        .clock_ms = absl::ToUnixMillis(now_ + skew_)};
    };
  }
  Credentials Server(Authority& authority, const std::string& folder,
                     const std::vector<std::string>& hosts) {
    DS_CHECK(authority.IssueServer("hub", hosts).ok());
    return Must(ReadCredentials(ServerFile(folder_.File(folder))));
  }
  TlsServerOptions Good() const {
    return {.credentials = server_, .trusted = authority_->certificate()};
  }
  std::vector<CheckLine> Check(const TlsServer& server, const std::string& host = "127.0.0.1") {
    options_.address = server.Address(host);
    return DiagnoseConnection(options_);
  }
  // The last line is the first that has failed.
  static void ExpectFault(const std::vector<CheckLine>& lines, const std::string& name,
                          const std::string& words) {
    for (size_t i = 0; i + 1 < lines.size(); ++i) EXPECT_TRUE(lines[i].passed) << lines[i].detail;
    ASSERT_FALSE(lines.empty());
    EXPECT_FALSE(lines.back().passed);
    EXPECT_EQ(lines.back().name, name) << lines.back().detail;
    EXPECT_THAT(lines.back().detail, HasSubstr(words));
    EXPECT_FALSE(lines.back().mend.empty());
  }

  const Credentials server_;
  absl::Duration skew_;
  DiagnoseOptions options_;
};

TEST_F(DiagnoseTest, AGoodConnectionPassesEveryStep) {
  const TlsServer server(Good());
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const std::vector<CheckLine> lines = Check(server, host);
    std::string names;
    for (const CheckLine& line : lines) {
      EXPECT_TRUE(line.passed) << line.name << ": " << line.detail;
      absl::StrAppend(&names, line.name, "; ");
    }
    EXPECT_EQ(names,
              "address; own certificate; name; port; TLS; server's certificate; own certificate at "
              "the server; version; clock; ");
  }
}

TEST_F(DiagnoseTest, TheFirstStepThatFailsIsNamed) {
  options_.address = "localhost";
  ExpectFault(DiagnoseConnection(options_), "address", "is not host:port");
  options_.address = "no-such-host.invalid:7443";
  ExpectFault(DiagnoseConnection(options_), "name", "has no address");
  {
    const TlsServer gone(Good());
    options_.address = gone.Address();
  }
  ExpectFault(DiagnoseConnection(options_), "port", "Connection refused");
}

TEST_F(DiagnoseTest, WhatDoesNotSpeakTls13IsNamed) {
  const TlsServer silent({.speaks = Speaks::kNothing});
  options_.patience = absl::Milliseconds(500);
  ExpectFault(Check(silent), "TLS", "says nothing");
  options_.patience = absl::Seconds(20);
  const TlsServer http({.speaks = Speaks::kHttp});
  ExpectFault(Check(http), "TLS", "TLS fails");
  TlsServerOptions old = Good();
  old.newest = TLS1_2_VERSION;
  const TlsServer server(old);
  ExpectFault(Check(server), "TLS", "protocol version");
}

TEST_F(DiagnoseTest, AServerThatIsNotTheAggregatorIsNamed) {
  const std::string step = "server's certificate";
  const TlsServer elsewhere({.credentials = Server(*authority_, "authority", {"hub.example.org"})});
  ExpectFault(Check(elsewhere), step, "is for hub.example.org, not for 127.0.0.1");

  const auto other = MakeAuthority("other");
  const TlsServer impostor({.credentials = Server(*other, "other", {"127.0.0.1"})});
  ExpectFault(Check(impostor), step, "was not issued by the authority");

  const TlsServer site({.credentials = Enrolled("bob")});
  ExpectFault(Check(site), step, "was not issued for this purpose");

  const TlsServer server(Good());
  now_ += absl::Hours(24 * 400);  // the server's has a year
  Enrolled("alice");
  ExpectFault(Check(server), step, "has expired on ");
}

TEST_F(DiagnoseTest, TheSitesOwnCertificateIsNamed) {
  const TlsServer server(Good());
  TlsServerOptions strange = Good();
  strange.trusted = MakeAuthority("other")->certificate();
  const TlsServer stranger(strange);
  ExpectFault(Check(stranger), "own certificate at the server", "unknown ca");

  now_ += absl::Hours(24 * 91);
  ExpectFault(Check(server), "own certificate", "has expired on ");
  options_.identity = folder_.File("none");
  ExpectFault(Check(server), "own certificate", "No such file");
}

TEST_F(DiagnoseTest, VersionAndClockAreNamed) {
  const TlsServer server(Good());
  skew_ = -absl::Minutes(3);
  ExpectFault(Check(server), "clock", "180.0 s behind");
  skew_ = absl::Seconds(59);
  EXPECT_TRUE(Check(server).back().passed);
  options_.hello = [](const HelloRequest&) { return HelloReply{.version = 99}; };
  ExpectFault(Check(server), "version", "speaks version 99");
  options_.hello = [](const HelloRequest&) -> absl::StatusOr<HelloReply> {
    return absl::PermissionDeniedError("the certificate of 'alice' (40) is revoked");
  };
  ExpectFault(Check(server), "version", "is revoked");
  EXPECT_THAT(Check(server).back().mend, HasSubstr("ask whoever runs the federation"));
}

TEST_F(DiagnoseTest, ANewSiteFindsItsAuthorityByTheFingerprint) {
  const TlsServer server({.credentials = server_});
  const auto fetch = [&](const TlsServer& from, const std::string& fingerprint) {
    return FetchAuthority(from.Address(), fingerprint, absl::Seconds(5), Clock());
  };
  EXPECT_EQ(Must(fetch(server, authority_->fingerprint())), authority_->certificate());
  EXPECT_TRUE(absl::IsPermissionDenied(fetch(server, std::string(64, '0')).status()));

  // In the middle: the true authority's certificate, behind a leaf of one's own.
  const auto other = MakeAuthority("other");
  Credentials forged = Server(*other, "other", {"127.0.0.1"});
  forged.authority = authority_->certificate();
  const TlsServer middle({.credentials = forged});
  EXPECT_THAT(fetch(middle, authority_->fingerprint()).status().message(),
              HasSubstr("was not issued by the authority"));
  // A site of the federation that plays the aggregator.
  const TlsServer site({.credentials = Enrolled("bob")});
  EXPECT_THAT(fetch(site, authority_->fingerprint()).status().message(),
              HasSubstr("was not issued for this purpose"));
  EXPECT_TRUE(
      absl::IsInvalidArgument(FetchAuthority("nowhere", authority_->fingerprint()).status()));
}

TEST(EndpointTest, AddressesAreHostAndPort) {
  for (const auto& [text, host, port] :
       std::vector<std::array<std::string, 3>>{{"a.b:1", "a.b", "1"},
                                               {"[::1]:65535", "::1", "65535"},
                                               {"1.2.3.4:07", "1.2.3.4", "7"}}) {
    const Endpoint endpoint = PkiTest::Must(ParseEndpoint(text));
    EXPECT_EQ(endpoint.host, host);
    EXPECT_EQ(endpoint.port, port);
    EXPECT_EQ(endpoint.is_address, host != "a.b");
  }
  for (const char* text : {"", ":", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:x", "::1:80",
                           "[::1]", "[::1", "https://a:443", "a b:1", "[]:1"})
    EXPECT_FALSE(ParseEndpoint(text).ok()) << text;
}

}  // namespace
}  // namespace ds::federated
