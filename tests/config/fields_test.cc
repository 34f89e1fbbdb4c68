#include "jobs/config/fields.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "config/reference.h"
#include "config/suggestion.h"

namespace ds {
namespace {

// Converts to anything: stands for a member in an aggregate initialisation that is only tried,
// never run.
struct AnyValue {
  template <typename T>
  operator T() const;
};

template <typename T, size_t... I>
constexpr bool TakesMembers(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), AnyValue{})...}; };
}

// Members of an aggregate without bases.
template <typename T, size_t N = 32>
constexpr size_t CountMembers() {
  if constexpr (TakesMembers<T>(std::make_index_sequence<N>())) {
    return N;
  } else {
    return CountMembers<T, N - 1>();
  }
}

size_t FieldsIn(const std::string& section) {
  TrainConfig config;
  size_t count = 0;
  for (const Field& field : ConfigFields(config)) count += field.section == section;
  return count;
}

TEST(ConfigFields, EveryMemberOfEveryStructHasAKey) {
  EXPECT_EQ(FieldsIn("run"), CountMembers<RunConfig>());
  EXPECT_EQ(FieldsIn("model"), CountMembers<ModelConfig>());
  EXPECT_EQ(FieldsIn("data"), CountMembers<DataConfig>() - 1);  // augment is a section
  EXPECT_EQ(FieldsIn("data.augment"), CountMembers<DataConfig::Augment>());
  EXPECT_EQ(FieldsIn("optimizer"), CountMembers<OptimizerConfig>());
  EXPECT_EQ(FieldsIn("schedule"), CountMembers<ScheduleConfig>());
  EXPECT_EQ(FieldsIn("loss"), CountMembers<LossConfig>());
  EXPECT_EQ(FieldsIn("precision"), CountMembers<PrecisionConfig>());
  EXPECT_EQ(FieldsIn("ema"), CountMembers<EmaConfig>());
  EXPECT_EQ(FieldsIn("comm"), CountMembers<CommConfig>());
  EXPECT_EQ(FieldsIn("compression"), CountMembers<CompressionConfig>());
  EXPECT_EQ(FieldsIn("sync"), CountMembers<SyncConfig>());
  EXPECT_EQ(FieldsIn("quantization"), CountMembers<QuantizationConfig>());
  EXPECT_EQ(FieldsIn("pruning"), CountMembers<PruningConfig>());
  EXPECT_EQ(FieldsIn("gating"), CountMembers<GatingConfig>());
  EXPECT_EQ(FieldsIn("checkpoint"), CountMembers<CheckpointConfig>());
  EXPECT_EQ(FieldsIn("log"), CountMembers<LogConfig>());
  EXPECT_EQ(ConfigSections().size(), CountMembers<TrainConfig>() + 1);
}

TEST(ConfigFields, KeysAndMembersAreEachBoundOnce) {
  TrainConfig config;
  std::set<std::string> paths;
  std::set<const void*> members;
  for (const Field& field : ConfigFields(config)) {
    EXPECT_TRUE(paths.insert(field.Path()).second) << field.Path();
    const void* member =
        std::visit([](auto* p) { return static_cast<const void*>(p); }, field.target);
    EXPECT_TRUE(members.insert(member).second) << field.Path();
    EXPECT_FALSE(field.doc.empty()) << field.Path();
  }
}

TEST(ConfigFields, EveryDefaultButTheModelIsAllowed) {
  TrainConfig config;
  for (const Field& field : ConfigFields(config)) {
    const std::string text = FormatField(field);
    const auto node = ParseYaml(text, field.Path());
    ASSERT_TRUE(node.ok()) << node.status();
    EXPECT_TRUE(ReadField(field, *node).ok()) << ReadField(field, *node);
    EXPECT_EQ(FormatField(field), text);
  }
}

TEST(ConfigReference, TheDocumentedReferenceIsTheReadersOwn) {
  const std::string path = std::string(DS_SOURCE_DIR) + "/docs/configuration.md";
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string begin = "<!-- reference: begin -->\n";
  const size_t from = text.find(begin);
  const size_t to = text.find("<!-- reference: end -->");
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos) << path;
  const std::string expected = ConfigReferenceMarkdown();
  const std::string written = ::testing::TempDir() + "/ds_config_reference.md";
  if (text.substr(from + begin.size(), to - from - begin.size()) != expected) {
    std::ofstream(written) << expected;
    ADD_FAILURE() << path << " is out of date: put " << written << " between its two markers";
  }
}

TEST(Suggestion, NamesWhatWasMeantAndNothingElse) {
  const std::vector<std::string> known = {"epochs", "seed", "threads"};
  EXPECT_EQ(Suggestion("epoch", known), "; did you mean 'epochs'?");
  EXPECT_EQ(Suggestion("sede", known), "; did you mean 'seed'?");
  EXPECT_EQ(Suggestion("threds", known), "; did you mean 'threads'?");
  EXPECT_EQ(Suggestion("zebra", known), "");
  EXPECT_EQ(Suggestion(std::string(100000, 'e'), known), "");
  EXPECT_EQ(Suggestion("epochs", {}), "");
}

}  // namespace
}  // namespace ds
