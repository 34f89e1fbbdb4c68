// What a demonstration is made of: processes, files, results.
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "config/yaml_node.h"
#include "federated/demo/demo.h"
#include "federated/demo/demo_files.h"
#include "federated/demo/process.h"
#include "federated/pki/identity.h"
#include "federated/pki/site_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Process> Shell(const TempFolder& folder, const std::string& script) {
  auto process = Process::Start({.command = {"sh", "-c", script},
                                 .log = folder.path() + "/log",
                                 .environment = {{"DEMO_WORD", "said"}}});
  EXPECT_TRUE(process.ok()) << process.status();
  return process.ok() ? *std::move(process) : nullptr;
}

TEST(Process, TellsHowItEndedAndWhatItSaidLast) {
  TempFolder folder;
  const auto process = Shell(folder, "echo first; echo $DEMO_WORD >&2; echo; exit 3");
  EXPECT_EQ(process->Wait(absl::Seconds(10)), 3);
  EXPECT_EQ(process->LastWords(), "said");
  EXPECT_EQ(process->Poll(), 3);
}

TEST(Process, EndsWithItsOwner) {
  TempFolder folder;
  pid_t id = 0;
  {
    const auto process = Shell(folder, "exec sleep 60");
    id = process->id();
    EXPECT_EQ(process->Wait(absl::Milliseconds(50)), std::nullopt);
  }
  EXPECT_NE(kill(id, 0), 0);
}

TEST(Process, IsKilledWhereItDoesNotListen) {
  TempFolder folder;
  const auto process = Shell(folder, "trap '' TERM; while true; do sleep 0.05; done");
  absl::SleepFor(absl::Milliseconds(200));  // until the trap is set
  process->Stop(absl::Milliseconds(100));
  EXPECT_EQ(process->Poll(), 128 + SIGKILL);
}

TEST(Process, SaysWhichProgramIsMissing) {
  TempFolder folder;
  const auto process =
      Process::Start({.command = {folder.path() + "/ds_agent"}, .log = folder.path() + "/log"});
  EXPECT_EQ(process.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(process.status().message()), HasSubstr("ds_agent"));
}

TEST(DemoFiles, EverySiteHasAnIdentityAndAConfigurationOfItsOwn) {
  TempFolder folder;
  DemoOptions options = {.output = folder.path() + "/demo", .sites = 3, .secure = true};
  const auto files = WriteDemoFiles(options, 7443);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->agents.size(), 3u);
  for (int64_t site = 0; site < 3; ++site) {
    const std::string identity =
        IdentityFile(absl::StrCat(options.output, "/sites/", SiteName(site), "/identity"));
    const auto opened = FileSiteIdentity::Open(identity);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ((*opened)->site(), SiteName(site));
    std::ifstream file(files->agents[static_cast<size_t>(site)]);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_TRUE(ParseYaml(text, "agent").ok()) << ParseYaml(text, "agent").status();
    EXPECT_THAT(text, HasSubstr(absl::StrCat("site: ", site)));
  }
  for (const std::string& path : {files->aggregator, options.output + "/task.yaml"}) {
    std::ifstream file(path);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_TRUE(ParseYaml(text, path).ok()) << ParseYaml(text, path).status();
  }
  EXPECT_THAT(std::string(RunDemo(options).status().message()), HasSubstr("holds something"));
}

TEST(DemoFiles, RefusesWhatIsNoFederation) {
  const auto message = [](const DemoOptions& options) {
    return std::string(CheckDemo(options).message());
  };
  EXPECT_THAT(message({.output = "/none", .sites = 1}), HasSubstr("2..256"));
  EXPECT_THAT(message({.output = "/none", .sites = 2, .secure = true}), HasSubstr("3..256"));
  EXPECT_THAT(message({.sites = 4}), HasSubstr("--output"));
}

TEST(Demo, AProgramThatIsMissingIsNamedAndNothingGoesOn) {
  TempFolder folder;
  const auto demo = RunDemo({.output = folder.path() + "/demo",
                             .sites = 2,
                             .programs = folder.path() + "/nowhere",
                             .print = false});
  EXPECT_EQ(demo.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(demo.status().message()), HasSubstr("nowhere/ds_aggregator"));
}

TEST(Demo, AnAggregatorThatFailsEndsItWithItsLastWords) {
  TempFolder folder;
  for (const char* name : {"ds_aggregator", "ds_agent"}) {
    const std::string path = folder.Write(
        name, std::string(name) == "ds_agent" ? "#!/bin/sh\nexec sleep 60\n"
                                              : "#!/bin/sh\necho no such model >&2\nexit 1\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  const auto demo = RunDemo(
      {.output = folder.path() + "/demo", .sites = 2, .programs = folder.path(), .print = false});
  EXPECT_EQ(demo.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(demo.status().message()), HasSubstr("no such model"));
}

TEST(DemoSummary, HasTheKeysThatScriptsReadAndNoOther) {
  TempFolder folder;
  const std::string path = folder.Write(
      "summary.json",
      R"({"name": "run", "test_accuracy": 0.875, "rounds": 2, "round_seconds": [1.5, 2.5],
          "upload_bytes_per_parameter": 0.625, "download_bytes_per_parameter": 0.75,
          "aggregator_peak_rss_mib": 64.5, "secure": true, "bits": 4,
          "exports": [{"file": "model-w8a8.onnx", "bits": 8, "activation_bits": 8,
                       "accuracy": null, "bytes": 2048}]})");
  const auto summary = ReadDemoSummary(path);
  ASSERT_TRUE(summary.ok()) << summary.status();
  const auto json = nlohmann::json::parse(DemoSummaryJson(*summary));
  EXPECT_EQ(json, nlohmann::json::parse(
                      R"({"test_accuracy": 0.875, "rounds": 2, "round_seconds": [1.5, 2.5],
                          "upload_bytes_per_parameter": 0.625,
                          "download_bytes_per_parameter": 0.75,
                          "aggregator_peak_rss_mib": 64.5, "secure": true, "bits": 4})"));
  EXPECT_THAT(DemoTable(*summary), HasSubstr("87.50 %"));
  EXPECT_THAT(DemoTable(*summary), HasSubstr("model-w8a8.onnx"));
  for (const char* text : {"", "[]", R"({"rounds": "two"})"}) {
    const auto bad = ReadDemoSummary(folder.Write("bad.json", text));
    EXPECT_EQ(bad.status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace ds::federated
