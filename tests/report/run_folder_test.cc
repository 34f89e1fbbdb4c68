// The run's folder, its summary and its trace.
#include "report/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "report/csv_writer.h"
#include "report/summary.h"
#include "report/tensorboard.h"
#include "report/trace.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RunFolder, ASecondRunGetsANumber) {
  const TempFolder folder;
  const std::string output = folder.File("deep/runs");
  EXPECT_EQ(RunFolder::Create(output, "a")->path(), output + "/a");
  EXPECT_EQ(RunFolder::Create(output, "a")->path(), output + "/a-2");
  EXPECT_EQ(RunFolder::Create(output, "a")->path(), output + "/a-3");
  EXPECT_EQ(RunFolder::Create(output, "b")->path(), output + "/b");
}

TEST(RunFolder, RunsStartedAtOnceGetFoldersOfTheirOwn) {
  const TempFolder folder;
  std::vector<std::string> paths(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& path : paths) {
      threads.emplace_back([&] { path = RunFolder::Create(folder.path(), "a")->path(); });
    }
  }
  EXPECT_EQ(std::set<std::string>(paths.begin(), paths.end()).size(), paths.size());
}

const auto kAny = [](const RunFolder&) { return true; };

TEST(RunFolder, ResumeTakesTheLastStarted) {
  const TempFolder folder;
  const auto none = RunFolder::Resume(folder.path(), "a", kAny);
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr(folder.File("a")));
  ASSERT_TRUE(RunFolder::Create(folder.path(), "a").ok());
  EXPECT_EQ(RunFolder::Resume(folder.path(), "a", kAny)->path(), folder.File("a"));
  ASSERT_TRUE(RunFolder::Create(folder.path(), "a").ok());
  EXPECT_EQ(RunFolder::Resume(folder.path(), "a", kAny)->path(), folder.File("a-2"));
}

// A folder that was removed is no end: the last is the last, and a new one comes after it.
TEST(RunFolder, AGapIsNoEnd) {
  const TempFolder folder;
  for (int run = 0; run < 3; ++run) ASSERT_TRUE(RunFolder::Create(folder.path(), "t").ok());
  std::filesystem::remove(folder.File("t-2"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", kAny)->path(), folder.File("t-3"));
  EXPECT_EQ(RunFolder::Create(folder.path(), "t")->path(), folder.File("t-4"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", kAny)->path(), folder.File("t-4"));
  std::filesystem::remove(folder.File("t"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", kAny)->path(), folder.File("t-4"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t-3", kAny)->path(), folder.File("t-3"));
  for (int run = 5; run <= 11; ++run) ASSERT_TRUE(RunFolder::Create(folder.path(), "t").ok());
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", kAny)->path(), folder.File("t-11"))
      << "by number, not by letter";
}

TEST(RunFolder, NamesThatOnlyLookAlikeAreOthers) {
  const TempFolder folder;
  ASSERT_TRUE(RunFolder::Create(folder.path(), "t").ok());
  for (const char* name : {"t-2", "t-02", "t-x", "t-20261128", "t-", "t-0", "t-1", "tt-5"})
    std::filesystem::create_directory(folder.File(name));
  const auto of_name = [](const RunFolder& run) { return run.path().back() != '2'; };
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", of_name)->path(), folder.File("t"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t", kAny)->path(), folder.File("t-2"));
  EXPECT_EQ(RunFolder::Resume(folder.path(), "t-2", of_name)->path(), folder.File("t-2"))
      << "by its own name";
  EXPECT_EQ(RunFolder::Create(folder.path(), "t")->path(), folder.File("t-3"));
}

TEST(RunFolder, IsThereAfterAPowerCut) {
  const TempFolder folder;
  FaultyFileSystem files(folder.path());
  const auto run = RunFolder::Create(folder.File("deep/runs"), "a");
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Describe("run: 1\n", {"ds_train"}, {{"x", "1"}}).ok());
  auto metrics = *MetricsWriter::Open(run->metrics());
  auto events = *TensorBoardWriter::Open(run->events());
  ASSERT_TRUE(metrics->Write({.step = 1}).ok() && metrics->Sync().ok());
  ASSERT_TRUE(events->AddScalar("a", 1, 1.0).ok() && events->Sync().ok());
  ASSERT_TRUE(WriteSummary(run->summary(), {}).ok());
  const std::string rows = ReadText(run->metrics()), told = ReadText(events->path());
  files.PowerCut(FaultyFileSystem::Survives::kSynced);
  EXPECT_EQ(ReadText(run->config()), "run: 1\n");
  EXPECT_EQ(ReadText(run->File("command.txt")), "ds_train\n");
  EXPECT_EQ(ReadText(run->metrics()), rows);
  EXPECT_EQ(ReadText(events->path()), told);
  EXPECT_FALSE(ReadText(run->summary()).empty());
}

TEST(RunFolder, AFileInTheWayIsAnErrorOrPassedBy) {
  const TempFolder folder;
  std::ofstream(folder.File("file")) << "x";
  EXPECT_THAT(std::string(RunFolder::Create(folder.File("file"), "a").status().message()),
              HasSubstr("run.output"));
  EXPECT_EQ(RunFolder::Create(folder.path(), "file")->path(), folder.File("file-2"));
}

TEST(RunFolder, DescribesItselfAndKeepsEveryCommand) {
  const TempFolder folder;
  const auto run = RunFolder::Create(folder.path(), "a");
  ASSERT_TRUE(run.ok());
  ASSERT_TRUE(run->Describe("run: 1\n", {"ds_train", "data.path=my folder"}, {{"x", "1"}}).ok());
  ASSERT_TRUE(run->Describe("run: 2\n", {"ds_train", "--resume", "it's"}, {{"x", "2"}}).ok());
  EXPECT_EQ(ReadText(run->config()), "run: 2\n");
  EXPECT_EQ(ReadText(run->File("versions.txt")), "x: 2\n");
  EXPECT_EQ(ReadText(run->File("command.txt")),
            "ds_train 'data.path=my folder'\nds_train --resume 'it'\\''s'\n");
  EXPECT_THAT(run->Contents(), HasSubstr("config.yaml"));
  EXPECT_THAT(run->Contents(), Not(HasSubstr("model.onnx")));
  // Nothing half-written is left beside them.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(run->path()), {}), 3);
}

TEST(HostVersions, NameTheProgramAndTheMachine) {
  std::set<std::string> names;
  for (const auto& [name, version] : HostVersions()) {
    names.insert(name);
    EXPECT_FALSE(version.empty()) << name;
  }
  EXPECT_TRUE(names.count("downstream") && names.count("compiler") && names.count("processor"));
}

TEST(RunSummary, JsonHasWhatTheIssueNames) {
  const TempFolder folder;
  RunSummary summary;
  summary.name = "a \"b\"";
  summary.precision = "bf16";
  summary.world_size = 2;
  summary.epochs = 3;
  summary.test_accuracy = 0.9351;
  summary.train_images_per_second = 1234.5;
  summary.wire_bytes_per_step = int64_t{1} << 40;
  summary.seed = 18446744073709551615u;
  summary.step_ms = {1, 2, 3, 4, 0.5, 6, 12.5};
  summary.predicted_step_ms = 11.5;
  summary.versions = {{"torch", "2.x"}};
  ASSERT_TRUE(WriteSummary(folder.File("summary.json"), summary).ok());
  const auto json = nlohmann::json::parse(ReadText(folder.File("summary.json")));
  EXPECT_EQ(json["test_accuracy"], 0.9351);
  EXPECT_EQ(json["train_images_per_second"], 1234.5);
  EXPECT_EQ(json["precision"], "bf16");
  EXPECT_EQ(json["world_size"], 2);
  EXPECT_EQ(json["epochs"], 3);
  EXPECT_EQ(json["wire_bytes_per_step"], int64_t{1} << 40);
  EXPECT_EQ(json["seed"], 18446744073709551615u);
  EXPECT_EQ(json["name"], "a \"b\"");
  EXPECT_EQ(json["predicted_step_ms"], 11.5);
  EXPECT_TRUE(json["median_step_ms"].is_null());
  EXPECT_TRUE(json["loss_scale"].is_null());
  EXPECT_EQ(json["versions"]["torch"], "2.x");
  const std::vector<std::pair<const char*, double>> times = {
      {"data", 1},      {"forward", 2}, {"backward", 3}, {"exchange", 4}, {"exchange_exposed", 0.5},
      {"optimiser", 6}, {"total", 12.5}};
  EXPECT_EQ(json["step_ms"].size(), times.size());
  for (const auto& [name, ms] : times) EXPECT_EQ(json["step_ms"][name], ms) << name;
}

TEST(RunSummary, TableShowsTheExchangeOnlyWhereThereIsOne) {
  RunSummary summary;
  summary.name = "a";
  summary.test_accuracy = 0.9351;
  summary.best_epoch = 3;
  EXPECT_THAT(SummaryTable(summary), HasSubstr("93.51% (epoch 3)"));
  EXPECT_THAT(SummaryTable(summary), Not(HasSubstr("exchange")));
  summary.world_size = 2;
  summary.test_accuracy = RunSummary::kNone;
  EXPECT_THAT(SummaryTable(summary), HasSubstr("exchange, not hidden"));
  EXPECT_THAT(SummaryTable(summary), HasSubstr("not tested"));
}

TEST(RunSummary, TableStaysNarrowWhateverTextsAreLong) {
  RunSummary summary;
  summary.name = std::string(128, 'n');
  summary.model = "a/folder/of/models/" + std::string(100, 'm') + ".onnx";
  summary.world_size = 2;
  summary.test_accuracy = 0.9351;
  summary.compression = "uniform, bits by layer, error feedback, between hosts";
  summary.raw_bytes_per_step = 7800;
  summary.wire_bytes_per_step = 1000;
  summary.compression_error = 0.091;
  summary.predicted_step_ms = 10;
  const std::string table = SummaryTable(summary);
  for (const absl::string_view line : absl::StrSplit(table, '\n'))
    EXPECT_LE(line.size(), 80u) << line;
  EXPECT_THAT(table, HasSubstr("7.8x\n"));
  EXPECT_THAT(table, HasSubstr("9.1%\n"));
}

TEST(Trace, EverySpanStandsOnItsTrackOfItsRank) {
  const TempFolder folder;
  const std::vector<TraceSpan> first = {{"forward", "compute", 1000, 1500},
                                        {"bucket 0", "exchange", 1400, 1700},
                                        {"backward", "compute", 1500, 1499}};
  const std::vector<TraceSpan> second = {{"bucket \"0\"", "exchange", 1450, 1800}};
  ASSERT_TRUE(WriteTrace(folder.File("trace.json"),
                         {TraceOfRank(0, first, 1000), TraceOfRank(1, second, 1000)})
                  .ok());
  const auto json = nlohmann::json::parse(ReadText(folder.File("trace.json")))["traceEvents"];
  ASSERT_EQ(json.size(), 9u);  // two processes, two tracks and one, three spans and one
  std::map<std::pair<int, std::string>, int> tracks;
  std::vector<nlohmann::json> spans;
  for (const auto& event : json) {
    if (event["name"] == "thread_name")
      tracks[{event["pid"], event["args"]["name"]}] = event["tid"];
    if (event["ph"] == "X") spans.push_back(event);
  }
  EXPECT_NE((tracks[{0, "compute"}]), (tracks[{0, "exchange"}]));
  EXPECT_EQ(spans[0]["ts"], 0);
  EXPECT_EQ(spans[0]["dur"], 500);
  EXPECT_EQ(spans[1]["ts"], 400);
  EXPECT_EQ(spans[1]["tid"], (tracks[{0, "exchange"}]));
  EXPECT_EQ(spans[2]["dur"], 0) << "never negative";
  EXPECT_EQ(spans[3]["pid"], 1);
  EXPECT_EQ(spans[3]["name"], "bucket \"0\"");
}

TEST(Trace, WithoutSpansIsStillATrace) {
  const TempFolder folder;
  ASSERT_TRUE(WriteTrace(folder.File("trace.json"), {TraceOfRank(0, {}, 0)}).ok());
  EXPECT_EQ(nlohmann::json::parse(ReadText(folder.File("trace.json")))["traceEvents"].size(), 1u);
}

}  // namespace
}  // namespace ds
