// The power is cut at every call to the disk, on the authority's side and on the site's, and
// whatever a disk may hold afterwards, the same is done again.
#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>

#include "federated/pki/authority/authority.h"
#include "federated/pki/revocation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"
#include "tests/support/faulty_file_system.h"

namespace ds::federated {
namespace {

using Survives = FaultyFileSystem::Survives;

struct Cut {
  Survives survives;
  uint64_t seed;
};
constexpr Cut kCuts[] = {{Survives::kSynced, 0},
                         {Survives::kNames, 0},
                         {Survives::kAnything, 1},
                         {Survives::kAnything, 2}};

class PowerCutTest : public PkiTest {
 protected:
  // `act` with the power cut at its call 1, then at call 2, ... until it is through; `then` is
  // told whether it was said to have succeeded, with the disk as it came back. Every turn has an
  // authority and a site of its own.
  void AtEveryCall(const std::function<absl::Status(const std::string& site)>& act,
                   const std::function<void(const std::string& site, bool through)>& then) {
    bool through = false;
    int64_t turns = 0;
    for (int64_t call = 1; !through; ++call) {
      for (const Cut& cut : kCuts) {
        const std::string site = absl::StrCat("site", call, "x", turns++);
        SCOPED_TRACE(absl::StrCat("call ", call, ", turn ", turns));
        std::error_code none;
        for (const char* old : {"authority", "sites"})
          std::filesystem::remove_all(folder_.File(old), none);
        now_ = start_;
        authority_ = MakeAuthority("authority");
        Before(site);
        FaultyFileSystem files(folder_.path());
        files.FailAt(call, EIO, /*for_good=*/true);
        through = act(site).ok();
        files.PowerCut(cut.survives, cut.seed);
        files.FailNoMore();
        authority_ = Must(Authority::Open(folder_.File("authority"), Options()));
        then(site, through);
      }
      ASSERT_LT(call, 60);
    }
    EXPECT_GE(turns, 12) << "hardly any call was cut";
  }
  virtual void Before(const std::string& site) {}

  absl::StatusOr<EnrolReply> Use(const std::string& token, const std::string& key,
                                 const std::string& site) {
    return authority_->Enrol(
        {.token = token, .signing_request = Must(MakeSigningRequest(key, site, "site"))});
  }

  const std::string key_ = Must(MakeKey()), other_key_ = Must(MakeKey());
  const absl::Time start_ = now_;
  std::string token_, answer_;
};

class EnrolPowerCut : public PowerCutTest {
 protected:
  void Before(const std::string& site) override {
    token_ = Token(site);
    answer_.clear();
  }
};

TEST_F(EnrolPowerCut, ATokenIsSpentBeforeTheCertificateIsHandedOut) {
  AtEveryCall(
      [this](const std::string& site) {
        const auto reply = Use(token_, key_, site);
        if (reply.ok()) answer_ = reply->certificates;
        return reply.status();
      },
      [this](const std::string& site, bool through) {
        // Who had its certificate has the only one; who had none may still get one.
        const auto other = Use(token_, other_key_, site);
        if (through) {
          EXPECT_TRUE(absl::IsPermissionDenied(other.status())) << other.status();
          EXPECT_EQ(Must(Use(token_, key_, site)).certificates, answer_);
        } else {
          EXPECT_NE(other.ok(), Use(token_, key_, site).ok()) << "exactly one of the two keys";
        }
      });
}

TEST_F(EnrolPowerCut, TheSameKeyGetsItsCertificateAfterAnyCut) {
  AtEveryCall([this](const std::string& site) { return Use(token_, key_, site).status(); },
              [this](const std::string& site, bool) {
                const auto again = Use(token_, key_, site);
                EXPECT_TRUE(again.ok()) << again.status();
              });
}

TEST_F(EnrolPowerCut, ASitesOwnDiskMayForgetToo) {
  const auto enrol = [this](const std::string& site) {
    return EnrolSite(
        SiteFolder(site), token_, site, "site",
        [this](const EnrolRequest& request) { return authority_->Enrol(request); }, Clock());
  };
  AtEveryCall(enrol, [&](const std::string& site, bool through) {
    ASSERT_TRUE(through || enrol(site).ok()) << enrol(site);
    EXPECT_TRUE(FileSiteIdentity::Open(IdentityFile(SiteFolder(site)), {.clock = Clock()}).ok());
  });
}

class RenewPowerCut : public PowerCutTest {
 protected:
  void Before(const std::string& site) override {
    Enrolled(site);
    now_ += absl::Hours(24 * 50);
  }
};

TEST_F(RenewPowerCut, TheOldIdentityOrTheNewOneIsThereAndRenewalGoesOn) {
  const auto renew = [this](const std::string& site) {
    const std::string path = IdentityFile(SiteFolder(site));
    return RenewIfDue(
               SiteFolder(site),
               [&](const RenewRequest& request) -> absl::StatusOr<EnrolReply> {
                 return authority_->Renew(
                     Must(PeerIdentity(Must(ReadCredentials(path)).certificate)), request);
               },
               Clock())
        .status();
  };
  AtEveryCall(renew, [&](const std::string& site, bool through) {
    const std::string path = IdentityFile(SiteFolder(site));
    EXPECT_TRUE(FileSiteIdentity::Open(path, {.clock = Clock()}).ok());
    ASSERT_TRUE(renew(site).ok()) << renew(site);
    EXPECT_EQ(Must(ReadCertificate(Must(ReadCredentials(path)).certificate)).not_after,
              now_ + absl::Hours(24 * 90));
  });
}

class RevokePowerCut : public PowerCutTest {
 protected:
  void Before(const std::string& site) override { Enrolled(site); }
};

TEST_F(RevokePowerCut, WhatIsSaidToBeRevokedIsRevokedAfterwards) {
  AtEveryCall([this](const std::string& site) { return authority_->Revoke(site).status(); },
              [this](const std::string& site, bool through) {
                const auto list =
                    Must(RevocationList::Open(RevocationFile(folder_.File("authority"))));
                for (const IssuedCertificate& issued : Must(authority_->Certificates())) {
                  EXPECT_TRUE(issued.site != site || !through || list->IsRevoked(issued.serial));
                }
              });
}

TEST_F(PowerCutTest, AnAuthorityIsThereWholeOrNotAtAll) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const Cut& cut : kCuts) {
      const TempFolder folder;
      FaultyFileSystem files(folder.path());
      files.FailAt(call, EIO, /*for_good=*/true);
      through = Authority::Make(folder.File("authority"), "new").ok();
      files.PowerCut(cut.survives, cut.seed);
      files.FailNoMore();
      const auto opened = Authority::Open(folder.File("authority"));
      EXPECT_TRUE(!through || opened.ok()) << opened.status();
      EXPECT_TRUE(opened.ok() || Authority::Make(folder.File("authority"), "new").ok());
    }
    ASSERT_LT(call, 60);
  }
}

}  // namespace
}  // namespace ds::federated
