// Whom the aggregator's port lets in: every wrong certificate and every wrong token over real TLS,
// by our own client, by the openssl program and by a plain gRPC client of another language.
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "federated/pki/check/diagnose.h"
#include "federated/pki/revocation.h"
#include "federated/rpc/client.h"
#include "federated/rpc/server.h"
#include "federated/wire/codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/federated/pki/pki_fixture.h"
#include "tests/federated/rpc/testing.h"

namespace ds::federated {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string Shell(const std::string& command, int* code = nullptr) {
  FILE* const pipe = ::popen(absl::StrCat(command, " 2>&1").c_str(), "r");
  DS_CHECK(pipe != nullptr) << command;
  std::string output;
  char buffer[512];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, got);
  const int status = ::pclose(pipe);
  if (code != nullptr) *code = WEXITSTATUS(status);
  return output;
}

class CertificatesTest : public PkiTest {
 protected:
  CertificatesTest() {
    now_ -= absl::Hours(24 * 100);  // a site's certificate has 90 days
    authority_ = MakeAuthority("federation");
    Add("expired", Enrolled("alice"));
    now_ += absl::Hours(24 * 100);
    DS_CHECK(authority_->IssueServer("hub", {"127.0.0.1", "localhost"}).ok());
    Add("good", Enrolled("alice"));
    Add("revoked", Enrolled("carol"));
    DS_CHECK(authority_->Revoke("carol").ok());
    Add("the server's own", Must(ReadCredentials(served_)));
    std::swap(authority_, other_);
    Add("wrong authority", Enrolled("alice"));
    std::swap(authority_, other_);
    AddSelfSigned();
    // The certificate of one site, the key of another.
    Credentials mixed = who_["good"];
    mixed.key = Enrolled("bob").key;
    Add("another site's", mixed);
    revoked_ = Must(RevocationList::Open(RevocationFile(folder_.File("federation"))));
    server_ = Must(ServeFederation(
        {.address = "127.0.0.1:0",
         .tls = {served_, served_, served_},
         .revoked = [this](const std::string& serial) { return revoked_->IsRevoked(serial); }},
        service_, authority_.get()));
    address_ = absl::StrCat("127.0.0.1:", server_->port());
  }

  static std::string FileOf(const std::string& name) {
    return absl::StrCat(absl::StrReplaceAll(name, {{" ", "-"}, {"'", ""}}), ".pem");
  }
  void Add(const std::string& name, const Credentials& credentials) {
    who_[name] = credentials;
    folder_.Write(FileOf(name), credentials.key + credentials.certificate);
  }
  void AddSelfSigned() {
    const std::string file = folder_.File("self.pem");
    int code = 0;
    const std::string output = Shell(
        absl::StrCat("openssl req -new -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 ",
                     "-days 30 -subj /CN=alice -addext subjectAltName=URI:downstream://site/alice ",
                     "-keyout ", file, ".key -out ", file),
        &code);
    DS_CHECK(code == 0) << output;
    Add("self-signed", {.certificate = ReadText(file), .key = ReadText(file + ".key")});
  }
  // With the true authority to believe in: what is wrong is only what is presented.
  std::unique_ptr<RpcClient> Client(const std::string& name) {
    TlsIdentity identity{.authority = authority_->certificate()};
    if (!name.empty()) {
      identity.certificates = who_.at(name).certificate;
      identity.key = who_.at(name).key;
    }
    return Must(ConnectFederation(
        {.address = address_,
         .identity = [shared = std::make_shared<const TlsIdentity>(identity)] { return shared; },
         .patience = absl::Milliseconds(400)}));
  }
  absl::StatusOr<EnrolReply> EnrolOver(RpcClient& client, const std::string& token,
                                       const std::string& site, const std::string& role = "site") {
    return client.Enrol(
        {.token = token, .signing_request = Must(MakeSigningRequest(Must(MakeKey()), site, role))});
  }

  std::unique_ptr<Authority> other_ = MakeAuthority("other");
  const std::string served_ = ServerFile(folder_.File("federation"));
  std::map<std::string, Credentials> who_;
  FakeService service_;
  std::unique_ptr<RevocationList> revoked_;
  std::unique_ptr<FederationServer> server_;
  std::string address_;
};

const char* const kRefusedByTls[] = {"expired", "wrong authority", "self-signed",
                                     "the server's own"};

TEST_F(CertificatesTest, OurClientIsRefusedWithEveryWrongCertificate) {
  EXPECT_TRUE(Client("good")->Hello({}).ok());
  EXPECT_EQ(service_.last_caller().site, "alice");
  for (const char* name : kRefusedByTls) {
    const absl::Status status = Client(name)->Hello({}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << name << ": " << status;
  }
  EXPECT_EQ(Client("")->Hello({}).status().code(), absl::StatusCode::kUnauthenticated);
  const absl::Status revoked = Client("revoked")->Hello({}).status();
  EXPECT_EQ(revoked.code(), absl::StatusCode::kPermissionDenied) << revoked;
  EXPECT_THAT(revoked.message(), HasSubstr("revoked"));
  EXPECT_FALSE(Client("another site's")->Hello({}).ok());
  EXPECT_EQ(service_.calls().size(), 1u) << "nobody else has reached the service";
}

TEST_F(CertificatesTest, OurClientRefusesAServerThatIsNotTheAggregator) {
  const std::string folder = folder_.File("other");
  ASSERT_TRUE(other_->IssueServer("hub", {"127.0.0.1"}).ok());
  ASSERT_TRUE(authority_->IssueServer("hub", {"elsewhere.example"}).ok());
  // A site's certificate, as a server's; the true authority's, for another name; another's.
  folder_.Write("site.pem", who_["good"].key + who_["good"].Chain());
  for (const std::string& file : {folder_.File("site.pem"), served_, ServerFile(folder)}) {
    FakeService service;
    const auto impostor = Must(ServeFederation(
        {.address = "127.0.0.1:0", .tls = {file, file, served_}}, service, nullptr));
    address_ = absl::StrCat("127.0.0.1:", impostor->port());
    EXPECT_EQ(Client("good")->Hello({}).status().code(), absl::StatusCode::kUnavailable) << file;
    EXPECT_TRUE(service.calls().empty());
  }
}

TEST_F(CertificatesTest, TheOpensslProgramIsRefusedWithEveryWrongCertificateAndWithTls12) {
  const auto connect = [&](const std::string& name, const std::string& options) {
    const std::string pem = folder_.File(FileOf(name));
    return Shell(absl::StrCat("sleep 0.3 | openssl s_client -connect ", address_,
                              " -alpn h2 -CAfile ", folder_.File("federation/authority.pem"),
                              " -verify_return_error ", options,
                              name.empty() ? "" : absl::StrCat(" -cert ", pem, " -key ", pem)));
  };
  // A server that takes the client's certificate, or its absence, ends with a session ticket. gRPC
  // closes the connection where it does not, and gives no reason.
  const auto taken = HasSubstr("New Session Ticket arrived");
  const auto refused = AllOf(HasSubstr("unexpected eof"), Not(taken));
  EXPECT_THAT(connect("good", "-tls1_3 -verify_ip 127.0.0.1"),
              AllOf(HasSubstr("New, TLSv1.3"), HasSubstr("Verify return code: 0 (ok)"),
                    HasSubstr("ALPN protocol: h2"), taken));
  EXPECT_THAT(connect("", "-tls1_3"), taken) << "who enrols has none";
  for (const char* name : kRefusedByTls) EXPECT_THAT(connect(name, "-tls1_3"), refused) << name;
  EXPECT_THAT(connect("another site's", "-tls1_3"), HasSubstr("key values mismatch"));
  for (const std::string name : {"good", ""}) {
    for (const char* old : {"-tls1_2", "-no_tls1_3"}) {
      EXPECT_THAT(connect(name, old), AllOf(HasSubstr("New, (NONE)"), HasSubstr("read 0 bytes")));
    }
  }
}

TEST_F(CertificatesTest, APlainGrpcClientIsRefusedWithEveryWrongCertificateAndToken) {
  const std::string token = Token("dave"), spent = Token("erin");
  ASSERT_TRUE(EnrolOver(*Client(""), spent, "erin").ok());
  now_ -= absl::Hours(2);
  const std::string late = Token("dave", kSiteRole, absl::Hours(1));
  now_ += absl::Hours(2);
  const auto request = [&](const std::string& used, const std::string& site) {
    return Encode(EnrolRequest{
        .token = used,
        .signing_request = Must(MakeSigningRequest(Must(MakeKey()), site, kSiteRole))});
  };
  nlohmann::json cases = nlohmann::json::array();
  const auto add = [&](const std::string& name, const std::string& identity,
                       const std::string& method, const std::string& bytes) {
    cases.push_back({{"name", name},
                     {"address", address_},
                     {"authority", folder_.File("federation/authority.pem")},
                     {"identity", identity.empty() ? "" : folder_.File(FileOf(identity))},
                     {"method", method},
                     {"request", absl::BytesToHexString(bytes)}});
  };
  const std::string hello = Encode(HelloRequest{});
  for (const char* name : {"", "good", "expired", "wrong authority", "self-signed",
                           "the server's own", "revoked", "another site's"})
    add(*name == '\0' ? "absent" : name, name, "Hello", hello);
  add("token", "", "Enrol", request(token, "dave"));
  add("token twice", "", "Enrol", request(spent, "erin"));
  add("token late", "", "Enrol", request(late, "dave"));
  add("token for another", "", "Enrol", request(Token("dave"), "mallory"));
  add("token bent", "", "Enrol", request(token.substr(0, 30) + "x" + token.substr(31), "dave"));
  int code = 0;
  const std::string output = Shell(
      // Our server restricts ciphers by a variable of gRPC's, which is not for this client.
      absl::StrCat("(env -u GRPC_SSL_CIPHER_SUITES ", DS_PYTHON, " ", DS_SOURCE_DIR,
                   "/tests/federated/integration/plain_client.py ",
                   folder_.Write("cases.json", cases.dump()), " 2>/dev/null)"),
      &code);
  if (code == 77) GTEST_SKIP() << "Python has no grpc: launch/setup.sh --test installs it";
  std::map<std::string, std::string> outcome;
  for (const absl::string_view line : absl::StrSplit(output, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits('\t', 1));
    outcome[parts[0]] = parts.size() > 1 ? parts[1] : "";
  }
  ASSERT_EQ(outcome.size(), cases.size()) << output;
  EXPECT_THAT(outcome["good"], StartsWith("OK"));
  EXPECT_THAT(outcome["absent"], StartsWith("UNAUTHENTICATED"));
  EXPECT_THAT(outcome["revoked"], AllOf(StartsWith("PERMISSION_DENIED"), HasSubstr("revoked")));
  for (const char* name :
       {"expired", "wrong authority", "self-signed", "the server's own", "another site's"})
    EXPECT_THAT(outcome[name], StartsWith("UNAVAILABLE")) << name;
  EXPECT_THAT(outcome["token"], StartsWith("OK"));
  for (const auto& [name, words] :
       std::map<std::string, std::string>{{"token twice", "used already"},
                                          {"token late", "expired"},
                                          {"token for another", "of site 'dave'"}})
    EXPECT_THAT(outcome[name], AllOf(StartsWith("PERMISSION_DENIED"), HasSubstr(words))) << name;
  EXPECT_THAT(outcome["token bent"], StartsWith("INVALID_ARGUMENT"));
}

TEST_F(CertificatesTest, ATokenIsUsedOnceOverTheNetworkToo) {
  const std::string token = Token("dave");
  const auto client = Client("");
  const EnrolReply reply = Must(EnrolOver(*client, token, "dave"));
  EXPECT_TRUE(CheckCertificate(reply.certificates, authority_->certificate(), "site", now_).ok());
  const absl::Status again = EnrolOver(*client, token, "dave").status();
  EXPECT_EQ(again.code(), absl::StatusCode::kPermissionDenied) << again;
  const std::string operators = Token("olive", kOperatorRole);
  EXPECT_EQ(EnrolOver(*client, operators, "olive", kSiteRole).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(EnrolOver(*client, operators, "olive", kOperatorRole).ok());
}

TEST_F(CertificatesTest, TheCheckOfAConnectionNamesWhatIsWrong) {
  const auto check = [&](const std::string& name, const std::string& authority) {
    const std::string file =
        folder_.Write("checked.pem", who_[name].key + who_[name].certificate + authority);
    return DiagnoseConnection(
        {.address = address_, .identity = file, .hello = [&](const HelloRequest& request) {
           return Client(name)->Hello(request);
         }});
  };
  const std::string& ours = authority_->certificate();
  for (const CheckLine& line : check("good", ours))
    EXPECT_TRUE(line.passed) << line.name << ": " << line.detail;
  EXPECT_EQ(check("good", ours).back().name, "clock");
  EXPECT_EQ(check("expired", ours).back().name, "own certificate");
  EXPECT_EQ(check("wrong authority", other_->certificate()).back().name, "server's certificate");
  EXPECT_EQ(check("revoked", ours).back().name, "version");
  EXPECT_THAT(check("revoked", ours).back().detail, HasSubstr("revoked"));
}

TEST_F(CertificatesTest, ANewSiteFindsTheAuthorityByItsTokensFingerprintAlone) {
  EXPECT_EQ(Must(FetchAuthority(address_, authority_->fingerprint())), authority_->certificate());
  EXPECT_EQ(FetchAuthority(address_, other_->fingerprint()).status().code(),
            absl::StatusCode::kPermissionDenied);
}

// Measured from the end of the command that people use.
TEST_F(CertificatesTest, DsPkiRevokesAStreamThatIsOpenWithinASecond) {
  const auto client = Client("good");
  service_.Say({.number = 1});
  ASSERT_TRUE(client->Next(0, absl::Seconds(10)).ok());
  ASSERT_EQ(service_.subscribers(), 1);
  int code = -1;
  const std::string output = Shell(absl::StrCat(DS_BINARY_DIR, "/bin/ds_pki revoke --folder ",
                                                folder_.File("federation"), " alice"),
                                   &code);
  ASSERT_EQ(code, 0) << output;
  const absl::Duration began = SteadyTime();
  const absl::Status next = client->Next(1, absl::Seconds(10)).status();
  while (service_.subscribers() > 0 && SteadyTime() - began < absl::Seconds(5))
    absl::SleepFor(absl::Milliseconds(2));
  const absl::Duration took = SteadyTime() - began;
  EXPECT_EQ(next.code(), absl::StatusCode::kPermissionDenied) << next;
  EXPECT_THAT(next.message(), HasSubstr("revoked"));
  EXPECT_LT(took, absl::Seconds(1));
  RecordProperty("revoked_after_ms", static_cast<int>(absl::ToInt64Milliseconds(took)));
  EXPECT_EQ(client->Hello({}).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Client("good")->Hello({}).status().code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace ds::federated
