#include "federated/wire/codec.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::string DigestOf(char digit) { return std::string(64, digit); }

Situation Full() {
  Situation situation;
  situation.number = std::numeric_limits<uint64_t>::max();
  situation.phase = Phase::kUnmask;
  situation.end = EndState::kBudgetSpent;
  situation.reason = "site \"b\" was late, \xc3\xa9\xff";
  situation.version = 7;
  situation.model_digest = DigestOf('1');
  situation.recent = {{6, DigestOf('2'), DigestOf('3'), 7},
                      {7, DigestOf('4'), DigestOf('1'), 8, true}};
  situation.snapshot = DigestOf('5');
  situation.snapshot_version = 5;
  situation.plan = {.round = 9,
                    .base_version = 7,
                    .base_digest = DigestOf('1'),
                    .selected = true,
                    .seconds_left = -1.25,
                    .secure_epoch = 2,
                    .secure_index = 15};
  situation.committed = true;
  situation.secure_epoch = 3;
  situation.secure_payload = DigestOf('6');
  return situation;
}

void ExpectSame(const Situation& a, const Situation& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.phase, b.phase);
  EXPECT_EQ(a.end, b.end);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.model_digest, b.model_digest);
  ASSERT_EQ(a.recent.size(), b.recent.size());
  for (size_t i = 0; i < a.recent.size(); ++i) {
    EXPECT_EQ(a.recent[i].version, b.recent[i].version);
    EXPECT_EQ(a.recent[i].blob, b.recent[i].blob);
    EXPECT_EQ(a.recent[i].model_digest, b.recent[i].model_digest);
    EXPECT_EQ(a.recent[i].round, b.recent[i].round);
    EXPECT_EQ(a.recent[i].counted, b.recent[i].counted);
  }
  EXPECT_EQ(a.snapshot, b.snapshot);
  EXPECT_EQ(a.snapshot_version, b.snapshot_version);
  EXPECT_EQ(a.plan.round, b.plan.round);
  EXPECT_EQ(a.plan.base_version, b.plan.base_version);
  EXPECT_EQ(a.plan.base_digest, b.plan.base_digest);
  EXPECT_EQ(a.plan.selected, b.plan.selected);
  EXPECT_EQ(a.plan.seconds_left, b.plan.seconds_left);
  EXPECT_EQ(a.plan.secure_epoch, b.plan.secure_epoch);
  EXPECT_EQ(a.plan.secure_index, b.plan.secure_index);
  EXPECT_EQ(a.committed, b.committed);
  EXPECT_EQ(a.secure_epoch, b.secure_epoch);
  EXPECT_EQ(a.secure_payload, b.secure_payload);
}

// Version 1 does not know which round a version comes from.
TEST(SituationCodec, KeepsEveryFieldInBothVersions) {
  for (const uint32_t version : {1u, 2u}) {
    for (const Situation& situation : {Situation(), Full()}) {
      const auto event = DecodeWatchEvent(EncodeSituation(situation, version), version);
      ASSERT_TRUE(event.ok()) << event.status();
      EXPECT_FALSE(event->sign_of_life);
      Situation known = situation;
      if (version == 1)
        for (PublishedRef& published : known.recent)
          published.round = -1, published.counted = false;
      ExpectSame(event->situation, known);
    }
  }
  const auto event = DecodeWatchEvent(EncodeSignOfLife(), 2);
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_TRUE(event->sign_of_life);
}

TEST(SituationCodec, RefusesWhatCannotBe) {
  const auto refused = [](auto change) {
    Situation situation = Full();
    change(situation);
    const auto event = DecodeWatchEvent(EncodeSituation(situation, 2), 2);
    EXPECT_EQ(event.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(event.status().message());
  };
  EXPECT_THAT(refused([](Situation& s) { s.phase = static_cast<Phase>(6); }), HasSubstr("phase"));
  EXPECT_THAT(refused([](Situation& s) { s.end = static_cast<EndState>(-1); }), HasSubstr("end"));
  EXPECT_THAT(refused([](Situation& s) { s.version = -1; }), HasSubstr("version"));
  EXPECT_THAT(refused([](Situation& s) { s.model_digest = "abc"; }), HasSubstr("model_digest"));
  EXPECT_THAT(refused([](Situation& s) { s.snapshot = DigestOf('A'); }), HasSubstr("snapshot"));
  EXPECT_THAT(refused([](Situation& s) { s.snapshot_version = 8; }), HasSubstr("snapshot_version"));
  EXPECT_THAT(refused([](Situation& s) { s.recent[1].version = 6; }), HasSubstr("recent.version"));
  EXPECT_THAT(refused([](Situation& s) { s.recent[1].version = 8; }), HasSubstr("recent.version"));
  EXPECT_THAT(refused([](Situation& s) { s.recent[0].blob = ""; }), HasSubstr("recent.blob"));
  EXPECT_THAT(refused([](Situation& s) { s.plan.seconds_left = std::nan(""); }),
              HasSubstr("seconds_left"));
  EXPECT_THAT(refused([](Situation& s) { s.plan.secure_index = -2; }), HasSubstr("secure_index"));
  EXPECT_THAT(refused([](Situation& s) { s.plan.round = -1; }), HasSubstr("round"));
}

TEST(Codec, KeepsAHelloReplyWithEveryOption) {
  HelloReply reply{.version = 1, .program = "ds_aggregator 0.1.0", .clock_ms = 1700000000123};
  reply.offer = {.run = "r-1", .name = "Krebs\xc3\xa4rzte", .task = "model: lenet5\n"};
  reply.offer.model = DigestOf('9');
  reply.offer.options.seed = 77;
  reply.offer.options.round.deadline_s = 12.5;
  reply.offer.options.strategy.trim = 0.2;
  reply.offer.options.update.bits = 4;
  reply.offer.options.update.rotate = false;
  reply.offer.options.privacy.delta = 1e-7;
  reply.offer.options.privacy.declare_metrics = true;
  const std::string bytes = Encode(reply);
  const auto read = DecodeHelloReply(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->clock_ms, reply.clock_ms);
  EXPECT_EQ(read->offer.name, reply.offer.name);
  EXPECT_EQ(read->offer.task, reply.offer.task);
  EXPECT_EQ(read->offer.options.seed, 77u);
  EXPECT_EQ(read->offer.options.round.deadline_s, 12.5);
  EXPECT_EQ(read->offer.options.strategy.trim, 0.2);
  EXPECT_EQ(read->offer.options.update.bits, 4);
  EXPECT_FALSE(read->offer.options.update.rotate);
  EXPECT_EQ(read->offer.options.privacy.delta, 1e-7);
  EXPECT_TRUE(read->offer.options.privacy.declare_metrics);
  EXPECT_EQ(Encode(*read), bytes);
}

// Names of every length: what is short lies inside a string, what is long on the heap.
TEST(Codec, NamesTheOptionThatIsWrong) {
  const auto refused = [](auto change) {
    HelloReply reply{.version = 1, .program = "p"};
    reply.offer.name = "run";
    change(reply.offer.options);
    return std::string(DecodeHelloReply(Encode(reply)).status().message());
  };
  EXPECT_EQ(refused([](RunOptions& options) { options.round.deadline_s = NAN; }),
            "Options.round.deadline_s is not a finite number");
  EXPECT_EQ(refused([](RunOptions& options) { options.strategy.name = "fed avg"; }),
            "Options.strategy.name has characters other than printable ASCII");
  EXPECT_EQ(refused([](RunOptions& options) { options.update.clip_norm = INFINITY; }),
            "Options.update.clip_norm is not a finite number");
  EXPECT_EQ(refused([](RunOptions& options) { options.secure.mode = "\x7f"; }),
            "Options.secure.mode has characters other than printable ASCII");
  EXPECT_EQ(refused([](RunOptions& options) { options.privacy.delta = NAN; }),
            "Options.privacy.delta is not a finite number");
}

// A field that is added to the options must be added to options_codec.cc and federation.proto, or a
// site trains with another value than the aggregator says: then these sizes change too.
TEST(Codec, EveryOptionIsOnTheWire) {
  EXPECT_EQ(sizeof(RoundOptions), 9 * 8u);
  EXPECT_EQ(sizeof(StrategyOptions), sizeof(std::string) + 9 * 8);
  EXPECT_EQ(sizeof(UpdateOptions), sizeof(int64_t) + sizeof(std::string) + 3 * 8);
  EXPECT_EQ(sizeof(SecureOptions), sizeof(std::string) + 5 * 8);
  EXPECT_EQ(sizeof(PrivacyOptions), sizeof(std::string) + 4 * 8);
}

TEST(Codec, KeepsRequestsAndReplies) {
  const auto join = DecodeJoinRequest(Encode(JoinRequest{"run", 60000, -1}));
  ASSERT_TRUE(join.ok()) << join.status();
  EXPECT_EQ(join->samples, 60000);
  EXPECT_EQ(join->version, -1);
  const auto joined = DecodeJoinReply(Encode(JoinReply{5, 6}));
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->maximum_sites, 6);
  const CommitRequest commit{
      "run", 3, DigestOf('a'), DigestOf('b'), {"x", std::string("\0\xff", 2)}};
  const auto committed = DecodeCommitRequest(Encode(commit));
  ASSERT_TRUE(committed.ok()) << committed.status();
  EXPECT_EQ(committed->secure_notes, commit.secure_notes);
  EXPECT_EQ(committed->update, commit.update);
  const auto counted = DecodeCommitReply(Encode(CommitReply{true, std::string(5000, 'r')}));
  ASSERT_TRUE(counted.ok()) << counted.status();
  EXPECT_EQ(counted->reason.size(), static_cast<size_t>(kMaxReasonBytes));
  const SecureRequest secure{"run", 2, -1, SecureStep::kAnswer, std::string("a\0b", 3)};
  const auto answered = DecodeSecureRequest(Encode(secure));
  ASSERT_TRUE(answered.ok()) << answered.status();
  EXPECT_EQ(answered->step, SecureStep::kAnswer);
  EXPECT_EQ(answered->payload, secure.payload);
  EXPECT_TRUE(DecodeSecureReply(Encode(SecureReply{})).ok());
  EXPECT_EQ(DecodeEnrolRequest(Encode(EnrolRequest{"t", "csr"}))->signing_request, "csr");
  EXPECT_EQ(DecodeEnrolReply(Encode(EnrolReply{"c", "a"}))->authority, "a");
  EXPECT_EQ(DecodeRenewRequest(Encode(RenewRequest{"csr"}))->signing_request, "csr");
}

TEST(Codec, RefusesWhatIsOutOfRangeByName) {
  const std::string a = DigestOf('a');
  EXPECT_THAT(DecodeJoinRequest(Encode(JoinRequest{"", 1, 0})).status().message(),
              HasSubstr("JoinRequest.run"));
  EXPECT_THAT(DecodeJoinRequest(Encode(JoinRequest{"a b", 1, 0})).status().message(),
              HasSubstr("printable"));
  EXPECT_THAT(DecodeJoinRequest(Encode(JoinRequest{"r", -1, 0})).status().message(),
              HasSubstr("samples"));
  EXPECT_THAT(DecodeJoinRequest(Encode(JoinRequest{"r", 1, -2})).status().message(),
              HasSubstr("version"));
  EXPECT_THAT(DecodeCommitRequest(Encode(CommitRequest{"r", -1, a, a, {}})).status().message(),
              HasSubstr("round"));
  EXPECT_THAT(DecodeCommitRequest(Encode(CommitRequest{"r", 1, a, "x", {}})).status().message(),
              HasSubstr("update"));
  const std::vector<std::string> many(65, "n");
  EXPECT_THAT(DecodeCommitRequest(Encode(CommitRequest{"r", 1, a, a, many})).status().message(),
              HasSubstr("secure_notes"));
  SecureRequest secure{"r", 0, 0, static_cast<SecureStep>(4), ""};
  EXPECT_THAT(DecodeSecureRequest(Encode(secure)).status().message(), HasSubstr("step"));
  secure.step = SecureStep::kKeys;
  secure.payload.assign(kMaxPayloadBytes + 1, 'p');
  EXPECT_THAT(DecodeSecureRequest(Encode(secure)).status().message(), HasSubstr("payload"));
  secure.payload.assign(kMaxMessageBytes, 'p');
  EXPECT_THAT(DecodeSecureRequest(Encode(secure)).status().message(), HasSubstr("over"));
  EXPECT_THAT(DecodeEnrolRequest(Encode(EnrolRequest{"", "csr"})).status().message(),
              HasSubstr("token"));
  HelloRequest hello{.oldest_version = 3, .newest_version = 2};
  EXPECT_THAT(DecodeHelloRequest(Encode(hello)).status().message(), HasSubstr("newest_version"));
  HelloReply reply{.version = 3};
  EXPECT_THAT(DecodeHelloReply(Encode(reply)).status().message(), HasSubstr("version"));
  EXPECT_FALSE(DecodeHelloRequest("\xff\xff\xff").ok());
}

TEST(Codec, TheNewestCommonVersionIsSpoken) {
  EXPECT_EQ(*NegotiateVersion({.oldest_version = 1, .newest_version = 1}), 1u);
  EXPECT_EQ(*NegotiateVersion({.oldest_version = 1, .newest_version = 2}), 2u);
  EXPECT_EQ(*NegotiateVersion({.oldest_version = 2, .newest_version = 9}), 2u);
  const auto newer = NegotiateVersion({.oldest_version = 3, .newest_version = 9});
  EXPECT_EQ(newer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(newer.status().message(), HasSubstr("update the aggregator"));
  const auto older = NegotiateVersion({.oldest_version = 0, .newest_version = 0});
  EXPECT_THAT(older.status().message(), HasSubstr("update the agent"));
}

// The bytes of version 1 as they were written down when version 2 came: they must be read, and
// written, for ever just so.
TEST(FrozenVersion1, ItsBytesAreReadAndWritten) {
  const std::string hello = absl::HexStringToBytes("080110011a0664735f6f6c642080a0bcd2c631");
  const auto request = DecodeHelloRequest(hello);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->newest_version, 1u);
  EXPECT_EQ(request->program, "ds_old");
  EXPECT_EQ(Encode(*request), hello);

  const std::string join = absl::HexStringToBytes("0a02723110e0d4031801");
  const auto joined = DecodeJoinRequest(join);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->samples, 60000);
  EXPECT_EQ(joined->version, -1);
  EXPECT_EQ(Encode(*joined), join);

  // A bare situation: number 5, collecting, version 1, round 2 on base version 1, no set-up.
  const std::string bytes = absl::HexStringToBytes("080510032801520a080210012001300138016001");
  const auto event = DecodeWatchEvent(bytes, 1);
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->situation.number, 5u);
  EXPECT_EQ(event->situation.phase, Phase::kCollect);
  EXPECT_EQ(event->situation.plan.round, 2);
  EXPECT_TRUE(event->situation.plan.selected);
  EXPECT_EQ(event->situation.plan.secure_epoch, -1);
  EXPECT_EQ(EncodeSituation(event->situation, 1), bytes);
}

}  // namespace
}  // namespace ds::federated
