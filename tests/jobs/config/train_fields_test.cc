#include "jobs/config/train_fields.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "config/suggestion.h"
#include "jobs/config/train_schema.h"

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
  for (const Field& field : TrainFields(config)) count += field.section == section;
  return count;
}

TEST(TrainFields, EveryMemberOfAStructOfARunsOwnHasAKey) {
  EXPECT_EQ(FieldsIn("run"), CountMembers<RunConfig>() + 1) << "verify_replicas is the trainer's";
  EXPECT_EQ(FieldsIn("checkpoint"), CountMembers<CheckpointConfig>());
  EXPECT_EQ(FieldsIn("loss"), CountMembers<LossOptions>());
  EXPECT_EQ(FieldsIn("ema"), CountMembers<EmaOptions>());
  EXPECT_EQ(FieldsIn("sync"), CountMembers<LocalStepsOptions>());
  EXPECT_EQ(FieldsIn("data.augment"), CountMembers<AugmentOptions>());
  EXPECT_EQ(FieldsIn("data.partition"), CountMembers<PartitionOptions>());
}

// Of structs that libraries have for others too: what has no key is set by the run, or by C++ only.
TEST(TrainFields, AMemberWithoutAKeyIsMeantToHaveNone) {
  // model.options.seed
  EXPECT_EQ(FieldsIn("model"), CountMembers<ModelConfig>() - 1 + CountMembers<ModelOptions>() - 1);
  // set: split, limit, validation_fraction, seed; loader: rank, world_size, shuffle, prefetch,
  // seed, augment (a section, as partition is), channels_last
  EXPECT_EQ(FieldsIn("data"), CountMembers<DataConfig>() - 3 + CountMembers<DatasetOptions>() - 4 +
                                  CountMembers<LoaderOptions>() - 7);
  // clip_norm and accumulate are the trainer's
  EXPECT_EQ(FieldsIn("optimizer"), CountMembers<OptimizerOptions>() + 2);
  // peak, total_steps, steps_per_epoch
  EXPECT_EQ(FieldsIn("schedule"), CountMembers<ScheduleOptions>() - 3);
  // enabled, max_scale; the mode is the trainer's
  EXPECT_EQ(FieldsIn("precision"), CountMembers<LossScalerOptions>() - 2 + 1);
  // bucket_mb, overlap and forecast are the exchange's, as `trace` of the log is
  EXPECT_EQ(FieldsIn("comm"), CountMembers<CommOptions>() + 3);
  EXPECT_EQ(FieldsIn("log"), CountMembers<LogConfig>() + 1);
  EXPECT_EQ(CountMembers<ExchangeOptions>(), 3u + 1u + 1u) << "and compression is a section";
  // codec and seed; of the codec all but its kind
  EXPECT_EQ(FieldsIn("compression"),
            CountMembers<CompressionOptions>() - 2 + CountMembers<CodecOptions>() - 1);
  // precision, clip_norm, accumulate, verify_replicas; scaler, ema, exchange, local_steps;
  // max_skipped_in_a_row, seed
  EXPECT_EQ(CountMembers<MixedPrecisionTrainerOptions>(), 4u + 4u + 2u);
  // bits, activation_bits, end_bits, sum_bits, method, samples; weight and temperature
  EXPECT_EQ(FieldsIn("quantization"),
            CountMembers<QuantizationConfig>() - 2 + 6 + CountMembers<DistillationOptions>());
  // scope, most_of_group, channels_at_first
  EXPECT_EQ(FieldsIn("pruning"), CountMembers<PruningConfig>() - 1 +
                                     CountMembers<ChannelPruning>() - 1 +
                                     CountMembers<PruneOptions>() - 3);
  // gates.seed, controller.ramp_steps
  EXPECT_EQ(FieldsIn("gating"), CountMembers<GatingConfig>() - 2 +
                                    CountMembers<ChannelGateOptions>() - 1 +
                                    CountMembers<GateControllerOptions>() - 1);
}

struct Address {
  const void* operator()(const WordTarget& words) const { return &words; }
  template <typename T>
  const void* operator()(const T* target) const {
    return target;
  }
};

TEST(TrainFields, KeysAndMembersAreEachBoundOnce) {
  TrainConfig config;
  std::set<std::string> paths;
  std::set<const void*> members;
  for (const Field& field : TrainFields(config)) {
    EXPECT_TRUE(paths.insert(field.Path()).second) << field.Path();
    EXPECT_FALSE(field.doc.empty()) << field.Path();
    if (std::holds_alternative<WordTarget>(field.target)) continue;
    const void* member = std::visit(Address(), field.target);
    EXPECT_TRUE(members.insert(member).second) << field.Path();
  }
}

TEST(TrainFields, EveryDefaultButTheModelIsAllowed) {
  TrainConfig config;
  for (const Field& field : TrainFields(config)) {
    const std::string text = FormatField(field);
    const auto node = ParseYaml(text, field.Path());
    ASSERT_TRUE(node.ok()) << node.status();
    EXPECT_TRUE(ReadField(field, *node).ok()) << ReadField(field, *node);
    EXPECT_EQ(FormatField(field), text);
  }
}

TEST(TrainFields, AnIntegerMayBeAbsent) {
  const char kModel[] = "model: {name: mlp}\n";
  const auto read = [&](const std::string& loss) {
    return ParseTrainConfig(kModel + loss, "test.yaml", {});
  };
  EXPECT_EQ(read("")->loss.ignore_index, std::nullopt);
  EXPECT_EQ(read("loss: {ignore_index: none}")->loss.ignore_index, std::nullopt);
  EXPECT_EQ(read("loss: {ignore_index: -100}")->loss.ignore_index, -100);
  const std::string printed = PrintTrainConfig(*read("loss: {ignore_index: -100}"));
  EXPECT_EQ(ParseTrainConfig(printed, "printed", {})->loss.ignore_index, -100);
}

TEST(ConfigReference, TheDocumentedReferenceIsTheReadersOwn) {
  const std::string path = std::string(DS_SOURCE_DIR) + "/docs/configuration.md";
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string begin = "<!-- reference: begin -->\n";
  const size_t from = text.find(begin);
  const size_t to = text.find("<!-- reference: end -->");
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos) << path;
  const std::string expected = TrainConfigReference();
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
