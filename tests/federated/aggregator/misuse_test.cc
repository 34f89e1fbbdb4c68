// What sites do wrong, one by one: each is refused by name, counted, and the others go on.
#include <gmock/gmock.h>

#include "tests/federated/aggregator/aggregator_fixture.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

class Misuse : public AggregatorTest {
 protected:
  // Two sites in round 0; nothing is sent yet.
  void SetUp() override {
    run().round = {.rounds = 2, .wait_for = 2};
    options_.inline_bytes = 8;  // updates lie in the store
    OpenAggregator();
    sites_ = MakeSites(2);
    for (auto& site : sites_) {
      ASSERT_TRUE(site->Join().ok());
      site->Watch();
    }
    const auto collects = [](const Situation& s) {
      return s.phase == Phase::kCollect && s.plan.selected;
    };
    situation_ = sites_[0]->Await(collects);
    sites_[1]->Await(collects);
    auto update = sites_[0]->MakeUpdate(situation_);
    ASSERT_TRUE(update.ok()) << update.status();
    update_ = *update;
  }
  // The run ends well all the same.
  void TearDown() override {
    for (auto& site : sites_) site->Start();
    EXPECT_EQ(End().state, EndState::kFinished);
    for (const RoundReport& round : told_->rounds()) EXPECT_EQ(round.sites, 2);
    for (auto& site : sites_) site->Stop();
  }
  SiteReport ReportOf(const std::string& name) {
    const auto report = aggregator_->Report();
    EXPECT_TRUE(report.ok());
    for (const SiteReport& site : report->sites) {
      if (site.site == name) return site;
    }
    return {};
  }
  CommitRequest Request() const {
    return {sites_[0]->offer().run, 0, situation_.plan.base_digest, Sha256Hex(update_)};
  }
  absl::Status Commit(const CommitRequest& request) {
    return aggregator_->Commit(caller(), request).status();
  }
  const Caller& caller() const { return sites_[0]->caller(); }
  static void ExpectRefused(const absl::Status& status, absl::StatusCode code, const char* text) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  }

  std::vector<std::unique_ptr<FakeSite>> sites_;
  Situation situation_;
  std::string update_;
};

TEST_F(Misuse, AnotherRun) {
  CommitRequest request = Request();
  request.run = "another";
  ExpectRefused(Commit(request), absl::StatusCode::kInvalidArgument, "run 'another' is not here");
  EXPECT_EQ(ReportOf("site-0").refused, 1);
  EXPECT_THAT(ReportOf("site-0").last_refusal, HasSubstr("another"));
  EXPECT_EQ(ReportOf("site-1").refused, 0);
}

TEST_F(Misuse, ARoundThatIsNotThere) {
  CommitRequest request = Request();
  request.round = 7;
  ExpectRefused(Commit(request), absl::StatusCode::kInvalidArgument, "no round 7");
}

TEST_F(Misuse, AnotherModel) {
  ASSERT_TRUE(sites_[0]->Send(update_).ok());
  CommitRequest request = Request();
  request.base_digest = Sha256Hex("another model");
  ExpectRefused(Commit(request), absl::StatusCode::kInvalidArgument, "holds another model");
}

TEST_F(Misuse, ACommitWithoutItsUpload) {
  ExpectRefused(Commit(Request()), absl::StatusCode::kNotFound, "upload it first");
}

TEST_F(Misuse, AnUploadOfAnotherSize) {
  const std::string digest = Sha256Hex(update_);
  for (const int64_t size : {int64_t{0}, int64_t(update_.size()) - 1, int64_t(update_.size()) + 1,
                             int64_t{1} << 50, int64_t{-1}}) {
    ExpectRefused(aggregator_->UploadStatus(caller(), digest, size).status(),
                  absl::StatusCode::kPermissionDenied, "may store updates of");
    ExpectRefused(aggregator_->Upload(caller(), digest, size, 0, {}),
                  absl::StatusCode::kPermissionDenied, "may store updates of");
  }
  EXPECT_EQ(ReportOf("site-0").refused, 10);
}

TEST_F(Misuse, AnUploadThatIsNotItsDigest) {
  const std::string digest = Sha256Hex("something else");
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(update_.data()),
                                          update_.size());
  const int64_t size = bytes.size();
  EXPECT_EQ(aggregator_->Upload(caller(), digest, size, 0, bytes).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(*aggregator_->UploadStatus(caller(), digest, size), 0) << "begins anew";
  ExpectRefused(aggregator_->Upload(caller(), "no digest", size, 0, bytes),
                absl::StatusCode::kInvalidArgument, "");
  ExpectRefused(aggregator_->Upload(caller(), Sha256Hex(update_), size, 5, bytes.subspan(5)),
                absl::StatusCode::kOutOfRange, "0 are there");
  ExpectRefused(aggregator_->Upload(caller(), Sha256Hex(update_), size, 5, bytes),
                absl::StatusCode::kInvalidArgument, "bytes at 5");
}

TEST_F(Misuse, UploadsOfManyKindsAreHeldOnlyTwoASite) {
  for (int i = 0; i < 50; ++i) {
    std::string other = update_;
    other[0] = static_cast<char>(i);
    ASSERT_TRUE(sites_[0]->Send(other).ok());
  }
  const auto blobs = store_->Blobs();
  ASSERT_TRUE(blobs.ok());
  EXPECT_LE(blobs->size(), 2u);
}

// A site may name any digest, another one's committed update too: that stays.
TEST_F(Misuse, UploadsThatGiveWayTakeNothingOfOthersAlong) {
  const auto theirs = sites_[1]->MakeUpdate(situation_);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  ASSERT_TRUE(sites_[1]->Send(*theirs).ok());
  ASSERT_TRUE(sites_[1]->CommitUpdate(situation_, *theirs).ok());
  ASSERT_TRUE(store_->Has(Sha256Hex(*theirs)));
  const auto size = static_cast<int64_t>(update_.size());
  for (const std::string& named : {*theirs, std::string("one"), std::string("two")})
    ASSERT_TRUE(aggregator_->UploadStatus(caller(), Sha256Hex(named), size).ok());
  EXPECT_TRUE(store_->Has(Sha256Hex(*theirs)));
}

TEST_F(Misuse, AnotherUpdateInTheSameRound) {
  ASSERT_TRUE(sites_[0]->Send(update_).ok());
  ASSERT_TRUE(aggregator_->Commit(caller(), Request())->counted);
  ASSERT_TRUE(aggregator_->Commit(caller(), Request())->counted) << "the same once more is none";
  std::string other = update_;
  other[0] = static_cast<char>(other[0] + 1);
  ASSERT_TRUE(sites_[0]->Send(other).ok());
  CommitRequest request = Request();
  request.update = Sha256Hex(other);
  ExpectRefused(Commit(request), absl::StatusCode::kInvalidArgument, "another update in round 0");
}

TEST_F(Misuse, OthersRolesAndOthersBlobs) {
  const Caller operator_{.site = "office", .role = "operator"};
  EXPECT_EQ(aggregator_->Join(operator_, {Request().run, 1}).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(aggregator_->Commit(operator_, Request()).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(aggregator_->Upload(operator_, Sha256Hex(update_), update_.size(), 0, {}).code(),
            absl::StatusCode::kPermissionDenied);
  // A site's update is nobody else's to read, nor to be asked about.
  ASSERT_TRUE(sites_[0]->Send(update_).ok());
  EXPECT_EQ(aggregator_->Download(sites_[1]->caller(), Sha256Hex(update_)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(aggregator_->Download(caller(), "../../etc/passwd").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(Misuse, JoinsThatCannotBe) {
  EXPECT_EQ(
      aggregator_->Join({.site = "a b\n", .role = "site"}, {Request().run, 1}).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      aggregator_->Join({.site = "site-9", .role = "site"}, {Request().run, -1}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_F(Misuse, SecureStepsInARunWithoutThem) {
  const SecureRequest request{Request().run, 0, -1, SecureStep::kKeys, "payload"};
  ExpectRefused(aggregator_->Secure(caller(), request).status(), absl::StatusCode::kInvalidArgument,
                "no secure aggregation");
  const SecureRequest empty{Request().run, 0, -1, SecureStep::kKeys, ""};
  ExpectRefused(aggregator_->Secure(caller(), empty).status(), absl::StatusCode::kInvalidArgument,
                "0 bytes");
}

TEST_F(Misuse, NewestVersionsThatNobodySpeaks) {
  HelloRequest request{.oldest_version = 100, .newest_version = 101, .program = "ds_agent 9"};
  ExpectRefused(aggregator_->Hello(caller(), request).status(),
                absl::StatusCode::kFailedPrecondition, "ds_agent 9");
  request = {.oldest_version = 1, .newest_version = 1};
  EXPECT_EQ(aggregator_->Hello(caller(), request)->version, 1u);
}

TEST_F(AggregatorTest, ALogOfAnotherRunIsNotGoneOnWith) {
  OpenAggregator();
  aggregator_.reset();
  options_.offer.options.round.rounds = 77;
  const auto opened = Aggregator::Open(options_, store_);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("begin a new run"));
}

TEST_F(AggregatorTest, AnotherInitialModelIsFoundAtARestart) {
  OpenAggregator();
  auto sites = MakeSites(1);
  sites[0]->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  sites.clear();
  aggregator_.reset();
  options_.snapshot_every = 100;
  // Without its snapshot the model begins again at version 0.
  auto store = MemoryStore();
  for (const Record& record : Log()) {
    if (std::holds_alternative<SnapshotTaken>(record)) continue;
    ASSERT_TRUE(store->Append(EncodeRecords({record})).ok());
  }
  store_ = std::move(store);
  options_.initial = [] {
    InitialModel model = TestModel();
    model.weights[3] += 0.5f;
    return model;
  };
  const auto opened = Aggregator::Open(options_, store_);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("initial model"));
}

}  // namespace
}  // namespace ds::federated
