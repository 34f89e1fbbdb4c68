#include "federated/pki/identity.h"

#include <sys/stat.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "federated/pki/renewed_identity.h"
#include "federated/pki/revocation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class IdentityTest : public PkiTest {
 protected:
  // What `verifier` says to alice's signature, as `who` with `certificate`.
  absl::Status Verdict(const FileSiteIdentity& verifier, const FileSiteIdentity& signer,
                       const std::string& who) {
    return verifier.Verify(who, signer.certificate(), "message", Must(signer.Sign("message")));
  }
  static void ExpectDenied(const absl::Status& status, const std::string& words) {
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    EXPECT_THAT(status.message(), HasSubstr(words));
  }
};

TEST_F(IdentityTest, ACertificateSaysSiteRoleAndDates) {
  const Credentials alice = Enrolled("alice");
  const CertificateFacts facts = Must(ReadCertificate(alice.certificate));
  EXPECT_EQ(facts.site, "alice");
  EXPECT_EQ(facts.role, "site");
  EXPECT_EQ(facts.issuer, "test-federation authority");
  EXPECT_EQ(facts.serial.size(), 32u);
  EXPECT_EQ(facts.not_before, now_ - absl::Minutes(5));
  EXPECT_EQ(facts.not_after, now_ + absl::Hours(24 * 90));
  const Caller caller = Must(PeerIdentity(alice.certificate));
  EXPECT_EQ(caller.site, "alice");
  EXPECT_EQ(caller.role, "site");
  EXPECT_EQ(caller.serial, facts.serial);
  EXPECT_EQ(caller.certificate, alice.certificate);
  ExpectDenied(PeerIdentity(alice.authority).status(), "names no site and role");
}

TEST_F(IdentityTest, TheServersCertificateIsForItsHosts) {
  ASSERT_TRUE(authority_->IssueServer("hub", {"hub.example.org", "127.0.0.1", "::1"}).ok());
  const Credentials server = Must(ReadCredentials(ServerFile(folder_.File("authority"))));
  const CertificateFacts facts = Must(ReadCertificate(server.certificate));
  EXPECT_EQ(facts.role, "aggregator");
  EXPECT_THAT(facts.hosts, ElementsAre("hub.example.org", "127.0.0.1", "::1"));
  EXPECT_EQ(server.Chain(), server.certificate + authority_->certificate());
  // Renewed without naming them again.
  ASSERT_TRUE(authority_->IssueServer("hub", {}).ok());
  const Credentials renewed = Must(ReadCredentials(ServerFile(folder_.File("authority"))));
  EXPECT_NE(renewed.key, server.key);
  EXPECT_EQ(Must(ReadCertificate(renewed.certificate)).hosts, facts.hosts);
  for (const char* host : {"", "a b", "a,DNS:evil", "-a", "a\n", "a/b", "*"}) {
    EXPECT_EQ(authority_->IssueServer("hub", {host}).code(), absl::StatusCode::kInvalidArgument)
        << host;
  }
}

TEST_F(IdentityTest, ASignatureIsOneOfThatSiteOverThatMessage) {
  const auto alice = Identity(Enrolled("alice")), bob = Identity(Enrolled("bob"));
  EXPECT_TRUE(Verdict(*bob, *alice, "alice").ok());
  ExpectDenied(Verdict(*bob, *alice, "carol"), "is of 'alice', not of 'carol'");
  const std::string signature = Must(alice->Sign("message"));
  ExpectDenied(bob->Verify("alice", alice->certificate(), "massage", signature), "the signature");
  ExpectDenied(bob->Verify("alice", alice->certificate(), "message", ""), "the signature");
  ExpectDenied(bob->Verify("bob", bob->certificate(), "message", signature), "the signature");
  for (size_t i = 0; i < signature.size(); ++i) {
    std::string bent = signature;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    ExpectDenied(bob->Verify("alice", alice->certificate(), "message", bent), "the signature");
  }
}

TEST_F(IdentityTest, OnlyTheAuthoritysCertificatesOfSitesCount) {
  const auto alice = Identity(Enrolled("alice"));
  const auto chief = Identity(Enrolled("chief", kOperatorRole));
  ExpectDenied(Verdict(*alice, *chief, "chief"), "has the role 'operator', not 'site'");

  ASSERT_TRUE(authority_->IssueServer("hub", {"localhost"}).ok());
  const auto hub = Must(FileSiteIdentity::Open(ServerFile(folder_.File("authority"))));
  ExpectDenied(Verdict(*alice, *hub, "hub"), "was not issued for this purpose");
  EXPECT_TRUE(Verdict(*hub, *alice, "alice").ok()) << "the aggregator verifies";

  // Another authority of the same name, and the same site of it.
  authority_ = MakeAuthority("impostor");
  const auto other = Identity(Enrolled("alice"));
  ExpectDenied(Verdict(*alice, *other, "alice"), "was not issued by the authority with the");
  ExpectDenied(alice->Identify(other->certificate()).status(), "was not issued by the authority");
  ExpectDenied(alice->Verify("alice", "no certificate", "message", ""), "no certificate in PEM");
}

TEST_F(IdentityTest, ACertificateOutsideItsDatesIsRefused) {
  const Credentials alice = Enrolled("alice"), bob = Enrolled("bob");
  const auto before = Identity(alice), verifier = Identity(bob);
  const CertificateFacts facts = before->facts();
  now_ = facts.not_after + absl::Seconds(1);
  ExpectDenied(Verdict(*verifier, *before, "alice"), "has expired on ");
  ExpectDenied(verifier->Identify(alice.certificate).status(), "has expired on ");
  ExpectDenied(FileSiteIdentity::Create(alice, {.clock = Clock()}).status(), "enrol again");
  now_ = facts.not_before - absl::Seconds(1);
  ExpectDenied(Verdict(*verifier, *before, "alice"), "set this machine's clock");
  now_ = facts.not_after - absl::Seconds(1);
  EXPECT_TRUE(Verdict(*verifier, *before, "alice").ok());
}

TEST_F(IdentityTest, ARevokedCertificateIsRefusedWhereThatIsKnown) {
  const auto alice = Identity(Enrolled("alice")), bob = Identity(Enrolled("bob"));
  std::set<std::string> revoked;
  const auto hub =
      Must(FileSiteIdentity::Open(IdentityFile(SiteFolder("bob")),
                                  {.clock = Clock(), .is_revoked = [&](const std::string& serial) {
                                     return revoked.count(serial) > 0;
                                   }}));
  EXPECT_TRUE(hub->Identify(alice->certificate()).ok());
  revoked.insert(alice->facts().serial);
  ExpectDenied(hub->Identify(alice->certificate()).status(), "is revoked");
  ExpectDenied(Verdict(*hub, *alice, "alice"), "is revoked");
  EXPECT_TRUE(Verdict(*hub, *bob, "bob").ok());
}

TEST_F(IdentityTest, OnlyTheOwnerReadsKeys) {
  Enrolled("alice");
  ASSERT_TRUE(PrepareRequest(SiteFolder("alice"), "alice", "site").ok());
  ASSERT_TRUE(authority_->IssueServer("hub", {"localhost"}).ok());
  for (const std::string& file :
       {folder_.File("authority/authority.key"), folder_.File("authority/server.pem"),
        SiteFolder("alice") + "/identity.pem", SiteFolder("alice") + "/pending.key"}) {
    struct stat info = {};
    ASSERT_EQ(::stat(file.c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << file;
  }
}

TEST_F(IdentityTest, AFileThatDoesNotFitTogetherIsRefused) {
  const Credentials alice = Enrolled("alice"), bob = Enrolled("bob");
  const auto verdict = [](const std::string& text) { return ParseCredentials(text).status(); };
  EXPECT_TRUE(verdict(alice.key + alice.Chain()).ok());
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"", "private key"},
           {alice.Chain(), "private key"},
           {alice.key, "certificate"},
           {alice.key + alice.certificate, "not 1"},
           {alice.key + alice.Chain() + bob.certificate, "not 3"},
           {bob.key + alice.Chain(), "not the one of the first certificate"},
           {std::string(100000, 'x'), "private key"}}) {
    EXPECT_EQ(verdict(text).code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(verdict(text).message(), HasSubstr(words));
  }
  folder_.Write("broken.pem", alice.key);
  EXPECT_THAT(ReadCredentials(folder_.File("broken.pem")).status().message(),
              HasSubstr("broken.pem"));
}

TEST_F(IdentityTest, NamesThatWouldLeadElsewhereAreRefused) {
  const std::string key = Must(MakeKey());
  for (const std::string& name : std::vector<std::string>{"", ".", "..", "a/b", "a b", "-a", "a\n",
                                                          "ä", "a,b", std::string("a\0b", 3)}) {
    EXPECT_EQ(MakeSigningRequest(key, name, "site").status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_FALSE(MakeSigningRequest(key, std::string(64, 'a'), "site").ok());
  EXPECT_TRUE(MakeSigningRequest(key, std::string(63, 'a'), "site").ok());
}

TEST_F(IdentityTest, AFollowedIdentitySignsWithTheKeyOfTheCertificateThatItShowed) {
  const Credentials first = Enrolled("alice");
  const std::string path = IdentityFile(SiteFolder("alice"));
  const auto followed = Must(FollowIdentity(path, {.clock = Clock()}));
  const std::string& shown = followed->certificate();
  EXPECT_EQ(shown, first.certificate);
  const Credentials second = Enrolled("alice");
  absl::SleepFor(2 * FileWatch::kPause);
  const auto verifies = [&](const std::string& certificate) {
    return followed->Verify("alice", certificate, "m", Must(followed->Sign("m"))).ok();
  };
  EXPECT_TRUE(verifies(first.certificate)) << "the new one was not shown yet";
  EXPECT_EQ(followed->certificate(), second.certificate);
  EXPECT_TRUE(verifies(second.certificate));
  EXPECT_EQ(shown, first.certificate) << "references stay";
  ASSERT_TRUE(WriteFileAtomically(path, "damaged").ok());
  absl::SleepFor(2 * FileWatch::kPause);
  EXPECT_EQ(followed->certificate(), second.certificate);
  EXPECT_FALSE(FollowIdentity(path).ok());
}

TEST_F(IdentityTest, ARevocationOfAnotherProcessIsSeenWithinASecond) {
  const Credentials alice = Enrolled("alice");
  const std::string serial = Must(ReadCertificate(alice.certificate)).serial;
  const auto list = Must(RevocationList::Open(RevocationFile(folder_.File("authority"))));
  EXPECT_FALSE(list->IsRevoked(serial));
  ASSERT_TRUE(Must(Authority::Open(folder_.File("authority")))->Revoke("alice").ok());
  const Deadline deadline = Deadline::In(absl::Milliseconds(500));
  while (!list->IsRevoked(serial) && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(list->IsRevoked(serial));

  // Damaged or gone: what was revoked stays so.
  const std::string path = RevocationFile(folder_.File("authority"));
  for (const bool gone : {false, true}) {
    ASSERT_TRUE(
        (gone ? FileSystem::Default().RemoveFile(path) : WriteFileAtomically(path, "no serial\n"))
            .ok());
    absl::SleepFor(2 * FileWatch::kPause);
    EXPECT_TRUE(list->IsRevoked(serial));
  }
  EXPECT_EQ(RevocationList::Open(path).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ds::federated
