// Malicious sites: refused and named, while the others finish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"
#include "tests/federated/secure/secure_run.h"

namespace ds::federated {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kBits = 10;

void ExpectInvalid(const absl::Status& status, const std::string& site, const std::string& why) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::AllOf(HasSubstr(site), HasSubstr(why)));
}

// Six sites, t = 4: two may be lost.
class Site : public testing::Test {
 protected:
  Site() : run_(6, {.mode = "on", .rounds_a_setup = 3}) {}

  std::string Collect(const SecureRound& round) {
    sum_ = IntegerVector(round.bits, round.values);
    for (int site : run_.All()) sum_.Add(*run_.Commit(site, round, 7));
    return *run_.server().Survivors(round, run_.Names(run_.All()), nullptr);
  }
  absl::Status Answer(int site, const SecureRound& round, const std::string& said) {
    return run_.server().AddAnswer(round, run_.name(site),
                                   *run_.agent(site).AnswerUnmask(round, said));
  }
  void ExpectSum(const SecureRound& round) {
    IntegerVector sum = sum_;
    const absl::Status status = run_.server().Unmask(round, sum);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(sum.bytes(), SecureRun::PlainSum(round, 7, run_.All()).bytes());
  }

  SecureRun run_;
  IntegerVector sum_{kBits, 5};
};

TEST_F(Site, BadSharesInAnAnswerAreRefusedAndTheOthersFinish) {
  ASSERT_TRUE(run_.SetUp(0).ok());
  const SecureRound round = run_.Round(0, 0, kBits, 5);
  const std::string said = Collect(round);
  const secure::Answer good = *secure::DecodeAnswer(*run_.agent(2).AnswerUnmask(round, said));
  const auto given = [&](int as, const std::function<void(secure::Answer&)>& change) {
    secure::Answer answer = good;
    change(answer);
    return run_.server().AddAnswer(round, run_.name(as), answer.Encode());
  };
  ExpectInvalid(given(2, [](auto& a) { a.entries[4].share[31] ^= 1; }), "site-002",
                "its share of site-004 is not the one that it was given");
  ExpectInvalid(given(2, [](auto& a) { a.entries.pop_back(); }), "site-002", "not of the sites");
  ExpectInvalid(given(2, [](auto& a) { a.entries[5].owner = 7; }), "site-002", "not of the sites");
  ExpectInvalid(given(2, [](auto& a) { a.round = 1; }), "site-002", "of another round");
  ExpectInvalid(given(2, [](auto& a) { a.header.epoch = 1; }), "site-002", "of another round");
  ExpectInvalid(given(2, [](auto& a) { a.survivors[0] ^= 1; }), "site-002", "other survivors");
  // Another site's answer, replayed as one's own.
  ExpectInvalid(given(3, [](auto&) {}), "site-003", "is not the one that it was given");
  ExpectInvalid(run_.server().AddAnswer(round, run_.name(2), good.Encode() + "x"), "site-002",
                "too many");
  ExpectInvalid(run_.server().AddAnswer(round, run_.name(2), good.Encode().substr(0, 90)),
                "site-002", "cut short");
  EXPECT_EQ(run_.server().AddAnswer(round, "stranger", good.Encode()).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(run_.server().answers(round), 0);
  for (int site : {0, 1, 4, 5}) ASSERT_TRUE(Answer(site, round, said).ok());
  EXPECT_TRUE(run_.server().Answered(round));
  ExpectSum(round);
  EXPECT_THAT(run_.server().Blamed(round), testing::IsEmpty());
}

TEST_F(Site, AnAnswerIsGivenOnceAndNotOfAnEarlierRound) {
  ASSERT_TRUE(run_.SetUp(0).ok());
  const SecureRound first = run_.Round(0, 0, kBits, 5);
  const std::string said = Collect(first);
  const std::string answer = *run_.agent(0).AnswerUnmask(first, said);
  ASSERT_TRUE(run_.server().AddAnswer(first, run_.name(0), answer).ok());
  ASSERT_TRUE(run_.server().AddAnswer(first, run_.name(0), answer).ok());
  EXPECT_EQ(run_.server().answers(first), 1);
  secure::Answer other = *secure::DecodeAnswer(answer);
  other.entries[1].has = false;
  ExpectInvalid(run_.server().AddAnswer(first, run_.name(0), other.Encode()), "site-000",
                "another one than before");
  for (int site : {1, 2, 3}) ASSERT_TRUE(Answer(site, first, said).ok());
  ExpectSum(first);
  const SecureRound second = run_.Round(1, 1, kBits, 5);
  Collect(second);
  ExpectInvalid(run_.server().AddAnswer(second, run_.name(0), answer), "site-000",
                "of another round");
}

TEST_F(Site, KeysOfAnotherSiteRunOrSizeAreRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  const std::string good = *run_.agent(1).OfferKeys(0);
  const auto given = [&](const std::string& as, const std::function<void(secure::Keys&)>& change) {
    secure::Keys keys = *secure::DecodeKeys(good);
    change(keys);
    return run_.server().AddKeys(as, keys.Encode());
  };
  ExpectInvalid(given("site-002", [](auto&) {}), "site-002", "signed as of site-001");
  ExpectInvalid(given("site-001", [](auto& k) { k.header.epoch = 1; }), "site-001", "another run");
  ExpectInvalid(given("site-001", [](auto& k) { k.mask_keys[0][0] ^= 1; }), "site-001",
                "not a signature");
  ExpectInvalid(given("site-001",
                      [](auto& k) {
                        k.mask_keys.resize(2);
                        k.seeds.resize(2);
                      }),
                "site-001", "for 2 rounds, not 3");
  ExpectInvalid(given("site-001", [](auto& k) { k.certificate.resize(20000); }), "site-001",
                "at most 16384");
  EXPECT_EQ(given("stranger", [](auto&) {}).code(), absl::StatusCode::kPermissionDenied);
  ASSERT_TRUE(run_.server().AddKeys("site-001", good).ok());
  ASSERT_TRUE(run_.server().AddKeys("site-001", good).ok());
  ExpectInvalid(given("site-001", [](auto& k) { k.nonce[0] ^= 1; }), "site-001",
                "other ones than before");
}

TEST_F(Site, SharesOfWrongShapeAreRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  ASSERT_TRUE(run_.Keys(run_.All()).ok());
  const std::string good = *run_.agent(1).SealShares(0, run_.server().request());
  const auto given = [&](const std::function<void(secure::Shares&)>& change) {
    secure::Shares shares = *secure::DecodeShares(good);
    change(shares);
    return run_.server().AddShares("site-001", shares.Encode());
  };
  ExpectInvalid(given([](auto& s) { s.entries.pop_back(); }), "site-001", "not one a holder");
  ExpectInvalid(given([](auto& s) { s.entries[2].sealed.push_back('x'); }), "site-002", "bytes");
  ExpectInvalid(given([](auto& s) { s.entries[2].sealed.resize(70000); }), "site-001", "at most");
  ExpectInvalid(given([](auto& s) { s.entries[3].tags.pop_back(); }), "site-001", "tags");
  ExpectInvalid(given([](auto& s) { s.setup[0] ^= 1; }), "site-001", "another roster");
  ExpectInvalid(given([](auto& s) { s.signature[0] ^= 1; }), "site-001", "signature");
  ExpectInvalid(run_.server().AddShares("site-002", good), "site-002", "signature");
  EXPECT_TRUE(run_.server().AddShares("site-001", good).ok());
  ExpectInvalid(given([](auto& s) { s.entries[2].sealed[20] ^= 1; }), "site-001",
                "other ones than before");
}

// Garbage inside the seal is found by those who open it. With few of them the sum comes out; with
// more the owner is named, to be left out of the next set-up.
TEST_F(Site, SealedGarbageIsFoundAndItsOwnerNamed) {
  for (int spoilt : {1, 3}) {
    SecureRun run(6, {.mode = "on", .rounds_a_setup = 2});
    ASSERT_TRUE(run.NewServer(0).ok());
    ASSERT_TRUE(run.Keys(run.All()).ok());
    for (int site : run.All()) {
      secure::Shares shares =
          *secure::DecodeShares(*run.agent(site).SealShares(0, run.server().request()));
      if (site == 5)
        for (int holder = 0; holder < spoilt; ++holder) shares.entries[holder].sealed[30] ^= 1;
      ASSERT_TRUE(run.server().AddShares(run.name(site), shares.Encode()).ok());
    }
    ASSERT_TRUE(run.server().CloseShares().ok());
    ASSERT_TRUE(run.Inboxes(run.All()).ok());
    EXPECT_THAT(run.agent(0).TakeWarnings(), ElementsAre(HasSubstr("the shares of site-005")));
    const SecureRound round = run.Round(0, 0, kBits, 5);
    const auto sum = run.Sum(round, 7, run.All(), run.All());
    if (spoilt == 1) {
      ASSERT_TRUE(sum.ok()) << sum.status();
      EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, 7, run.All()).bytes());
      EXPECT_THAT(run.server().Blamed(round), testing::IsEmpty());
    } else {
      EXPECT_THAT(std::string(sum.status().message()),
                  HasSubstr("too few good shares of site-005"));
      EXPECT_THAT(run.server().Blamed(round), ElementsAre("site-005"));
    }
  }
}

// Shares that all open, and of something else than was committed to: the sum would be garbage.
TEST_F(Site, SharesOfAnotherSecretAreFoundAndTheirOwnerNamed) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  // A site that commits to other seeds than it shares: it signs a commitment of its own making.
  for (int site : run_.All()) {
    secure::Keys keys = *secure::DecodeKeys(*run_.agent(site).OfferKeys(0));
    if (site == 4) {
      keys.seeds[0][0] ^= 1;
      keys.signature = run_.authority()->Signature(run_.name(site), secure::KeysToSign(keys));
      // Its own agent would not go on with a roster that differs from what it offered.
      std::map<std::string, std::string> image = run_.vault(site).Image();
      std::string& entry = image["secure.run-7.keys.0"];
      const std::string old = *run_.agent(site).OfferKeys(0);
      entry.replace(entry.find(old), old.size(), keys.Encode());
      run_.vault(site).PutBack(std::move(image));
      ASSERT_TRUE(run_.Restart(site).ok());
    }
    ASSERT_TRUE(run_.server().AddKeys(run_.name(site), keys.Encode()).ok());
  }
  ASSERT_TRUE(run_.server().CloseKeys().ok());
  ASSERT_TRUE(run_.SharesOf(run_.All()).ok());
  ASSERT_TRUE(run_.server().CloseShares().ok());
  ASSERT_TRUE(run_.Inboxes(run_.All()).ok());
  const SecureRound round = run_.Round(0, 0, kBits, 5);
  const auto sum = run_.Sum(round, 7, run_.All(), run_.All());
  EXPECT_EQ(sum.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(sum.status().message()), HasSubstr("the shares of site-004"));
  EXPECT_THAT(run_.server().Blamed(round), ElementsAre("site-004"));
}

TEST_F(Site, AnUpdateWithoutItsNoteOrWithAForgedOneDoesNotCount) {
  ASSERT_TRUE(run_.SetUp(0).ok());
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, 5), 7, run_.All(), {0, 1, 2, 3}).ok());
  ExpectInvalid(run_.server().AddNotes("site-000", {}), "site-000", "nothing");
  ExpectInvalid(run_.server().AddNotes("site-000", {"!"}), "site-000", "base64");
  ExpectInvalid(run_.server().AddNotes("site-000", run_.agent(1).Notes()), "site-000", "signature");
  EXPECT_TRUE(run_.server().AddNotes("site-000", run_.agent(0).Notes()).ok());
  // Who has not answered has nothing to say.
  EXPECT_TRUE(run_.server().AddNotes("site-005", {}).ok());
}

TEST_F(Site, EchoesOfOtherSurvivorsOrSitesAreRefused) {
  SecureRun run(5, {.mode = "strict", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0).ok());
  const SecureRound round = run.Round(0, 0, kBits, 5);
  for (int site : run.All()) ASSERT_TRUE(run.Commit(site, round, 7).ok());
  const std::string said = *run.server().Survivors(round, run.Names(run.All()), nullptr);
  const secure::Echo good = *secure::DecodeEcho(*run.agent(1).Echo(round, said));
  ExpectInvalid(run.server().AddEcho(round, "site-002", good.Encode()), "site-002", "signature");
  secure::Echo other = good;
  other.survivors[0] ^= 1;
  ExpectInvalid(run.server().AddEcho(round, "site-001", other.Encode()), "site-001",
                "other survivors");
  other = good;
  other.round = 1;
  ExpectInvalid(run.server().AddEcho(round, "site-001", other.Encode()), "site-001",
                "another round");
  EXPECT_EQ(run.server().SurvivorsWithEchoes(round).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(run.server().AddEcho(round, "site-001", good.Encode()).ok());
  EXPECT_EQ(run.server().echoes(round), 1);
}

}  // namespace
}  // namespace ds::federated
