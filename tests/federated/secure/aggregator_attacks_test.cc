// A malicious aggregator: what it may try, and that every honest site refuses and says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"
#include "tests/federated/secure/secure_run.h"

namespace ds::federated {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kBits = 10;
constexpr int64_t kValues = 6;

#define EXPECT_REFUSED(expression, why)                                        \
  do {                                                                         \
    const absl::Status status_ = ::ds::federated::StatusOf(expression);        \
    EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied) << status_; \
    EXPECT_THAT(std::string(status_.message()), HasSubstr(why));               \
  } while (false)

}  // namespace

absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

namespace {

// Five sites, of which four must answer, before their first round.
class Aggregator : public testing::Test {
 protected:
  explicit Aggregator(std::string mode = "on")
      : run_(5, {.mode = std::move(mode), .rounds_a_setup = 3}) {}

  void SetUpEpoch() { ASSERT_TRUE(run_.SetUp(0).ok()); }
  // Everybody's update, then the survivors' bytes.
  std::string Collect(const SecureRound& round, const SecureRun::Sites& survivors) {
    for (int site : run_.All()) EXPECT_TRUE(run_.Commit(site, round, 7).ok());
    const auto bytes = run_.server().Survivors(round, run_.Names(survivors), nullptr);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.value_or("");
  }
  // The bytes as an aggregator would forge them.
  static std::string Forge(const std::string& bytes,
                           const std::function<void(secure::Survivors&)>& change) {
    secure::Survivors survivors = *secure::DecodeSurvivors(bytes);
    change(survivors);
    return survivors.Encode();
  }

  SecureRun run_;
};

class StrictAggregator : public Aggregator {
 protected:
  StrictAggregator() : Aggregator("strict") {}
};

TEST_F(Aggregator, OverlappingListsGetOneAnswerFromEachSite) {
  SetUpEpoch();
  const SecureRound round = run_.Round(0, 0, kBits, kValues);
  const std::string with = Collect(round, {0, 1, 2, 3, 4});
  const std::string without = Forge(with, [](auto& said) { said.survivors[4] = false; });
  for (int site : {0, 1}) ASSERT_TRUE(run_.agent(site).AnswerUnmask(round, with).ok());
  for (int site : {2, 3}) ASSERT_TRUE(run_.agent(site).AnswerUnmask(round, without).ok());
  for (int site : {0, 1})
    EXPECT_REFUSED(run_.agent(site).AnswerUnmask(round, without), "asks a second time");
  for (int site : {2, 3})
    EXPECT_REFUSED(run_.agent(site).AnswerUnmask(round, with), "asks a second time");
  // Neither after a restart.
  ASSERT_TRUE(run_.Restart(0).ok());
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(round, without), "asks a second time");
}

// Of two lists at most one gets the threshold's answers, whatever c sites do that answer both.
TEST_F(Aggregator, OverlappingListsNeverGetTheThresholdTwice) {
  for (int64_t sites = 3; sites <= 255; ++sites) {
    for (int64_t colluders : {0, 1, 2, 5, 40}) {
      const auto threshold = LeastThreshold(sites, colluders);
      if (!threshold.ok()) continue;
      EXPECT_LT((sites - colluders) + 2 * colluders, 2 * *threshold);
      EXPECT_GE((sites - colluders) + 2 * colluders, 2 * (*threshold - 1));
    }
  }
  EXPECT_THAT(std::string(LeastThreshold(4, 4).status().message()), HasSubstr("2t > 4 + 4"));
}

TEST_F(Aggregator, OverlappingListsAreFoundInTheNextRound) {
  SetUpEpoch();
  const SecureRound first = run_.Round(0, 0, kBits, kValues);
  const std::string with = Collect(first, {0, 1, 2, 3, 4});
  const std::string without = Forge(with, [](auto& said) { said.survivors[4] = false; });
  for (int site : {0, 1, 2, 3}) {
    const auto answer = run_.agent(site).AnswerUnmask(first, with);
    ASSERT_TRUE(run_.server().AddAnswer(first, run_.name(site), *answer).ok());
  }
  ASSERT_TRUE(run_.agent(4).AnswerUnmask(first, without).ok());
  // An honest aggregator refuses a note that is of another list than it gave.
  EXPECT_EQ(run_.server().AddNotes(run_.name(4), run_.agent(4).Notes()).code(),
            absl::StatusCode::kInvalidArgument);
  const SecureRound second = run_.Round(1, 1, kBits, kValues);
  for (int site : {0, 1, 2, 3}) ASSERT_TRUE(run_.Commit(site, second, 7).ok());
  ASSERT_TRUE(run_.agent(4).Mask(second, SecureRun::Update(4, second, 7)).ok());
  const std::string said = *run_.server().Survivors(second, run_.Names({0, 1, 2, 3}), nullptr);
  EXPECT_REFUSED(run_.agent(4).AnswerUnmask(second, said),
                 "answered for other survivors in round 0 than the others");
  // A note shown for another list than it was signed for names the aggregator too.
  const std::string shown = Forge(said, [&](auto& forged) {
    forged.previous.survivors =
        secure::DecodeSurvivors(without)->survivors.empty()
            ? secure::Bytes32{}
            : secure::SurvivorsHash(secure::DecodeSurvivors(without)->transcript,
                                    secure::DecodeSurvivors(without)->survivors);
  });
  EXPECT_REFUSED(run_.agent(4).AnswerUnmask(second, shown), "different lists");
  EXPECT_TRUE(run_.agent(0).AnswerUnmask(second, said).ok());
}

TEST_F(Aggregator, NotesThatAreKeptBackAreMissed) {
  SetUpEpoch();
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, kValues), 7, run_.All(), {0, 1, 2, 3}).ok());
  const SecureRound second = run_.Round(1, 1, kBits, kValues);
  const std::string said = Collect(second, run_.All());
  EXPECT_REFUSED(
      run_.agent(0).AnswerUnmask(second, Forge(said, [](auto& f) { f.has_previous = false; })),
      "keeps back what the sites said");
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(
                     second, Forge(said, [](auto& f) { f.previous.sites[1].noted = false; })),
                 "keeps back what site-001 said");
  EXPECT_REFUSED(
      run_.agent(0).AnswerUnmask(
          second,
          Forge(said, [](auto& f) { f.previous.sites.erase(f.previous.sites.begin() + 1); })),
      "cannot have unmasked it");
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(
                     second, Forge(said, [](auto& f) { f.previous.sites[1].signature[3] ^= 1; })),
                 "what site-001 signed");
  EXPECT_TRUE(run_.agent(0).AnswerUnmask(second, said).ok());
}

TEST_F(StrictAggregator, OverlappingListsGetNoShareAtAll) {
  SetUpEpoch();
  const SecureRound round = run_.Round(0, 0, kBits, kValues);
  const std::string with = Collect(round, {0, 1, 2, 3, 4});
  const std::string without = Forge(with, [](auto& said) { said.survivors[4] = false; });
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(round, with), "0 echoes of its list, 4 are needed");
  secure::Survivors shown = *secure::DecodeSurvivors(with);
  for (int site : {0, 1, 2}) {
    const auto echo = secure::DecodeEcho(*run_.agent(site).Echo(round, with));
    shown.echoes.emplace_back(site, echo->signature);
  }
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(round, shown.Encode()), "3 echoes of its list");
  // Site 3 was given the other list: its echo does not count for this one.
  const auto other = secure::DecodeEcho(*run_.agent(3).Echo(round, without));
  shown.echoes.emplace_back(3, other->signature);
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(round, shown.Encode()), "the echo of site-003");
  // The same echo twice is one.
  shown.echoes.back() = {2, shown.echoes[2].second};
  EXPECT_FALSE(run_.agent(0).AnswerUnmask(round, shown.Encode()).ok());
  EXPECT_REFUSED(run_.agent(0).Echo(round, without), "a second list of survivors");
}

TEST_F(Aggregator, ASwappedRosterIsRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  ASSERT_TRUE(run_.Keys(run_.All()).ok());
  const std::string all = run_.server().request();
  secure::RosterMessage shorter = *secure::DecodeRoster(all);
  shorter.keys.pop_back();
  ASSERT_TRUE(run_.agent(0).SealShares(0, all).ok());
  EXPECT_REFUSED(run_.agent(0).SealShares(0, shorter.Encode()), "another roster than before");
  // Site 1 gets the shorter one; its word on it shows when shares are handed on.
  const auto of_other = run_.agent(1).SealShares(0, shorter.Encode());
  ASSERT_TRUE(of_other.ok()) << of_other.status();
  EXPECT_EQ(run_.server().AddShares(run_.name(1), *of_other).code(),
            absl::StatusCode::kInvalidArgument);
  for (int site : {0, 2, 3, 4})
    ASSERT_TRUE(
        run_.server().AddShares(run_.name(site), *run_.agent(site).SealShares(0, all)).ok());
  ASSERT_TRUE(run_.server().CloseShares().ok());
  secure::Inbox inbox = *secure::DecodeInbox(*run_.server().Inbox(run_.name(0)));
  EXPECT_REFUSED(run_.agent(1).OpenInbox(0, inbox.Encode()), "another roster");
  const auto theirs = secure::DecodeShares(*of_other);
  secure::SealedShares entry = theirs->entries[0];
  entry.site = 1;
  inbox.participants[1] = true;
  inbox.entries.insert(inbox.entries.begin(), {entry, theirs->signature});
  EXPECT_REFUSED(run_.agent(0).OpenInbox(0, inbox.Encode()), "gave site-001 another roster");
}

TEST_F(Aggregator, ASubstitutedKeyIsRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  ASSERT_TRUE(run_.Keys(run_.All()).ok());
  const auto with = [&](int site, const std::function<void(secure::Keys&)>& change) {
    secure::RosterMessage roster = *secure::DecodeRoster(run_.server().request());
    secure::Keys keys = *secure::DecodeKeys(roster.keys[site]);
    change(keys);
    roster.keys[site] = keys.Encode();
    return roster.Encode();
  };
  const secure::Bytes32 own = secure::X25519Public(secure::RandomSecret());
  for (const auto& change : std::vector<std::function<void(secure::Keys&)>>{
           [&](auto& keys) { keys.mask_keys[1] = own; }, [&](auto& keys) { keys.channel = own; },
           [&](auto& keys) { keys.signing = own; }, [&](auto& keys) { keys.nonce = own; },
           [&](auto& keys) { keys.seeds[0] = own; }}) {
    EXPECT_REFUSED(run_.agent(0).SealShares(0, with(3, change)), "not a signature of site-003");
    EXPECT_REFUSED(run_.agent(3).SealShares(0, with(3, change)), "other keys of site-003");
  }
  // Signed by an authority of the aggregator's own, and by a site that is not the one it says.
  const TestAuthority false_authority("another authority");
  EXPECT_REFUSED(run_.agent(0).SealShares(0, with(3,
                                                  [&](secure::Keys& keys) {
                                                    keys.mask_keys[0] = own;
                                                    keys.certificate =
                                                        false_authority.Certificate(keys.site);
                                                    keys.signature = false_authority.Signature(
                                                        keys.site, secure::KeysToSign(keys));
                                                  })),
                 "not a certificate of site-003");
  EXPECT_REFUSED(run_.agent(0).SealShares(0, with(3,
                                                  [&](secure::Keys& keys) {
                                                    keys.mask_keys[0] = own;
                                                    keys.certificate =
                                                        run_.authority()->Certificate("site-002");
                                                    keys.signature = run_.authority()->Signature(
                                                        "site-002", secure::KeysToSign(keys));
                                                  })),
                 "not a certificate of site-003");
  EXPECT_TRUE(run_.agent(0).SealShares(0, run_.server().request()).ok());
}

TEST_F(Aggregator, ALowThresholdOrASmallRosterIsRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  ASSERT_TRUE(run_.Keys(run_.All()).ok());
  secure::RosterMessage roster = *secure::DecodeRoster(run_.server().request());
  roster.threshold = 3;
  EXPECT_REFUSED(run_.agent(0).SealShares(0, roster.Encode()),
                 "the aggregator's threshold is 3 of 5 sites, this site insists on 4");
  roster.threshold = 4;
  roster.colluders = 0;
  EXPECT_REFUSED(run_.agent(0).SealShares(0, roster.Encode()), "holds 0 colluders");
  roster.colluders = 1;
  roster.keys.resize(2);
  roster.threshold = 2;
  EXPECT_REFUSED(run_.agent(0).SealShares(0, roster.Encode()), "has 2 sites");
  SecureRun careful(5, {.mode = "on", .rounds_a_setup = 1}, {.sites = 6});
  EXPECT_REFUSED(careful.SetUp(0), "this site insists on 6");
  SecureRun suspicious(5, {.mode = "on", .rounds_a_setup = 1}, {.colluders = 3});
  EXPECT_REFUSED(suspicious.SetUp(0), "insists on 5 (2t > 5 + 3 colluders");
  SecureRun high(5, {.mode = "on", .rounds_a_setup = 1}, {.threshold = 5});
  EXPECT_REFUSED(high.SetUp(0), "insists on 5");
}

TEST_F(Aggregator, ASecondUnmaskRequestIsRefusedAndTheFirstIsAnsweredAlike) {
  SetUpEpoch();
  const SecureRound round = run_.Round(0, 0, kBits, kValues);
  const std::string said = Collect(round, run_.All());
  const auto first = run_.agent(0).AnswerUnmask(round, said);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(run_.Restart(0).ok());
  EXPECT_EQ(*run_.agent(0).AnswerUnmask(round, said), *first);
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(
                     round, Forge(said, [](auto& forged) { forged.survivors[2] = false; })),
                 "asks a second time");
  // The same masks under the name of another round, and the same round with other masks.
  SecureRound renamed = round;
  renamed.round = 1;
  EXPECT_REFUSED(run_.agent(0).AnswerUnmask(renamed, said), "has used these masks for round 0");
  EXPECT_REFUSED(run_.agent(0).Mask(renamed, SecureRun::Update(0, renamed, 7)),
                 "has used these masks for round 0");
  SecureRound moved = round;
  moved.index = 1;
  EXPECT_REFUSED(run_.agent(0).Mask(moved, SecureRun::Update(0, moved, 7)),
                 "has used this round's number");
}

// Not even of a round that this site has nothing of: what it knows of the others' notes is of later
// ones.
TEST_F(Aggregator, GoingBackToAnEarlierRoundIsRefused) {
  SetUpEpoch();
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, kValues), 7, run_.All(), run_.All()).ok());
  ASSERT_TRUE(run_.SetUp(1).ok());
  ASSERT_TRUE(run_.Sum(run_.Round(8, 0, kBits, kValues), 7, run_.All(), run_.All()).ok());
  const SecureRound earlier = run_.Round(5, 1, kBits, kValues);
  for (const absl::Status& status :
       {run_.agent(0).Mask(earlier, SecureRun::Update(0, earlier, 7)).status(),
        run_.agent(0).AnswerUnmask(earlier, "survivors").status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("round 5 is over, this site has been in round 8"));
  }
}

TEST_F(Aggregator, AnotherModelToOtherSitesIsRefused) {
  SetUpEpoch();
  const SecureRound round = run_.Round(0, 0, kBits, kValues);
  SecureRound other = round;
  other.base_digest = std::string(64, 'b');
  for (int site : {0, 1, 2, 3}) ASSERT_TRUE(run_.Commit(site, round, 7).ok());
  ASSERT_TRUE(run_.agent(4).Mask(other, SecureRun::Update(4, other, 7)).ok());
  const std::string said = *run_.server().Survivors(round, run_.Names(run_.All()), nullptr);
  EXPECT_REFUSED(run_.agent(4).AnswerUnmask(other, said), "with another model");
  // Given a transcript of its own it cannot know yet; but its masks do not fit the others', and
  // the next round's notes tell.
  const std::string own = Forge(said, [&](secure::Survivors& forged) {
    const auto setup = secure::Setup::FromRoster(run_.server().request());
    forged.transcript = secure::TranscriptOf(**setup, std::vector<bool>(5, true), other);
  });
  ASSERT_TRUE(run_.agent(4).AnswerUnmask(other, own).ok());
  for (int site : {0, 1, 2, 3}) {
    const auto answer = run_.agent(site).AnswerUnmask(round, said);
    ASSERT_TRUE(run_.server().AddAnswer(round, run_.name(site), *answer).ok());
  }
  const SecureRound second = run_.Round(1, 1, kBits, kValues);
  for (int site : {0, 1, 2, 3}) ASSERT_TRUE(run_.Commit(site, second, 7).ok());
  EXPECT_REFUSED(run_.agent(4).AnswerUnmask(
                     second, *run_.server().Survivors(second, run_.Names({0, 1, 2, 3}), nullptr)),
                 "answered for other survivors");
}

TEST_F(Aggregator, TwoRoundsOnOneModelAreNeverAnswered) {
  SetUpEpoch();
  const SecureRound first = run_.Round(0, 0, kBits, kValues);
  ASSERT_TRUE(run_.Sum(first, 7, run_.All(), {0, 1, 2, 3}).ok());
  SecureRound second = run_.Round(1, 1, kBits, kValues);
  second.base_digest = first.base_digest;
  // An honest aggregator does not even ask.
  for (int site : run_.All()) ASSERT_TRUE(run_.Commit(site, second, 7).ok());
  const auto said = run_.server().Survivors(second, run_.Names({0, 1, 2, 3}), nullptr);
  EXPECT_THAT(std::string(said.status().message()), HasSubstr("never answer a second one"));
  SecureRound another = second;
  another.base_digest = std::string(64, 'c');
  const std::string bytes = *run_.server().Survivors(another, run_.Names({0, 1, 2, 3}), nullptr);
  const auto setup = secure::Setup::FromRoster(run_.server().request());
  const std::string forged = Forge(bytes, [&](secure::Survivors& f) {
    f.transcript = secure::TranscriptOf(**setup, std::vector<bool>(5, true), second);
  });
  const auto answer = run_.agent(0).AnswerUnmask(second, forged);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("on the same model as round 0"));
}

TEST_F(Aggregator, SurvivorsThatCannotBeAreRefused) {
  SecureRun run(6, {.mode = "on", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0, {}, {5}).ok());
  const SecureRound round = run.Round(0, 0, kBits, kValues);
  for (int site : {0, 1, 2, 3}) ASSERT_TRUE(run.Commit(site, round, 7).ok());
  const std::string said = *run.server().Survivors(round, run.Names({0, 1, 2, 3}), nullptr);
  EXPECT_REFUSED(
      run.agent(0).AnswerUnmask(round, Forge(said, [](auto& f) { f.survivors[5] = true; })),
      "site-005 as a survivor, which takes no part");
  EXPECT_REFUSED(
      run.agent(0).AnswerUnmask(round, Forge(said, [](auto& f) { f.survivors[1] = false; })),
      "the sum of 3 sites, the threshold is 4");
  EXPECT_REFUSED(
      run.agent(4).AnswerUnmask(round, Forge(said, [](auto& f) { f.survivors[4] = true; })),
      "counts an update of this site");
  EXPECT_REFUSED(
      run.agent(0).AnswerUnmask(round, Forge(said, [](auto& f) { f.survivors.push_back(true); })),
      "another roster");
  EXPECT_REFUSED(run.agent(0).AnswerUnmask(round, Forge(said, [](auto& f) { f.round = 3; })),
                 "another round");
  EXPECT_REFUSED(run.agent(0).AnswerUnmask(round, "survivors"), "not a message");
  // A site that gave nothing helps the others.
  EXPECT_TRUE(run.agent(4).AnswerUnmask(round, said).ok());
}

TEST_F(Aggregator, KeysAreMadeOnceForASetUp) {
  ASSERT_TRUE(run_.NewServer(3).ok());
  const std::string keys = *run_.agent(0).OfferKeys(3);
  ASSERT_TRUE(run_.Restart(0).ok());
  EXPECT_EQ(*run_.agent(0).OfferKeys(3), keys);
  EXPECT_REFUSED(run_.agent(0).OfferKeys(2), "never makes keys again");
  ASSERT_TRUE(run_.vault(0).Remove("secure.run-7.keys.3").ok());
  ASSERT_TRUE(run_.Restart(0).ok());
  EXPECT_REFUSED(run_.agent(0).OfferKeys(3), "never makes keys again");
}

TEST_F(Aggregator, ParticipantsThatAreTooFewOrKeptFromASiteAreRefused) {
  ASSERT_TRUE(run_.NewServer(0).ok());
  ASSERT_TRUE(run_.Keys(run_.All()).ok());
  ASSERT_TRUE(run_.SharesOf(run_.All()).ok());
  ASSERT_TRUE(run_.server().CloseShares().ok());
  const std::string bytes = *run_.server().Inbox(run_.name(0));
  const auto forged = [&](const std::function<void(secure::Inbox&)>& change) {
    secure::Inbox inbox = *secure::DecodeInbox(bytes);
    change(inbox);
    return inbox.Encode();
  };
  EXPECT_REFUSED(run_.agent(0).OpenInbox(0, forged([](auto& f) {
                                           f.participants = {true, true, true, false, false};
                                           f.entries.resize(2);
                                         })),
                 "3 participants; the threshold is 4");
  EXPECT_REFUSED(run_.agent(0).OpenInbox(0, forged([](auto& f) { f.entries.pop_back(); })),
                 "keeps back the shares of a participant");
  EXPECT_REFUSED(run_.agent(0).OpenInbox(0, forged([](auto& f) { f.participants[0] = false; })),
                 "leave out this site");
  EXPECT_TRUE(run_.agent(0).OpenInbox(0, bytes).ok());
  EXPECT_REFUSED(run_.agent(0).OpenInbox(0, forged([](auto& f) {
                                           f.participants[4] = false;
                                           f.entries.pop_back();
                                         })),
                 "another inbox than before");
}

// One late site must not stop a run; who sets it, refuses.
TEST_F(Aggregator, SurvivorsCloseToEarlierOnesAreNamedOrRefused) {
  SetUpEpoch();
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, kValues), 7, run_.All(), run_.All()).ok());
  const SecureRound second = run_.Round(1, 1, kBits, kValues);
  for (int site : run_.All()) ASSERT_TRUE(run_.Commit(site, second, 7).ok());
  std::string warning;
  const auto said = run_.server().Survivors(second, run_.Names({0, 1, 2, 3}), &warning);
  EXPECT_THAT(warning, HasSubstr("round 1 differ from those of round 0 only by site-004"));
  ASSERT_TRUE(run_.agent(0).AnswerUnmask(second, *said).ok());
  EXPECT_THAT(run_.agent(0).TakeWarnings(), testing::ElementsAre(HasSubstr("only by site-004")));
  EXPECT_THAT(run_.agent(0).TakeWarnings(), testing::IsEmpty());

  for (bool by_the_site : {false, true}) {
    SecureFloors floors{.least_difference = by_the_site ? 1 : 0};
    SecureRun careful(5, {.mode = "on", .rounds_a_setup = 2, .refuse_close_sets = !by_the_site},
                      floors);
    ASSERT_TRUE(careful.SetUp(0).ok());
    ASSERT_TRUE(
        careful.Sum(careful.Round(0, 0, kBits, kValues), 7, careful.All(), careful.All()).ok());
    const SecureRound next = careful.Round(1, 1, kBits, kValues);
    for (int site : careful.All()) ASSERT_TRUE(careful.Commit(site, next, 7).ok());
    // An honest aggregator that is told to does not ask; a site that is told to does not answer.
    const auto asked = careful.server().Survivors(next, careful.Names({0, 1, 2, 3}), nullptr);
    ASSERT_EQ(asked.ok(), by_the_site) << asked.status();
    const auto close = by_the_site ? careful.agent(0).AnswerUnmask(next, *asked) : asked;
    EXPECT_EQ(close.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(close.status().message()), HasSubstr("only by site-004"));
  }
}

// From 256 sites on neighbours follow from nonces that all sites committed to.
TEST(Ring, ASiteIsNotRingedByChosenNeighbours) {
  SecureRun run(256, {.mode = "on", .rounds_a_setup = 1});
  ASSERT_TRUE(run.NewServer(0).ok());
  ASSERT_TRUE(run.Keys(run.All()).ok());
  const std::string roster = run.server().request();
  secure::Openings openings;
  for (int site = 0; site < 256; ++site) {
    // Only one looks at all the signatures here: the others' nonces are what is needed.
    const auto opening = run.agent(site).SealShares(0, roster);
    ASSERT_TRUE(opening.ok()) << opening.status();
    ASSERT_TRUE(run.server().AddShares(run.name(site), *opening).ok());
    if (site < 255) {
      ASSERT_EQ(run.server().request(), roster);
      ASSERT_FALSE(run.server().CloseShares().ok());
    }
  }
  openings = *secure::DecodeOpenings(run.server().request());
  secure::Openings chosen = openings;
  chosen.nonces[17][0] ^= 1;
  EXPECT_REFUSED(run.agent(5).SealShares(0, chosen.Encode()),
                 "the nonce of site-017 is not the one it committed to");
  chosen = openings;
  std::swap(chosen.nonces[3], chosen.nonces[4]);
  EXPECT_REFUSED(run.agent(5).SealShares(0, chosen.Encode()), "the nonce of site-003");
  chosen = openings;
  chosen.nonces.pop_back();
  EXPECT_REFUSED(run.agent(5).SealShares(0, chosen.Encode()), "255 nonces for 256 sites");
  EXPECT_TRUE(run.agent(5).SealShares(0, openings.Encode()).ok());
}

}  // namespace
}  // namespace ds::federated
