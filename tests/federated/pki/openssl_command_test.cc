// The openssl program as the oracle: it takes what we make, and what it makes we take or refuse.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Ran {
  int code = -1;
  std::string output;
};

Ran Shell(const std::string& command) {
  Ran ran;
  FILE* const pipe = ::popen(absl::StrCat(command, " 2>&1 </dev/null").c_str(), "r");
  DS_CHECK(pipe != nullptr) << command;
  char buffer[512];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe))
    ran.output.append(buffer, got);
  ran.code = ::pclose(pipe);
  return ran;
}

class OpensslCommandTest : public PkiTest {
 protected:
  OpensslCommandTest()
      : authority_file_(folder_.File("authority/authority.pem")),
        server_file_(ServerFile(folder_.File("authority"))) {
    DS_CHECK(authority_->IssueServer("hub", {"hub.example.org", "127.0.0.1"}).ok());
    Enrolled("alice");
  }
  Ran Verify(const std::string& options, const std::string& file) const {
    return Shell(absl::StrCat("openssl verify -x509_strict -CAfile ", authority_file_, " ", options,
                              " ", file));
  }
  // A new key and a request or, with -x509, a certificate: `file`.key and `file`.
  std::string Req(const std::string& options, const std::string& name) const {
    const std::string file = folder_.File(name);
    const Ran ran = Shell(
        absl::StrCat("openssl req -new -nodes -keyout ", file, ".key -out ", file, " ", options));
    DS_CHECK(ran.code == 0) << ran.output;
    return ReadText(file);
  }
  absl::Status EnrolWith(const std::string& request) {
    return authority_->Enrol({.token = Token("alice"), .signing_request = request}).status();
  }
  static std::string At(absl::Time time) {
    return absl::StrCat("-attime ", absl::ToUnixSeconds(time));
  }

  const std::string authority_file_, server_file_;
  const std::string alice_file_ = IdentityFile(SiteFolder("alice"));
  const std::string p256_ = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
  const std::string alice_ = "-subj /CN=alice -addext subjectAltName=URI:downstream://site/alice";
};

TEST_F(OpensslCommandTest, TakesOurCertificatesForTheirPurposeAndTimeOnly) {
  EXPECT_EQ(Verify("-purpose sslclient", alice_file_).code, 0);
  EXPECT_EQ(Verify("-purpose sslserver -verify_hostname hub.example.org", server_file_).code, 0);
  EXPECT_EQ(Verify("-purpose sslserver -verify_ip 127.0.0.1", server_file_).code, 0);
  EXPECT_NE(Verify("-verify_hostname evil.example.org", server_file_).code, 0);
  EXPECT_NE(Verify("-purpose sslserver", alice_file_).code, 0) << "a site is no server";
  EXPECT_NE(Verify("-purpose sslclient", server_file_).code, 0);
  const CertificateFacts facts = Must(ReadCertificate(ReadText(alice_file_)));
  EXPECT_EQ(Verify(At(facts.not_after - absl::Seconds(1)), alice_file_).code, 0);
  EXPECT_THAT(Verify(At(facts.not_after + absl::Seconds(1)), alice_file_).output,
              HasSubstr("certificate has expired"));
  EXPECT_NE(Verify(At(facts.not_before - absl::Seconds(1)), alice_file_).code, 0);
  MakeAuthority("other");
  EXPECT_NE(Shell(absl::StrCat("openssl verify -CAfile ", folder_.File("other/authority.pem"), " ",
                               alice_file_))
                .code,
            0);
}

TEST_F(OpensslCommandTest, SeesTheNamesFingerprintAndSerialThatWeSee) {
  const std::string text =
      Shell(
          absl::StrCat("openssl x509 -noout -subject -serial -ext subjectAltName,basicConstraints,",
                       "extendedKeyUsage -in ", alice_file_))
          .output;
  const CertificateFacts facts = Must(ReadCertificate(ReadText(alice_file_)));
  EXPECT_THAT(text, AllOf(HasSubstr("CN = alice"), HasSubstr("URI:downstream://site/alice"),
                          HasSubstr("CA:FALSE"), HasSubstr("TLS Web Client Authentication"),
                          HasSubstr(absl::StrCat("serial=", absl::AsciiStrToUpper(facts.serial)))));
  const std::string fingerprint = absl::StrReplaceAll(
      Shell("openssl x509 -noout -fingerprint -sha256 -in " + authority_file_).output, {{":", ""}});
  EXPECT_THAT(fingerprint, HasSubstr(absl::AsciiStrToUpper(authority_->fingerprint())));
}

TEST_F(OpensslCommandTest, VerifiesOurSignature) {
  const auto alice = Must(FileSiteIdentity::Open(alice_file_));
  const std::string message = folder_.Write("message", "what alice says");
  const std::string signature = folder_.Write("signature", Must(alice->Sign("what alice says")));
  const std::string key = folder_.File("alice.pub");
  ASSERT_EQ(
      Shell(absl::StrCat("openssl x509 -pubkey -noout -in ", alice_file_, " -out ", key)).code, 0);
  const std::string verify = absl::StrCat("openssl dgst -sha256 -verify ", key, " -signature ");
  EXPECT_EQ(Shell(absl::StrCat(verify, signature, " ", message)).code, 0);
  EXPECT_NE(Shell(absl::StrCat(verify, signature, " ", alice_file_)).code, 0);
}

TEST_F(OpensslCommandTest, MakesRequestsThatWeTake) {
  EXPECT_TRUE(EnrolWith(Req(p256_ + " " + alice_, "good.csr")).ok());
}

TEST_F(OpensslCommandTest, MakesRequestsThatWeRefuse) {
  const auto refused = [&](const std::string& options, absl::StatusCode code,
                           const std::string& words) {
    const absl::Status status = EnrolWith(Req(options, "bad.csr"));
    EXPECT_EQ(status.code(), code) << options << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr(words));
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto denied = absl::StatusCode::kPermissionDenied;
  refused("-newkey rsa:2048 " + alice_, invalid, "curve P-256");
  refused("-newkey ec -pkeyopt ec_paramgen_curve:P-384 " + alice_, invalid, "curve P-256");
  refused("-newkey ed25519 " + alice_, invalid, "curve P-256");
  refused(p256_ + " -subj /CN=alice", denied, "the request names");
  refused(p256_ + " -subj /CN=mallory -addext subjectAltName=URI:downstream://site/alice", denied,
          "the token is of site 'alice'");
  refused(p256_ +
              " -subj /CN=alice -addext subjectAltName=URI:downstream://site/alice,"
              "URI:downstream://operator/alice",
          invalid, "its URI is not one");
  refused(p256_ + " -subj /CN=alice/CN=bob -addext subjectAltName=URI:downstream://site/alice",
          denied, "the token is of site 'alice'");
}

TEST_F(OpensslCommandTest, ForgesCertificatesThatWeRefuse) {
  const auto verifier = Must(FileSiteIdentity::Open(alice_file_, {.clock = Clock()}));
  // By itself, with all that ours have.
  const std::string self =
      Req("-x509 -days 30 " + p256_ + " " + alice_ + " -addext extendedKeyUsage=clientAuth",
          "self.pem");
  EXPECT_THAT(verifier->Identify(self).status().message(), HasSubstr("is signed by itself"));
  // A site's certificate is no authority: what its key signs counts for nothing.
  Req(p256_ + " -subj /CN=bob -addext subjectAltName=URI:downstream://site/bob", "bob.csr");
  const Ran signed_by_alice = Shell(absl::StrCat(
      "openssl x509 -req -in ", folder_.File("bob.csr"), " -CA ", alice_file_, " -CAkey ",
      alice_file_, " -copy_extensions copy -days 30 -out ", folder_.File("bob.pem")));
  ASSERT_EQ(signed_by_alice.code, 0) << signed_by_alice.output;
  EXPECT_TRUE(
      absl::IsPermissionDenied(verifier->Identify(ReadText(folder_.File("bob.pem"))).status()));
  // An encrypted key asks nobody for a password.
  ASSERT_EQ(Shell(absl::StrCat("openssl ec -aes128 -passout pass:secret -in ", alice_file_,
                               " -out ", folder_.File("locked.key")))
                .code,
            0);
  EXPECT_THAT(ParseCredentials(ReadText(folder_.File("locked.key"))).status().message(),
              HasSubstr("without a password"));
}

}  // namespace
}  // namespace ds::federated
