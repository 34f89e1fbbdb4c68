// What a site never does twice, over kills, full disks and disks that were put back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "federated/secure/setup/messages.h"
#include "tests/federated/secure/secure_run.h"

namespace ds::federated {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kBits = 10;

class Once : public testing::Test {
 protected:
  Once() : run_(4, {.mode = "on", .rounds_a_setup = 3}) {
    const absl::Status status = run_.SetUp(0);
    EXPECT_TRUE(status.ok()) << status;
  }
  SecureRun run_;
};

TEST_F(Once, AnotherUpdateUnderTheSameMasksIsRefused) {
  const SecureRound round = run_.Round(0, 0, kBits, 50);
  const IntegerVector update = SecureRun::Update(0, round, 7);
  IntegerVector other = update;
  other.Set(49, other.Get(49) + 1);
  const auto masked = run_.agent(0).Mask(round, update);
  ASSERT_TRUE(masked.ok()) << masked.status();
  for (bool restarted : {false, true}) {
    if (restarted) {
      ASSERT_TRUE(run_.Restart(0).ok());
    }
    const auto again = run_.agent(0).Mask(round, update);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->bytes(), masked->bytes());
    const auto stored = run_.agent(0).Masked(0);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(stored->bytes(), masked->bytes());
    const auto refused = run_.agent(0).Mask(round, other);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.status().message()),
                HasSubstr("another update was masked already"));
  }
  EXPECT_EQ(run_.agent(0).Masked(1).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Once, MasksOfTwoRoundsOnOneUpdateDiffer) {
  const SecureRound first = run_.Round(0, 0, 8, 64), second = run_.Round(1, 1, 8, 64);
  const IntegerVector zeros(8, 64);
  const auto a = run_.agent(0).Mask(first, zeros), b = run_.agent(0).Mask(second, zeros);
  EXPECT_NE(a->bytes(), b->bytes());
  // And those of one set-up's index, had another round or model been given it, as a disk that was
  // put back would have it.
  const std::map<std::string, std::string> before = run_.vault(1).Image();
  SecureRound other = first;
  other.base_digest = std::string(64, 'e');
  const auto c = run_.agent(1).Mask(first, zeros);
  run_.vault(1).PutBack(before);
  ASSERT_TRUE(run_.Restart(1).ok());
  const auto d = run_.agent(1).Mask(other, zeros);
  EXPECT_NE(c->bytes(), d->bytes());
}

TEST_F(Once, NothingLeavesBeforeItIsStored) {
  const SecureRound round = run_.Round(0, 0, kBits, 50);
  run_.vault(0).FailAfter(0);
  EXPECT_EQ(run_.agent(0).Mask(round, SecureRun::Update(0, round, 7)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(run_.agent(0).OfferKeys(1).status().code(), absl::StatusCode::kUnavailable);
  run_.vault(0).FailAfter(-1);
  // Nothing had left, so another update may still be masked.
  ASSERT_TRUE(run_.agent(0).Mask(round, SecureRun::Update(1, round, 7)).ok());
  for (int site : {1, 2, 3}) ASSERT_TRUE(run_.Commit(site, round, 7).ok());
  const std::string said = *run_.server().Survivors(round, run_.Names(run_.All()), nullptr);
  run_.vault(0).FailAfter(0);
  EXPECT_EQ(run_.agent(0).AnswerUnmask(round, said).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(run_.agent(0).Notes(), testing::IsEmpty());
  run_.vault(0).FailAfter(-1);
  EXPECT_TRUE(run_.agent(0).AnswerUnmask(round, said).ok());
}

// Whatever write of the set-up fails or is the last one before a kill, the site goes on.
TEST(SetUp, AKillBehindEachWriteIsGoneOnFrom) {
  for (int writes = 0; writes < 7; ++writes) {
    SecureRun run(4, {.mode = "on", .rounds_a_setup = 1});
    ASSERT_TRUE(run.NewServer(0).ok());
    run.vault(0).FailAfter(writes);
    for (bool killed : {true, false}) {
      absl::Status status;
      const auto keys = run.agent(0).OfferKeys(0);
      status.Update(keys.status());
      if (keys.ok()) status.Update(run.server().AddKeys(run.name(0), *keys));
      if (status.ok() && run.server().request().empty()) status.Update(run.Keys({1, 2, 3}));
      if (status.ok()) status.Update(run.SharesOf(run.All()));
      if (status.ok()) status.Update(run.server().CloseShares());
      if (status.ok()) status.Update(run.Inboxes(run.All()));
      if (!killed) {
        ASSERT_TRUE(status.ok()) << writes << ": " << status;
        break;
      }
      if (status.ok()) break;
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << writes << ": " << status;
      run.vault(0).FailAfter(-1);
      ASSERT_TRUE(run.Restart(0).ok());
    }
    run.vault(0).FailAfter(-1);
    const SecureRound round = run.Round(0, 0, kBits, 5);
    const auto sum = run.Sum(round, 7, run.All(), run.All());
    ASSERT_TRUE(sum.ok()) << writes << ": " << sum.status();
    EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, 7, run.All()).bytes());
  }
}

TEST_F(Once, ADiskThatWasPutBackIsFoundByWhatTheAggregatorHas) {
  const std::map<std::string, std::string> before = run_.vault(0).Image();
  const SecureRound round = run_.Round(0, 0, kBits, 50);
  ASSERT_TRUE(run_.Commit(0, round, 7).ok());
  EXPECT_TRUE(run_.agent(0).CheckCommitted(0).ok());
  run_.vault(0).PutBack(before);
  ASSERT_TRUE(run_.Restart(0).ok());
  const absl::Status status = run_.agent(0).CheckCommitted(0);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("put back to an earlier state"));
}

// The aggregator hides what it has; this site's own word, that it must show, tells.
TEST_F(Once, ADiskThatWasPutBackIsFoundByTheSitesOwnNote) {
  const std::map<std::string, std::string> before = run_.vault(0).Image();
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, 5), 7, run_.All(), run_.All()).ok());
  const SecureRound second = run_.Round(1, 1, kBits, 5);
  for (int site : run_.All()) ASSERT_TRUE(run_.Commit(site, second, 7).ok());
  const std::string said = *run_.server().Survivors(second, run_.Names(run_.All()), nullptr);
  run_.vault(0).PutBack(before);
  ASSERT_TRUE(run_.Restart(0).ok());
  ASSERT_TRUE(run_.agent(0).Mask(second, SecureRun::Update(0, second, 7)).ok());
  const auto answer = run_.agent(0).AnswerUnmask(second, said);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("put back to an earlier state"));
}

TEST(SetUp, ADiskThatWasPutBackIsFoundByItsKeys) {
  SecureRun run(4, {.mode = "on", .rounds_a_setup = 1});
  ASSERT_TRUE(run.NewServer(0).ok());
  const std::map<std::string, std::string> before = run.vault(0).Image();
  ASSERT_TRUE(run.server().AddKeys(run.name(0), *run.agent(0).OfferKeys(0)).ok());
  run.vault(0).PutBack(before);
  ASSERT_TRUE(run.Restart(0).ok());
  const std::string again = *run.agent(0).OfferKeys(0);
  EXPECT_THAT(std::string(run.server().AddKeys(run.name(0), again).message()),
              HasSubstr("other ones than before"));
  ASSERT_TRUE(run.Keys({1, 2, 3}).ok());
  EXPECT_THAT(std::string(run.agent(0).SealShares(0, run.server().request()).status().message()),
              HasSubstr("folder was put back"));
}

TEST_F(Once, ADamagedEntryIsFound) {
  for (const auto& [name, value] : run_.vault(0).Image()) {
    const auto vault = std::make_shared<TestVault>();
    vault->PutBack(run_.vault(0).Image());
    vault->Damage(name);
    const auto opened =
        SecureAgent::Open(run_.options, run_.floors, "run-7", run_.identity(0), vault);
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(name));
  }
}

TEST_F(Once, OldSecretsAreDroppedAndThatTheyWereUsedIsNot) {
  const SecureRound round = run_.Round(0, 0, kBits, 4000);
  ASSERT_TRUE(run_.agent(0).Mask(round, SecureRun::Update(0, round, 7)).ok());
  for (int site : {1, 2, 3}) ASSERT_TRUE(run_.Commit(site, round, 7).ok());
  const std::string said = *run_.server().Survivors(round, run_.Names({1, 2, 3}), nullptr);
  const std::string packed = run_.vault(0).Image()["secure.run-7.round.0.0"];
  EXPECT_GT(packed.size(), 5000u);
  ASSERT_TRUE(run_.agent(0).ForgetBefore(1).ok());
  EXPECT_LT(run_.vault(0).Image()["secure.run-7.round.0.0"].size(), 500u);
  for (bool restarted : {false, true}) {
    if (restarted) {
      ASSERT_TRUE(run_.Restart(0).ok());
    }
    EXPECT_EQ(run_.agent(0).AnswerUnmask(round, said).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(run_.agent(0).Mask(round, SecureRun::Update(0, round, 7)).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(run_.agent(0).Masked(0).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(run_.agent(0).CheckCommitted(0).ok());
    SecureRound renamed = round;
    renamed.round = 5;
    EXPECT_EQ(run_.agent(0).Mask(renamed, SecureRun::Update(0, renamed, 7)).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
  // The next round is not touched.
  for (int site : {1, 2, 3}) {
    const auto answer = run_.agent(site).AnswerUnmask(round, said);
    ASSERT_TRUE(run_.server().AddAnswer(round, run_.name(site), *answer).ok());
    ASSERT_TRUE(run_.agent(site).ForgetBefore(1).ok());
  }
  const SecureRound next = run_.Round(1, 1, kBits, 5);
  const auto sum = run_.Sum(next, 7, run_.All(), run_.All());
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(next, 7, run_.All()).bytes());
}

// Who takes the disk finds neither the secrets of old rounds nor what opens the sealed shares that
// the aggregator saw.
TEST(SetUp, SecretsThatAreNotNeededAnyMoreAreNotOnTheDisk) {
  SecureRun run(4, {.mode = "on", .rounds_a_setup = 2});
  ASSERT_TRUE(run.NewServer(0).ok());
  ASSERT_TRUE(run.Keys(run.All()).ok());
  // Of the entry: name, channel, signing key, nonce, two counts, a round's two secrets.
  constexpr size_t kChannel = 4 + 8, kFirstRound = kChannel + 3 * 32 + 8;
  const std::string zeros(64, '\0');
  const auto on_disk = [&](size_t at, size_t size) {
    return run.vault(0).Image()["secure.run-7.keys.0"].substr(at, size);
  };
  const std::string secrets = on_disk(kFirstRound, 128);
  EXPECT_NE(on_disk(kChannel, 32), zeros.substr(32));
  ASSERT_TRUE(run.SharesOf(run.All()).ok());
  ASSERT_TRUE(run.server().CloseShares().ok());
  ASSERT_TRUE(run.Inboxes(run.All()).ok());
  EXPECT_EQ(on_disk(kChannel, 32), zeros.substr(32));
  EXPECT_EQ(on_disk(kFirstRound, 128), secrets);
  // Nor its own share a second time, where a round that is forgotten would keep it.
  const std::string held = run.vault(0).Image()["secure.run-7.inbox.0"];
  const std::string own = held.substr(32 + 1 + 4, 64);
  EXPECT_NE(own, zeros);
  EXPECT_FALSE(absl::StrContains(run.vault(0).Image()["secure.run-7.setup.0"], own));
  ASSERT_TRUE(run.Sum(run.Round(0, 0, kBits, 5), 7, run.All(), run.All()).ok());
  ASSERT_TRUE(run.agent(0).ForgetBefore(1).ok());
  EXPECT_EQ(on_disk(kFirstRound, 64), zeros);
  EXPECT_EQ(on_disk(kFirstRound + 64, 64), secrets.substr(64));
  // Nor others' shares of that round, of 64 bytes an owner, behind hash, bits and length.
  const std::string inbox = run.vault(0).Image()["secure.run-7.inbox.0"];
  for (size_t owner = 0; owner < 4; ++owner) {
    const size_t at = 32 + 1 + owner * (4 + 128) + 4;
    EXPECT_EQ(inbox.substr(at, 64), zeros);
    EXPECT_NE(inbox.substr(at + 64, 64), zeros);
  }
}

TEST_F(Once, OldEpochsAreDropped) {
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, 5), 7, run_.All(), run_.All()).ok());
  for (int64_t epoch : {1, 2}) {
    ASSERT_TRUE(run_.SetUp(epoch).ok());
    ASSERT_TRUE(run_.Sum(run_.Round(epoch, 0, kBits, 5), 7, run_.All(), run_.All()).ok());
    ASSERT_TRUE(run_.agent(0).ForgetBefore(epoch + 1).ok());
  }
  for (const auto& [name, value] : run_.vault(0).Image()) {
    EXPECT_FALSE(absl::StrContains(name, "keys.0") || absl::StrContains(name, "inbox.1")) << name;
  }
  EXPECT_FALSE(run_.agent(0).Ready(0));
  EXPECT_TRUE(run_.agent(0).Ready(2));
}

TEST_F(Once, ARunThatHasEndedLeavesItsMarkOnly) {
  ASSERT_TRUE(run_.Sum(run_.Round(0, 0, kBits, 5), 7, run_.All(), run_.All()).ok());
  ASSERT_TRUE(run_.agent(0).EndRun().ok());
  EXPECT_THAT(*run_.vault(0).Names(), ElementsAre("secure.run-7.ended"));
  const absl::Status again = run_.Restart(0);
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
}

// As an agent has it: one thread masks what it has trained while another answers.
TEST_F(Once, TwoThreadsShareASite) {
  const SecureRound first = run_.Round(0, 0, kBits, 1000), second = run_.Round(1, 1, kBits, 1000);
  for (int site : run_.All()) ASSERT_TRUE(run_.Commit(site, first, 7).ok());
  const std::string said = *run_.server().Survivors(first, run_.Names(run_.All()), nullptr);
  const IntegerVector update = SecureRun::Update(0, second, 7);
  std::vector<absl::StatusOr<IntegerVector>> masked(2, absl::UnknownError("not yet"));
  std::vector<std::thread> threads;
  for (auto& one : masked) threads.emplace_back([&] { one = run_.agent(0).Mask(second, update); });
  const auto answer = run_.agent(0).AnswerUnmask(first, said);
  EXPECT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(run_.agent(0).Notes().size(), 1u);
  EXPECT_TRUE(run_.agent(0).ForgetBefore(1).ok());
  EXPECT_THAT(run_.agent(0).TakeWarnings(), testing::IsEmpty());
  for (std::thread& thread : threads) thread.join();
  for (const auto& one : masked) ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(masked[0]->bytes(), masked[1]->bytes());
}

TEST(Open, OffersThatASiteDoesNotTakeAreRefused) {
  const auto open = [](const SecureOptions& options, const SecureFloors& floors,
                       const std::string& run) {
    return SecureAgent::Open(options, floors, run, nullptr, std::make_shared<TestVault>()).status();
  };
  EXPECT_TRUE(open({.mode = "on"}, {}, "r").ok());
  EXPECT_THAT(std::string(open({.mode = "off"}, {}, "r").message()), HasSubstr("'off'"));
  EXPECT_THAT(std::string(open({.mode = "on"}, {.strict = true}, "r").message()),
              HasSubstr("insists on secure.mode 'strict'"));
  EXPECT_FALSE(open({.mode = "on", .rounds_a_setup = 0}, {}, "r").ok());
  EXPECT_FALSE(open({.mode = "on", .rounds_a_setup = 257}, {}, "r").ok());
  EXPECT_FALSE(open({.mode = "on"}, {}, "../r").ok());
  EXPECT_FALSE(open({.mode = "on"}, {}, "").ok());
}

// An aggregator that begins again from what it logged says the same, with certificates that have
// been revoked since.
TEST_F(Once, AnAggregatorReplaysWhatItWasGiven) {
  const auto authority = std::make_shared<TestAuthority>();
  const auto identity = std::make_shared<TestIdentity>("site-000", authority);
  SecureRun run(4, {.mode = "on", .rounds_a_setup = 2});
  std::vector<std::pair<std::string, std::string>> keys, shares, answers;
  ASSERT_TRUE(run.SetUp(0).ok());
  const SecureRound first = run.Round(0, 0, kBits, 5), second = run.Round(1, 1, kBits, 5);
  const auto sum = run.Sum(first, 7, run.All(), {0, 1, 2});
  ASSERT_TRUE(sum.ok());
  IntegerVector masked(kBits, 5);
  for (int site : run.All()) masked.Add(*run.Commit(site, second, 7));
  const std::string said = *run.server().Survivors(second, run.Names(run.All()), nullptr);
  for (int site : run.All()) authority->Revoke(run.name(site));
  const auto again = *SecureServer::Create(run.options, "run-7", 0, run.Names(run.All()), identity,
                                           SecureHistory::Create());
  again->SetReplaying(true);
  for (int site : run.All())
    ASSERT_TRUE(again->AddKeys(run.name(site), *run.agent(site).OfferKeys(0)).ok());
  ASSERT_EQ(*again->CloseKeys(), run.server().request());
  for (int site : run.All())
    ASSERT_TRUE(
        again->AddShares(run.name(site), *run.agent(site).SealShares(0, again->request())).ok());
  ASSERT_TRUE(again->CloseShares().ok());
  EXPECT_EQ(again->participants(), run.server().participants());
  const std::string said_first = *again->Survivors(first, run.Names(run.All()), nullptr);
  for (int site : {0, 1, 2})
    ASSERT_TRUE(
        again->AddAnswer(first, run.name(site), *run.agent(site).AnswerUnmask(first, said_first))
            .ok());
  for (int site : run.All())
    ASSERT_TRUE(again->AddNotes(run.name(site), run.agent(site).Notes()).ok());
  EXPECT_EQ(*again->Survivors(second, run.Names(run.All()), nullptr), said);
  again->SetReplaying(false);
  for (int site : {1, 2, 3})
    ASSERT_TRUE(
        again->AddAnswer(second, run.name(site), *run.agent(site).AnswerUnmask(second, said)).ok());
  ASSERT_TRUE(again->Unmask(second, masked).ok());
  EXPECT_EQ(masked.bytes(), SecureRun::PlainSum(second, 7, run.All()).bytes());
}

}  // namespace
}  // namespace ds::federated
