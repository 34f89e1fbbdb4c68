// The configurations of aggregator and agent: the shipped files, contradictions with their places,
// and the reference in the documentation.
#include <fstream>
#include <set>
#include <string>

#include "config/reader.h"
#include "federated/config/agent_config.h"
#include "federated/config/aggregator_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::string Source(const std::string& path) { return std::string(DS_SOURCE_DIR) + "/" + path; }

template <typename Config, typename Schema>
absl::Status Parse(Schema schema_of, absl::string_view yaml) {
  Config config;
  return ParseConfig(schema_of(config), yaml, "a.yaml", {});
}
absl::Status ParseAggregator(absl::string_view yaml) {
  return Parse<AggregatorConfig>(AggregatorSchema, yaml);
}
absl::Status ParseAgent(absl::string_view yaml) { return Parse<AgentConfig>(AgentSchema, yaml); }

TEST(AggregatorConfig, TheShippedFileIsGoodAndComesBack) {
  const auto config = ReadAggregatorConfig(Source("configs/federated/aggregator.yaml"),
                                           {"listen.identity=authority"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.secure.mode, "on");
  EXPECT_EQ(config->run.update.bits, 4);
  AggregatorConfig again;
  const std::string printed = PrintAggregatorConfig(*config);
  ASSERT_TRUE(ParseConfig(AggregatorSchema(again), printed, "printed", {}).ok());
  EXPECT_EQ(PrintAggregatorConfig(again), printed);
}

TEST(AgentConfig, TheShippedFileIsGoodAndComesBack) {
  const auto config = ReadAgentConfig(Source("configs/federated/agent.yaml"), {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->policy.require_secure);
  EXPECT_EQ(config->policy.secure.sites, 3);
  AgentConfig again;
  const std::string printed = PrintAgentConfig(*config);
  ASSERT_TRUE(ParseConfig(AgentSchema(again), printed, "printed", {}).ok());
  EXPECT_EQ(PrintAgentConfig(again), printed);
}

TEST(AggregatorConfig, WhatContradictsItselfIsRefusedWithItsPlace) {
  const std::string good = "listen: {identity: x}\ntask: {config: t.yaml}\n";
  EXPECT_TRUE(ParseAggregator(good).ok()) << ParseAggregator(good);
  const std::pair<const char*, const char*> bad[] = {
      {"listen: {identity: x}", "'task.config' is missing"},
      {"task: {config: t.yaml}", "a.yaml:1:1: 'listen.identity' is missing"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nstrategy: krum\nsecure: \"on\"", "krum"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nstrategy: fedbuff\nsecure: \"on\"",
       "fedbuff"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nupdate: {bits: 17}", "a.yaml:3:"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nupdate: {bit: 4}", "did you mean 'bits'?"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nround: {minimum: 3, wait_for: 2}",
       "wait_for"},
      {"listen: {identity: x}\ntask: {config: t.yaml}\nstrategy: fedmean", "fedmean"},
  };
  for (const auto& [yaml, words] : bad) {
    const absl::Status status = ParseAggregator(yaml);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << yaml;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << yaml;
  }
}

TEST(AgentConfig, WhatContradictsItselfIsRefusedWithItsPlace) {
  const std::pair<const char*, const char*> bad[] = {
      {"agent: {identity: x}", "a.yaml:1:1: 'agent.aggregator' is missing"},
      {"agent: {aggregator: \"a:1\"}", "'agent.identity' is missing"},
      {"agent: {aggregator: \"a:1\", insecure: true}", "wants an 'agent.name'"},
      {"agent: {aggregator: \"a:1\", identity: x, state: \"\"}", "'agent.state' names no folder"},
      {"agent: {aggregator: \"a:1\", identity: x}\ndata: {batch_size: 3}", "batch_size"},
      {"agent: {aggregator: \"a:1\", identity: x}\npolicy: {least_sites: 1}", "a.yaml:2:"},
  };
  for (const auto& [yaml, words] : bad) {
    const absl::Status status = ParseAgent(yaml);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << yaml;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << yaml;
  }
}

TEST(FederatedConfig, KeysAndMembersAreEachBoundOnce) {
  AggregatorConfig aggregator;
  AgentConfig agent;
  for (const ConfigSchema& schema : {AggregatorSchema(aggregator), AgentSchema(agent)}) {
    std::set<std::string> paths, sections;
    for (const ConfigSection& section : schema.sections) sections.insert(section.path);
    for (const Field& field : schema.fields) {
      EXPECT_TRUE(paths.insert(field.Path()).second) << field.Path();
      EXPECT_TRUE(sections.contains(field.section)) << field.Path();
      EXPECT_FALSE(field.doc.empty()) << field.Path();
    }
  }
}

// docs/federated-configuration.md has a reference of each program between two marks.
void ExpectDocumented(const std::string& program, const std::string& expected) {
  const std::string path = Source("docs/federated-configuration.md");
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string begin = "<!-- " + program + ": begin -->\n";
  const size_t from = text.find(begin), to = text.find("<!-- " + program + ": end -->");
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos) << path;
  if (text.substr(from + begin.size(), to - from - begin.size()) != expected) {
    const std::string written = ::testing::TempDir() + "/" + program + "_reference.md";
    std::ofstream(written) << expected;
    ADD_FAILURE() << path << " is out of date: put " << written << " between its two marks";
  }
}

TEST(FederatedConfig, TheDocumentedReferencesAreTheReadersOwn) {
  AggregatorConfig aggregator;
  ExpectDocumented("ds_aggregator", ConfigReference(AggregatorSchema(aggregator)));
  AgentConfig agent;
  ExpectDocumented("ds_agent", ConfigReference(AgentSchema(agent)));
}

}  // namespace
}  // namespace ds::federated
