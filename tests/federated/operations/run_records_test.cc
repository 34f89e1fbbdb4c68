// What a run leaves: rows that come back, a torn one that does not, the summary's keys.
#include "federated/operations/run_records.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

RoundReport Published(int64_t round) {
  RoundReport report;
  report.round = round;
  report.version = round + 1;
  report.published = true;
  report.seconds = 0.25;
  report.sites = 4;
  report.update_bytes = 500;
  report.published_bytes = 600;
  report.missing = {"late"};
  report.metrics.train_loss = 2;
  report.metrics.evaluated = 200;
  report.metrics.correct = 150;
  return report;
}

RunFolder Folder(const TempFolder& folder) {
  const absl::StatusOr<RunFolder> made = RunFolder::Create(folder.path(), "run");
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

TEST(RunRecords, ARowComesBack) {
  const RoundRow row = RowOf(Published(3));
  EXPECT_EQ(row.train_loss, 0.5);
  EXPECT_EQ(row.site_accuracy, 0.75);
  EXPECT_EQ(row.missing, 1);
  const auto read = ParseRound(FormatRound(row));
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(FormatRound(*read), FormatRound(row));
  for (const char* damaged :
       {"", "1,2", "x,1,1,1,1,1,1,1,,,1", "1,1,1,1,1,1,1,1,,,", "1,1,1,1,1,1,1,1,1,1,1,1"}) {
    if (std::string(damaged) == "1,1,1,1,1,1,1,1,,,") {
      EXPECT_NE(ParseRound(damaged), nullptr);  // empty cells are unknown values
    } else {
      EXPECT_EQ(ParseRound(damaged), nullptr) << damaged;
    }
  }
}

TEST(RunRecords, AResumedRunGoesOnBehindItsLastWholeRow) {
  const TempFolder temporary;
  const RunFolder folder = Folder(temporary);
  {
    auto records = RunRecords::Open(folder, /*resumed=*/false, /*tensorboard=*/true);
    ASSERT_TRUE(records.ok()) << records.status();
    (*records)->RoundEnded(Published(0));
    (*records)->RoundEnded(Published(1));
  }
  std::ofstream(folder.File("rounds.csv"), std::ios::app) << "2,3,1,0.2";  // torn by a kill
  auto records = RunRecords::Open(folder, /*resumed=*/true, /*tensorboard=*/true);
  ASSERT_TRUE(records.ok()) << records.status();
  (*records)->RoundEnded(Published(2));
  EXPECT_EQ((*records)->rounds().size(), 3u);
  const auto text = ReadFile(folder.File("rounds.csv"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, absl::StrCat(RoundHeading(), "\n", FormatRound(RowOf(Published(0))), "\n",
                                FormatRound(RowOf(Published(1))), "\n",
                                FormatRound(RowOf(Published(2))), "\n"));
}

TEST(RunRecords, TheSummaryHasWhatIsComparedWithOthers) {
  const TempFolder temporary;
  const RunFolder folder = Folder(temporary);
  auto records = RunRecords::Open(folder, /*resumed=*/false, /*tensorboard=*/false);
  ASSERT_TRUE(records.ok()) << records.status();
  (*records)->RoundEnded(Published(0));
  RoundReport abandoned = Published(1);
  abandoned.published = false;
  (*records)->RoundEnded(abandoned);
  RunReport report;
  report.version = 1;
  report.end = EndState::kFinished;
  const RunFacts facts = {.model = "lenet",
                          .parameters = 1000,
                          .strategy = "fedavg",
                          .secure = "on",
                          .bits = 4,
                          .test_accuracy = 0.9};
  ASSERT_TRUE((*records)->Finish(report, facts).ok());
  const auto text = ReadFile(folder.summary());
  ASSERT_TRUE(text.ok());
  const nlohmann::json json = nlohmann::json::parse(*text);
  EXPECT_EQ(json["test_accuracy"], 0.9);
  EXPECT_EQ(json["rounds"], 1);
  EXPECT_EQ(json["rounds_abandoned"], 1);
  EXPECT_EQ(json["round_seconds"], nlohmann::json::array({0.25}));
  EXPECT_EQ(json["upload_bytes_per_parameter"], 0.5);
  EXPECT_EQ(json["download_bytes_per_parameter"], 0.6);
  EXPECT_GT(json["aggregator_peak_rss_mib"], 1.0);
  EXPECT_EQ(json["secure"], true);
  EXPECT_EQ(json["bits"], 4);
  EXPECT_EQ(json["end"], "finished");
}

}  // namespace
}  // namespace ds::federated
