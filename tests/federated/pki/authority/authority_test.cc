#include "federated/pki/authority/authority.h"

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "federated/pki/token.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

std::string Serial(const std::string& certificate) {
  return PkiTest::Must(ReadCertificate(certificate)).serial;
}

class AuthorityTest : public PkiTest {
 protected:
  std::string Request(const std::string& key, const std::string& site = "alice",
                      const std::string& role = kSiteRole) {
    return Must(MakeSigningRequest(key, site, role));
  }
  absl::StatusOr<EnrolReply> Use(const std::string& token, const std::string& request) {
    return authority_->Enrol({.token = token, .signing_request = request});
  }
  absl::StatusOr<EnrolReply> Renew(const std::string& certificate, const std::string& request) {
    return authority_->Renew(Must(PeerIdentity(certificate)), {.signing_request = request});
  }
  static void ExpectDenied(const absl::Status& status, const std::string& words) {
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    EXPECT_THAT(status.message(), HasSubstr(words));
  }
  void ToHalfOf(const std::string& certificate) {
    const CertificateFacts facts = Must(ReadCertificate(certificate));
    now_ = facts.not_before + (facts.not_after - facts.not_before) / 2;
  }

  const std::string key_ = Must(MakeKey()), other_key_ = Must(MakeKey());
};

TEST_F(AuthorityTest, ATokenMakesOneCertificateAndALostAnswerIsGivenAgain) {
  const std::string token = Token("alice");
  const EnrolReply reply = Must(Use(token, Request(key_)));
  EXPECT_EQ(reply.authority, authority_->certificate());
  EXPECT_TRUE(CheckCertificate(reply.certificates, reply.authority, "site", now_).ok());
  // Another request of the same key: the signatures in the two differ.
  ASSERT_NE(Request(key_), Request(key_));
  EXPECT_EQ(Must(Use(token, Request(key_))).certificates, reply.certificates);
  ExpectDenied(Use(token, Request(other_key_)).status(), "has been used already, for another key");
  EXPECT_THAT(Must(authority_->Certificates()), SizeIs(1));
  EXPECT_THAT(Must(authority_->Tokens()), SizeIs(1));
  EXPECT_TRUE(Must(authority_->Tokens())[0].used);
}

TEST_F(AuthorityTest, ATokenIsForItsSiteAndRoleOnly) {
  const std::string token = Token("alice");
  ExpectDenied(Use(token, Request(key_, "bob")).status(),
               "the token is of site 'alice', but the request names site 'bob'");
  ExpectDenied(Use(token, Request(key_, "alice", "operator")).status(), "names operator 'alice'");
  ExpectDenied(Use(token, Request(key_, "alice", "aggregator")).status(), "names aggregator");
  EXPECT_TRUE(Use(token, Request(key_)).ok()) << "refusals do not spend it";
  for (const char* role : {"aggregator", "root", "", "site "})
    EXPECT_FALSE(authority_->IssueToken("alice", role, absl::Hours(1)).ok()) << role;
}

TEST_F(AuthorityTest, ATokenExpires) {
  const std::string token = Token("alice", kSiteRole, absl::Hours(1));
  const std::string used = Token("bob", kSiteRole, absl::Hours(1));
  now_ += absl::Hours(1) - absl::Seconds(1);
  const EnrolReply reply = Must(Use(used, Request(key_, "bob")));
  now_ += absl::Seconds(1);
  ExpectDenied(Use(token, Request(key_)).status(), "the token has expired on ");
  EXPECT_EQ(Must(Use(used, Request(key_, "bob"))).certificates, reply.certificates)
      << "the answer was lost and is asked for later";
  for (const absl::Duration valid_for :
       {absl::ZeroDuration(), -absl::Hours(1), absl::Hours(24 * 31), absl::InfiniteDuration()})
    EXPECT_FALSE(authority_->IssueToken("alice", "site", valid_for).ok()) << valid_for;
}

TEST_F(AuthorityTest, ATamperedTokenIsRefusedWhateverPartOfItIsBent) {
  const std::string token = Token("alice");
  for (size_t i = 0; i < token.size(); ++i) {
    std::string bent = token;
    bent[i] = bent[i] == '0' ? '1' : '0';
    const absl::Status status = Use(bent, Request(key_)).status();
    EXPECT_TRUE(absl::IsPermissionDenied(status) || absl::IsInvalidArgument(status))
        << i << ": " << status;
    EXPECT_FALSE(absl::StrContains(status.message(), Must(EnrolmentToken::Parse(token)).secret));
  }
  for (const std::string& text :
       {std::string(), token.substr(0, token.size() - 1), token + "0", token + ".", "x" + token,
        std::string("ds1.../../../etc/passwd..")})
    EXPECT_TRUE(absl::IsInvalidArgument(Use(text, Request(key_)).status())) << text;
  EXPECT_TRUE(Use(absl::StrCat(" ", token, "\n"), Request(key_)).ok()) << "blanks are none";
}

TEST_F(AuthorityTest, ATokenOfAnotherAuthorityIsRefused) {
  const std::string token =
      Must(MakeAuthority("other")->IssueToken("alice", "site", absl::Hours(1)));
  ExpectDenied(Use(token, Request(key_)).status(), "the token is of another authority");
}

TEST_F(AuthorityTest, TheSecretIsWrittenDownNowhere) {
  const EnrolmentToken token = Must(EnrolmentToken::Parse(Token("alice")));
  Must(Use(token.Text(), Request(key_)));
  int64_t files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder_.File("authority"))) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_FALSE(absl::StrContains(ReadText(entry.path().string()), token.secret)) << entry.path();
  }
  EXPECT_GE(files, 5);
}

TEST_F(AuthorityTest, ARequestThatIsNotSignedByItsKeyOrOfAnotherCurveIsRefused) {
  const std::string token = Token("alice");
  std::string bent = Request(key_);
  bent[bent.find("-----END") - 10] ^= 1;
  EXPECT_TRUE(absl::IsInvalidArgument(Use(token, bent).status())) << Use(token, bent).status();
  EXPECT_TRUE(absl::IsInvalidArgument(Use(token, "").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Use(token, key_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Use(token, authority_->certificate()).status()));
}

TEST_F(AuthorityTest, OfManyWhoUseOneTokenAtOnceOneSiteGetsACertificate) {
  const std::string token = Token("alice");
  std::vector<std::string> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(Request(Must(MakeKey())));
  std::atomic<int> given{0};
  std::vector<std::thread> threads;
  for (const std::string& request : requests) {
    threads.emplace_back([&, this] {  // each as a process of its own would
      const auto authority = Must(Authority::Open(folder_.File("authority"), Options()));
      const auto reply = authority->Enrol({.token = token, .signing_request = request});
      if (reply.ok()) ++given;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(given, 1);
  EXPECT_THAT(Must(authority_->Certificates()), SizeIs(1));
}

TEST_F(AuthorityTest, RenewalBeginsAtHalfOfALifeAndIsIdempotent) {
  const std::string first = Must(Use(Token("alice"), Request(key_))).certificates;
  ToHalfOf(first);
  now_ -= absl::Seconds(1);
  EXPECT_TRUE(absl::IsFailedPrecondition(Renew(first, Request(other_key_)).status()));
  now_ += absl::Seconds(1);
  ExpectDenied(Renew(first, Request(other_key_, "bob")).status(),
               "but the request names site 'bob'");
  ExpectDenied(Renew(first, Request(other_key_, "alice", "operator")).status(), "names operator");
  const std::string second = Must(Renew(first, Request(other_key_))).certificates;
  EXPECT_NE(Serial(first), Serial(second));
  EXPECT_EQ(Must(Renew(first, Request(other_key_))).certificates, second);
  EXPECT_EQ(Must(ReadCertificate(second)).not_after, now_ + absl::Hours(24 * 90));
  EXPECT_TRUE(CheckCertificate(first, authority_->certificate(), "site", now_).ok())
      << "the old one is in force until its end";
  for (int i = 1; i < 8; ++i) EXPECT_TRUE(Renew(first, Request(Must(MakeKey()))).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Renew(first, Request(Must(MakeKey()))).status()));
  now_ = Must(ReadCertificate(first)).not_after + absl::Seconds(1);
  ExpectDenied(Renew(first, Request(other_key_)).status(), "has expired");
}

TEST_F(AuthorityTest, RenewalIsForCertificatesOfThisAuthorityInForce) {
  const std::string first = Must(Use(Token("alice"), Request(key_))).certificates;
  const auto other = MakeAuthority("other");
  const std::string foreign =
      Must(other->Enrol({.token = Must(other->IssueToken("alice", "site", absl::Hours(1))),
                         .signing_request = Request(key_)}))
          .certificates;
  ToHalfOf(first);
  ExpectDenied(Renew(foreign, Request(other_key_)).status(), "was not issued by the authority");
  // Whose site and role is what the certificate says, whatever the caller is called.
  Caller caller = Must(PeerIdentity(first));
  caller.site = "bob";
  ExpectDenied(authority_->Renew(caller, {.signing_request = Request(other_key_, "bob")}).status(),
               "the certificate is of site 'alice'");
  ASSERT_TRUE(authority_->Revoke("alice").ok());
  ExpectDenied(Renew(first, Request(other_key_)).status(), "is revoked");
}

TEST_F(AuthorityTest, RevokingASerialRevokesWhatRenewsIt) {
  const std::string first = Must(Use(Token("alice"), Request(key_))).certificates;
  ToHalfOf(first);
  const std::string second = Must(Renew(first, Request(other_key_))).certificates;
  ToHalfOf(second);
  const std::string third = Must(Renew(second, Request(Must(MakeKey())))).certificates;
  const std::string apart = Must(Use(Token("alice"), Request(key_))).certificates;
  EXPECT_THAT(Must(authority_->Revoke(absl::AsciiStrToUpper(Serial(second)))),
              UnorderedElementsAre(Serial(second), Serial(third)));
  EXPECT_THAT(Must(authority_->Revoke(Serial(first))), ElementsAre(Serial(first)));
  EXPECT_THAT(Must(authority_->Revoke(Serial(first))), IsEmpty()) << "all are already";
  for (const IssuedCertificate& issued : Must(authority_->Certificates()))
    EXPECT_EQ(issued.revoked, issued.serial != Serial(apart)) << issued.serial;
}

TEST_F(AuthorityTest, RevokingASiteTakesItsTokensToo) {
  const std::string token = Token("alice"), unused = Token("alice"), bobs = Token("bob");
  const std::string first = Must(Use(token, Request(key_))).certificates;
  EXPECT_THAT(Must(authority_->Revoke("alice")), ElementsAre(Serial(first)));
  ExpectDenied(Use(unused, Request(other_key_)).status(), "is not known, or was withdrawn");
  ExpectDenied(Use(token, Request(key_)).status(), "is revoked");
  EXPECT_TRUE(Use(bobs, Request(other_key_, "bob")).ok());
  EXPECT_TRUE(absl::IsNotFound(authority_->Revoke("carol").status()));
  const std::string carols = Token("carol");
  EXPECT_THAT(Must(authority_->Revoke("carol")), IsEmpty()) << "a token alone";
  EXPECT_TRUE(Use(Token("alice"), Request(other_key_)).ok()) << "a new token is a new beginning";
}

TEST_F(AuthorityTest, AnAuthorityIsMadeOnceAndOpenedWhole) {
  const std::string folder = folder_.File("authority");
  EXPECT_TRUE(absl::IsAlreadyExists(Authority::Make(folder, "again").status()));
  EXPECT_EQ(Must(Authority::Open(folder))->fingerprint(), authority_->fingerprint());
  EXPECT_TRUE(absl::IsNotFound(Authority::Open(folder_.File("none")).status()));
  MakeAuthority("other");
  std::filesystem::copy_file(folder_.File("other/authority.key"), folder + "/authority.key",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Authority::Open(folder).status().message(), HasSubstr("is not the key of"));
}

TEST_F(AuthorityTest, NoCertificateOutlivesTheAuthoritys) {
  now_ += absl::Hours(24 * 3650) - absl::Hours(1);
  const std::string late = Must(Use(Token("alice"), Request(key_))).certificates;
  EXPECT_EQ(Must(ReadCertificate(late)).not_after, now_ + absl::Hours(1));
  const std::string token = Token("alice");
  now_ += absl::Hours(1);
  EXPECT_THAT(Use(token, Request(key_)).status().message(),
              HasSubstr("the authority's own certificate has expired"));
}

TEST_F(AuthorityTest, ASiteAsksUntilItHasItsCertificateAndRenewsInTime) {
  const std::string token = Token("alice"), site = SiteFolder("alice");
  std::vector<std::string> answers;
  const auto lost = [&](const EnrolRequest& request) -> absl::StatusOr<EnrolReply> {
    answers.push_back(Must(authority_->Enrol(request)).certificates);
    return absl::UnavailableError("the answer is lost");
  };
  EXPECT_TRUE(absl::IsUnavailable(EnrolSite(site, token, "alice", "site", lost, Clock())));
  const auto heard = [&](const EnrolRequest& request) { return authority_->Enrol(request); };
  ASSERT_TRUE(EnrolSite(site, token, "alice", "site", heard, Clock()).ok());
  const Credentials first = Must(ReadCredentials(IdentityFile(site)));
  EXPECT_EQ(first.certificate, answers.at(0));

  const auto renew = [&](const RenewRequest& request) {
    return authority_->Renew(Must(PeerIdentity(first.certificate)), request);
  };
  EXPECT_FALSE(Must(RenewIfDue(site, renew, Clock())));
  ToHalfOf(first.certificate);
  EXPECT_TRUE(Must(RenewIfDue(site, renew, Clock())));
  const Credentials second = Must(ReadCredentials(IdentityFile(site)));
  EXPECT_NE(second.key, first.key);
  EXPECT_NE(second.certificate, first.certificate);
  EXPECT_FALSE(Must(RenewIfDue(site, renew, Clock())));
}

TEST_F(AuthorityTest, ASiteRefusesAnAnswerThatIsNotWhatItAskedFor) {
  const std::string site = SiteFolder("alice");
  const auto impostor = MakeAuthority("impostor");
  const auto answer = [&](Authority& authority, const std::string& name, const std::string& key) {
    return [&authority, name, key](const EnrolRequest& request) {
      const std::string token = Must(authority.IssueToken(name, "site", absl::Hours(1)));
      return authority.Enrol(
          {.token = token,
           .signing_request = key.empty() ? request.signing_request
                                          : Must(MakeSigningRequest(key, name, "site"))});
    };
  };
  const auto enrol = [&](auto send) {
    return EnrolSite(site, Token("alice"), "alice", "site", send, Clock());
  };
  ExpectDenied(enrol(answer(*impostor, "alice", "")), "somebody else answers at this address");
  EXPECT_THAT(enrol(answer(*authority_, "alice", other_key_)).message(),
              HasSubstr("the private key is not the one"));
  EXPECT_FALSE(std::filesystem::exists(IdentityFile(site)));
  EXPECT_TRUE(enrol(answer(*authority_, "alice", "")).ok());
}

}  // namespace
}  // namespace ds::federated
