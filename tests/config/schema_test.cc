// The machinery with a struct that is nobody's but this test's: what a second program gets from it.
#include "config/schema.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

enum class Strategy { kMean, kMedian };

struct ServerConfig {
  std::string host = "0.0.0.0";
  int port = 4433;
  Strategy strategy = Strategy::kMean;
  int64_t rounds = 10, sites = 3;
  struct Privacy {
    bool enabled = false;
    double noise = 1.5;
    std::vector<double> budgets = {0.5, 8};
  } privacy;
};

ConfigSchema ServerSchema(ServerConfig& config) {
  const auto check = [&config](const PositionOf& at) {
    if (config.rounds >= config.sites) return absl::OkStatus();
    return YamlError(at("round.rounds"), "'round.rounds' must be at least 'round.sites'");
  };
  return {.sections = {{"listen", "Where agents call.", "port"},
                       {"round", "What a round is."},
                       {"round.privacy", "What is added to it."}},
          .fields = {{"listen", "host", &config.host, Any(), "address"},
                     {"listen", "port", &config.port, Between(1, 65535), "TCP port"},
                     {"round", "strategy",
                      Words<Strategy>(&config.strategy,
                                      {{"mean", Strategy::kMean}, {"median", Strategy::kMedian}}),
                      Any(), "how updates become one"},
                     {"round", "rounds", &config.rounds, AtLeast(1), "to run"},
                     {"round", "sites", &config.sites, AtLeast(1), "that must answer"},
                     {"round.privacy", "enabled", &config.privacy.enabled, Any(), "add noise"},
                     {"round.privacy", "noise", &config.privacy.noise, Above(0), "its deviation"},
                     {"round.privacy", "budgets", &config.privacy.budgets, Above(0), "epsilons"}},
          .check = check,
          .example = {.yaml = "listen: {port: 4433}",
                      .override = "round.rounds=5",
                      .file = "configs/server.yaml"}};
}

std::string Error(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  ServerConfig config;
  return std::string(ParseConfig(ServerSchema(config), yaml, "server.yaml", overrides).message());
}

TEST(ConfigSchema, FillsAProgramsOwnStruct) {
  ServerConfig config;
  const absl::Status status =
      ParseConfig(ServerSchema(config),
                  "listen: 4000\nround:\n  strategy: median\n  privacy: {budgets: [1, 2.5]}\n",
                  "server.yaml", {"round.privacy.noise=0.25", "round.rounds=7"});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.host, "0.0.0.0");
  EXPECT_EQ(config.port, 4000) << "`listen: 4000` stands for `listen: {port: 4000}`";
  EXPECT_EQ(config.strategy, Strategy::kMedian);
  EXPECT_EQ(config.rounds, 7);
  EXPECT_EQ(config.privacy.noise, 0.25);
  EXPECT_EQ(config.privacy.budgets, (std::vector<double>{1, 2.5}));
}

TEST(ConfigSchema, EveryErrorSpeaksOfThatProgramsKeys) {
  EXPECT_EQ(Error(""),
            "server.yaml:1:1: the configuration is empty; write something as 'listen: {port: "
            "4433}'");
  EXPECT_THAT(Error("- a\n"), HasSubstr("as 'listen: {port: 4433}'"));
  EXPECT_THAT(Error("round: {}\n", {"rounds"}), HasSubstr("as round.rounds=5"));
  EXPECT_EQ(Error("round: {stratgy: mean}\n"),
            "server.yaml:1:9: unknown key 'stratgy' in 'round'; did you mean 'strategy'?");
  EXPECT_EQ(Error("optimizer: {}\n"),
            "server.yaml:1:1: unknown key 'optimizer'; known keys: listen, round, include");
  EXPECT_EQ(
      Error("round: {strategy: medain}\n"),
      "server.yaml:1:19: 'round.strategy' is 'medain'; it must be mean | median; did you mean "
      "'median'?");
  EXPECT_EQ(Error("round: {strategy: [mean]}\n"),
            "server.yaml:1:19: 'round.strategy' must be a string, not a list");
  EXPECT_EQ(Error("listen: {port: 70000}\n"),
            "server.yaml:1:16: 'listen.port' is 70000; it must be [1, 65535]");
  EXPECT_EQ(Error("listen: {host: a}\nround: {sites: 20}\n"),
            "server.yaml:2:1: 'round.rounds' must be at least 'round.sites'")
      << "the nearest place that was written";
  ServerConfig config;
  const std::string missing(ReadConfig(ServerSchema(config), "none.yaml", {}).message());
  EXPECT_EQ(missing, "none.yaml: no such file; give a YAML file, as configs/server.yaml");
}

TEST(ConfigSchema, IncludesAreCheckedButOnlyTheResultIsKept) {
  const TempFolder folder;
  std::ofstream(folder.path() + "/base.yaml") << "listen: {port: 1}\nround: {strategy: median}\n";
  std::ofstream(folder.path() + "/bad.yaml") << "listen: {port: x}\n";
  std::ofstream(folder.path() + "/a.yaml") << "include: base.yaml\nlisten: {port: 2}\n";
  std::ofstream(folder.path() + "/b.yaml") << "include: bad.yaml\nlisten: {port: 2}\n";
  ServerConfig config;
  const absl::Status status = ReadConfig(ServerSchema(config), folder.path() + "/a.yaml", {});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.port, 2);
  EXPECT_EQ(config.strategy, Strategy::kMedian);
  ServerConfig untouched;
  EXPECT_THAT(
      std::string(ReadConfig(ServerSchema(untouched), folder.path() + "/b.yaml", {}).message()),
      HasSubstr("/bad.yaml:1:16: 'listen.port' must be an integer"));
  EXPECT_EQ(untouched.port, 4433);
}

TEST(ConfigSchema, PrintsBackToTheSameAndDocumentsItself) {
  ServerConfig config;
  config.strategy = Strategy::kMedian;
  config.privacy.noise = 0.1 + 0.2;
  const std::string printed = PrintConfig(ServerSchema(config));
  EXPECT_THAT(printed, HasSubstr("round:\n  strategy: median\n"));
  EXPECT_THAT(printed, HasSubstr("  privacy:\n    enabled: false\n"));
  ServerConfig again;
  ASSERT_TRUE(ParseConfig(ServerSchema(again), printed, "printed", {}).ok());
  EXPECT_EQ(again.privacy.noise, config.privacy.noise);
  EXPECT_EQ(PrintConfig(ServerSchema(again)), printed);
  EXPECT_THAT(ConfigReference(ServerSchema(again)),
              HasSubstr("| `strategy` | string | `median` | `mean \\| median` | how updates"));
}

TEST(ConfigSchema, AValueWithoutAWordIsNotTakenForAnother) {
  ServerConfig config;
  config.strategy = static_cast<Strategy>(7);
  const std::string printed = PrintConfig(ServerSchema(config));
  EXPECT_THAT(printed, HasSubstr("strategy: \"\"\n"));
  EXPECT_THAT(Error(printed), HasSubstr("'round.strategy' is ''; it must be mean | median"));
}

TEST(ConfigSchema, ASchemaNeedsNoCheck) {
  int value = 1;
  const ConfigSchema schema = {.sections = {{"a", ""}},
                               .fields = {{"a", "b", &value, Any(), ""}},
                               .example = {.yaml = "a: {b: 1}"}};
  EXPECT_TRUE(ParseConfig(schema, "a: {b: 5}", "x", {}).ok());
  EXPECT_EQ(value, 5);
}

}  // namespace
}  // namespace ds
