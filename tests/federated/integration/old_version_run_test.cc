// A whole run with an agent that speaks wire version 1 only, beside others of today's. What the old
// version does not tell (which round a publication is of, and whether the site is in it) costs that
// site its error feedback, and nobody else anything.
#include <map>
#include <thread>
#include <vector>

#include "base/status.h"
#include "federated/round/records.h"
#include "gtest/gtest.h"
#include "tests/federated/integration/network_run.h"

namespace ds::federated {
namespace {

constexpr int64_t kRounds = 3;
const char* const kSites[] = {"alice", "bob", "old"};

// Today's agent and client, kept to what version 1 has from the hello on.
class OldClient final : public ForwardingClient {
 public:
  using ForwardingClient::ForwardingClient;
  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override {
    HelloRequest old = request;
    old.oldest_version = old.newest_version = 1;
    auto reply = ForwardingClient::Hello(old);
    if (reply.ok()) version = reply->version;
    return reply;
  }
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override {
    auto situation = ForwardingClient::Next(known, patience);
    if (!situation.ok()) return situation;
    for (const PublishedRef& ref : situation->recent) {
      ++publications;
      EXPECT_EQ(ref.round, -1) << "version 1 had no such field";
      EXPECT_FALSE(ref.counted);
    }
    return situation;
  }
  uint32_t version = 0;
  int publications = 0;
};

class OldVersionRun : public NetworkRun, public ::testing::WithParamInterface<std::string> {
 protected:
  OldVersionRun() {
    authority_ = MakeAuthority("federation");
    for (const char* site : kSites) Enrolled(site);
    DS_CHECK(authority_->IssueServer("hub", {"127.0.0.1"}).ok());
  }
  std::map<std::string, int> Counted() {
    std::map<std::string, int> counted;
    const absl::Status read = store_->Replay([&](int64_t, absl::string_view text) {
      DS_ASSIGN_OR_RETURN(const std::vector<Record> records, DecodeRecords(text));
      for (const Record& record : records) {
        const auto* fixed = std::get_if<SurvivorsFixed>(&record);
        if (fixed == nullptr) continue;
        for (const std::string& site : fixed->sites) ++counted[site];
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return counted;
  }
};

TEST_P(OldVersionRun, AnAgentOneVersionOlderIsInEveryRoundAndEndsAtTheSameModel) {
  RunOptions run;
  run.round = {.rounds = kRounds, .minimum = 3, .wait_for = 3};
  run.update.bits = 4;  // there is something that error feedback would carry
  run.secure.mode = GetParam();
  run.secure.rounds_a_setup = 2;
  OpenAggregator(run, nullptr);
  for (const char* site : kSites) Connect(site);
  OldClient old(*clients_.at("old"));
  std::map<std::string, AgentReport> reports;
  std::vector<std::thread> threads;
  Mutex mutex;
  for (const std::string site : kSites) {
    threads.emplace_back([&, site] {
      FederationClient& client =
          site == "old" ? static_cast<FederationClient&>(old) : *clients_.at(site);
      const auto report = Live(site, client);
      ASSERT_TRUE(report.ok()) << site << ": " << report.status();
      MutexLock lock(mutex);
      reports[site] = *report;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(reports.size(), 3u);
  EXPECT_EQ(old.version, 1u);
  EXPECT_GT(old.publications, 0);
  for (const auto& [site, report] : reports) {
    EXPECT_EQ(report.end, EndState::kFinished) << site << ": " << report.reason;
    EXPECT_EQ(report.version, kRounds) << site;
    EXPECT_EQ(report.model_digest, reports["alice"].model_digest) << site;
    EXPECT_EQ(report.trained, kRounds) << site;
    EXPECT_EQ(report.counted, site == "old" ? 0 : kRounds) << site;  // as far as it is told
    EXPECT_EQ(Counted()[site], kRounds) << site;
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, OldVersionRun, ::testing::Values("off", "on"),
                         [](const auto& info) { return info.param == "off" ? "open" : "secure"; });

}  // namespace
}  // namespace ds::federated
