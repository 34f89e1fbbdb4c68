// The table: who is late is seen, nothing is wider than the terminal, a file gets no escape codes.
#include "federated/operations/run_table.h"

#include <limits>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

RunReport Collecting(int sites) {
  RunReport report;
  report.name = "clinics";
  report.stage = Stage::kCollect;
  report.rounds = 10;
  report.version = 3;
  report.round = 4;
  report.goal = sites;
  report.committed = 1;
  report.stage_deadline_s = 600;
  for (int i = 0; i < sites; ++i) {
    SiteReport site;
    site.site = absl::StrCat("site-", i);
    site.present = i != 2;
    site.selected = true;
    site.committed = i == 0;
    site.upload_bytes = 1536 * i;
    report.sites.push_back(site);
  }
  return report;
}

RoundReport Round() {
  RoundReport report;
  report.round = 4;
  report.published = true;
  report.version = 4;
  report.seconds = 1.5;
  report.sites = 7;
  report.update_bytes = 2048;
  report.published_bytes = 4096;
  report.missing = {"site-2"};
  return report;
}

TEST(RunTable, SaysWhatEachSiteDoes) {
  const std::string text = RenderRun(Collecting(4), 0.875, 100, 10);
  EXPECT_THAT(text,
              HasSubstr("version 3 of 10, round 4: 1 of 4 updates, 0 of 600 s, accuracy 87.50 %"));
  EXPECT_THAT(text, HasSubstr("site-0  sent"));
  EXPECT_THAT(text, HasSubstr("site-1  training"));
  EXPECT_THAT(text, HasSubstr("site-2  away, was selected"));
  EXPECT_THAT(text, HasSubstr("1.5 KiB"));
}

TEST(RunTable, IsNotWiderNorLongerThanItMay) {
  const std::string text = RenderRun(Collecting(40), kNone, 30, 5);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) EXPECT_LE(line.size(), 30u);
  EXPECT_EQ(lines.size(), 1u + 2u + 5u + 1u);  // headline, heading and rule, sites, the rest
  EXPECT_EQ(lines.back(), "and 35 more sites");
}

TEST(RunTable, ARoundNamesWhoWasMissing) {
  EXPECT_EQ(
      RenderRound(Round(), 0.5),
      "round 4: version 4 from 7 updates in 1.50 s, 2.0 KiB up, 4.0 KiB down a site; missing: "
      "site-2; accuracy 50.00 %");
  RoundReport abandoned = Round();
  abandoned.published = false;
  abandoned.reason = "2 updates, 3 are the minimum";
  EXPECT_THAT(RenderRound(abandoned, kNone),
              HasSubstr("abandoned after 1.50 s: 2 updates, 3 are the minimum; missing: site-2"));
}

TEST(RunTable, AFileGetsLinesWithoutEscapeCodes) {
  std::ostringstream out;
  RunTable table({.live = false, .out = &out});
  table.Changed(Collecting(2));
  table.RoundEnded(Round());
  table.Evaluated(4, 0.9);
  EXPECT_THAT(out.str(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(out.str(), HasSubstr("round 4: version 4"));
  EXPECT_THAT(out.str(), HasSubstr("version 4: accuracy 90.00 %\n"));
}

TEST(RunTable, OnATerminalItIsDrawnOverItself) {
  std::ostringstream out;
  RunTable table({.live = true, .columns = 80, .rows = 5, .out = &out});
  table.Changed(Collecting(2));
  const std::string first = out.str();
  EXPECT_THAT(first, HasSubstr("site-1"));
  EXPECT_THAT(first, Not(HasSubstr("\x1b")));
  table.RoundEnded(Round());
  // Five lines up (headline, heading, rule, two sites), then the round's line, then the table
  // again.
  EXPECT_EQ(out.str().substr(first.size()).find("\x1b[5A\x1b[Jround 4: "), 0u);
}

TEST(FormatBytes, HasTheUnitThatFits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(int64_t{5} << 40), "5.0 TiB");
  EXPECT_EQ(FormatBytes(int64_t{5} << 50), "5120.0 TiB");
}

}  // namespace
}  // namespace ds::federated
