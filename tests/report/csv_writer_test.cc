#include "report/csv_writer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/support/temp_folder.h"

namespace ds {
namespace {

MetricsRow Row(int64_t step, const std::string& split = "train") {
  MetricsRow row;
  row.step = step;
  row.epoch = (step - 1) / 10 + 1;
  row.split = split;
  row.loss = 1.0 / static_cast<double>(step);
  return row;
}

void WriteSteps(const std::string& path, int64_t from, int64_t to, int64_t resume_step = -1) {
  auto writer = MetricsWriter::Open(path, resume_step);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int64_t step = from; step <= to; ++step) {
    ASSERT_TRUE((*writer)->Write(Row(step)).ok());
    if (step % 10 == 0) {
      ASSERT_TRUE((*writer)->Write(Row(step, "test")).ok());
    }
  }
}

TEST(MetricsRow, HasACellForEveryColumn) {
  const std::string heading = MetricsHeading(), row = FormatMetricsRow(Row(7));
  EXPECT_EQ(std::count(heading.begin(), heading.end(), ','),
            std::count(row.begin(), row.end(), ','));
  EXPECT_EQ(row, "7,1,train,0.142857143,,,,,0,,,,,,");
}

TEST(MetricsRow, FloatsSurvive) {
  MetricsRow row = Row(1);
  const float loss = 0.1f + 1e-8f;
  row.loss = loss;
  const std::string text = FormatMetricsRow(row);
  EXPECT_EQ(std::stof(text.substr(text.find("train,") + 6)), loss);
}

TEST(MetricsWriter, EveryRowIsOnDiskAtOnce) {
  const TempFolder folder;
  auto writer = MetricsWriter::Open(folder.File("m.csv"));
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ(ReadText(folder.File("m.csv")), MetricsHeading() + "\n");
  ASSERT_TRUE((*writer)->Write(Row(1)).ok());
  EXPECT_EQ(ReadText(folder.File("m.csv")),
            MetricsHeading() + "\n" + FormatMetricsRow(Row(1)) + "\n");
}

TEST(MetricsWriter, AResumedRunsFileEqualsAnUninterruptedOne) {
  const TempFolder folder;
  WriteSteps(folder.File("whole.csv"), 1, 30);
  // Stopped in step 17, with a torn line; the last checkpoint is of step 10.
  WriteSteps(folder.File("cut.csv"), 1, 17);
  std::ofstream(folder.File("cut.csv"), std::ios::app) << "1";
  WriteSteps(folder.File("cut.csv"), 11, 30, 10);
  EXPECT_EQ(ReadText(folder.File("cut.csv")), ReadText(folder.File("whole.csv")));
}

TEST(MetricsWriter, ResumingWithoutAFileOrAnEmptyOneStartsOne) {
  const TempFolder folder;
  std::ofstream(folder.File("empty.csv")).flush();
  WriteSteps(folder.File("none.csv"), 1, 2, 0);
  WriteSteps(folder.File("empty.csv"), 1, 2, 0);
  WriteSteps(folder.File("new.csv"), 1, 2);
  EXPECT_EQ(ReadText(folder.File("none.csv")), ReadText(folder.File("new.csv")));
  EXPECT_EQ(ReadText(folder.File("empty.csv")), ReadText(folder.File("new.csv")));
}

TEST(MetricsWriter, ANewRunReplacesAnOldFile) {
  const TempFolder folder;
  WriteSteps(folder.File("m.csv"), 1, 20);
  WriteSteps(folder.File("m.csv"), 1, 1);
  EXPECT_EQ(ReadText(folder.File("m.csv")),
            MetricsHeading() + "\n" + FormatMetricsRow(Row(1)) + "\n");
}

TEST(MetricsWriter, AnotherVersionsColumnsAreNotTouched) {
  const TempFolder folder;
  std::ofstream(folder.File("m.csv")) << "step,loss\n1,2\n";
  const auto writer = MetricsWriter::Open(folder.File("m.csv"), 5);
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadText(folder.File("m.csv")), "step,loss\n1,2\n");
}

TEST(MetricsWriter, AFolderThatIsNotThereIsNamed) {
  const auto writer = MetricsWriter::Open("/nonexistent/m.csv");
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(std::string(writer.status().message()).find("/nonexistent/m.csv"), std::string::npos);
}

}  // namespace
}  // namespace ds
