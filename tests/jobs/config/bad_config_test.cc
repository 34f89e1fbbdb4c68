// One row a bad configuration: what is written, and how its one error must begin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "jobs/config/train_schema.h"

namespace ds {
namespace {

struct BadConfig {
  const char* name;
  std::string yaml;
  std::string message;  // the error's beginning, after "bad.yaml:"
};

// A valid model after which the case's own lines start at line 2.
std::string After(absl::string_view lines) { return absl::StrCat("model: {name: lenet}\n", lines); }

std::string Nested(int depth) {
  return "run: " + std::string(depth, '[') + "1" + std::string(depth, ']') + "\n";
}

std::vector<BadConfig> SyntaxCases() {
  return {
      {"Empty", "", "1:1: the configuration is empty"},
      {"OnlyComments", "# nothing\n\n", "1:1: the configuration is empty"},
      {"OnlyNull", "~\n", "1:1: the configuration is empty"},
      {"ListAtTheTop", "- run\n", "1:1: a configuration is a mapping of sections"},
      {"WordAtTheTop", "resnet8\n", "1:1: a configuration is a mapping of sections"},
      {"TwoDocuments", After("---\nrun: {epochs: 2}\n"), "2:1: a second document or stray text"},
      {"TextAfterTheDocument", After("...\nrun: {}\n"), "3:1: a second document or stray text"},
      {"TabIndent", After("run:\n\tepochs: 2\n"), "3:1: tab in the indentation; use spaces"},
      {"OpenBracket", After("data: {mean: [0.5\n"), "3:1: not valid YAML: "},
      {"OpenBrace", After("run: {epochs: 2\n"), "3:1: not valid YAML: "},
      {"StrayBracket", After("run: ]\n"), "2:6: not valid YAML: "},
      {"OpenQuote", After("run: {name: \"abc\n"), "3:1: not valid YAML: "},
      {"BadEscape", After("run: {name: \"a\\qb\"}\n"), "2:17: not valid YAML: unknown escape"},
      {"ColonInValue", After("run:\n  name: a: b\n"), "3:10: not valid YAML: "},
      {"LostIndent", After("run:\n    epochs: 2\n  seed: 3\n"), "4:3: not valid YAML: "},
      {"LineWithoutColon", After("run:\n  epochs 2\n"), "3:3: 'run' is a section"},
      {"Anchor", After("run: &r {epochs: 2}\n"), "2:6: anchors (&name) and aliases"},
      {"AnchorOnValue", After("run: {epochs: &e 2}\n"), "2:15: anchors (&name) and aliases"},
      {"UnknownAlias", After("run: *r\n"), "2:6: not valid YAML: "},
      {"MergeKey", After("run:\n  <<: {epochs: 2}\n"), "3:3: merge keys (<<) are not supported"},
      {"Tag", After("run: {epochs: !!int 2}\n"),
       "2:15: tag 'tag:yaml.org,2002:int' is not supported"},
      {"MapAsKey", After("? {a: b}\n: 1\n"), "2:3: a key must be a plain word"},
      {"TooDeep", Nested(20), "1:21: nested deeper than 16 levels"},
      {"HopelesslyDeep", Nested(100000), "1:21: nested deeper than 16 levels"},
      {"NulByte", std::string("model: {name: a\0b}\n", 19), "1:16: control character 0x00"},
      {"EndOfTransmission", After("run: {epochs: 2} \x04\n"), "2:18: control character 0x04"},
      {"Latin1", After("run: {output: \xFC}\n"), "2:15: byte 0xfc is not UTF-8"},
      {"OverlongUtf8", After("# \xC0\xAF\n"), "2:3: byte 0xc0 is not UTF-8"},
      {"Utf16", std::string("\xFF\xFEr\0u\0n\0", 8), "1:1: byte 0xff is not UTF-8"},
  };
}

std::vector<BadConfig> KeyCases() {
  return {
      {"UnknownKey", After("optimizer:\n  learning_rte: 0.1\n"),
       "3:3: unknown key 'learning_rte' in 'optimizer'; did you mean 'learning_rate'?"},
      {"UnknownSection", After("optimzer: {}\n"),
       "2:1: unknown key 'optimzer'; did you mean 'optimizer'?"},
      {"NothingLikeIt", After("ema: {zebra: 1}\n"),
       "2:7: unknown key 'zebra' in 'ema'; known keys: enabled, decay"},
      {"KeyOfAnotherSection", After("run: {learning_rate: 1}\n"),
       "2:7: unknown key 'learning_rate' in 'run'; did you mean 'optimizer.learning_rate'?"},
      {"KeyWithoutSection", After("batch_size: 4\n"),
       "2:1: unknown key 'batch_size'; did you mean 'data.batch_size'?"},
      {"UnknownNestedKey", After("data:\n  augment:\n    flipp: true\n"),
       "4:5: unknown key 'flipp' in 'data.augment'; did you mean 'flip'?"},
      {"CaseMatters", After("Run: {epochs: 2}\n"), "2:1: unknown key 'Run'; did you mean 'run'?"},
      {"EmptyKey", After("run: {\"\": 2}\n"), "2:7: unknown key ''"},
      {"DottedKey", After("run.epochs: 3\n"),
       "2:1: unknown key 'run.epochs'; in a file a section's keys are written below it"},
      {"DuplicateKey", After("run:\n  epochs: 2\n  epochs: 3\n"),
       "4:3: duplicate key 'epochs' (its first value is at bad.yaml:3:11)"},
      {"DuplicateSection", After("run: {epochs: 2}\nrun: {seed: 2}\n"), "3:1: duplicate key 'run'"},
      {"DuplicateInFlow", After("run: {seed: 1, seed: 1}\n"), "2:16: duplicate key 'seed'"},
      {"NullSection", After("run:\n"), "3:1: 'run' is a section and needs keys"},
      {"ListForSection", After("run: [1]\n"), "2:6: 'run' is a section and needs keys"},
      {"IncludeInText", After("include: base.yaml\n"), "2:10: 'include' works in files only"},
      {"IncludeList", After("include: [a, b]\n"), "2:10: 'include' must be the name of one file"},
      {"IncludeNested", After("run: {include: a.yaml}\n"), "2:7: unknown key 'include' in 'run'"},
  };
}

std::vector<BadConfig> TypeCases() {
  return {
      {"StringForInteger", After("run: {epochs: many}\n"),
       "2:15: 'run.epochs' must be an integer (decimal digits), not 'many'"},
      {"QuotedInteger", After("run: {epochs: \"3\"}\n"),
       "2:15: 'run.epochs' must be an integer (without quotes), not the string \"3\""},
      {"FractionForInteger", After("run: {epochs: 1.5}\n"),
       "2:15: 'run.epochs' must be an integer"},
      {"ExponentForInteger", After("run: {epochs: 1e2}\n"),
       "2:15: 'run.epochs' must be an integer"},
      {"HexInteger", After("run: {seed: 0x10}\n"), "2:13: 'run.seed' must be an integer"},
      {"OctalInteger", After("run: {seed: 010}\n"),
       "2:13: 'run.seed' must be an integer without leading"},
      {"GroupedInteger", After("run: {seed: 1_000}\n"), "2:13: 'run.seed' must be an integer"},
      {"IntegerOverflow", After("data: {size: 99999999999999999999}\n"),
       "2:14: 'data.size' is 99999999999999999999; it must be [1, 1e+09]"},
      {"NegativeSeed", After("run: {seed: -1}\n"), "2:13: 'run.seed' is -1; it must be >= 0"},
      {"ListForInteger", After("run: {epochs: [3]}\n"),
       "2:15: 'run.epochs' must be an integer, not a list"},
      {"MapForInteger", After("run: {epochs: {a: 3}}\n"),
       "2:15: 'run.epochs' must be an integer, not a mapping"},
      {"NothingForInteger", After("run:\n  epochs:\n"), "4:1: 'run.epochs' has no value"},
      {"WordForNumber", After("optimizer: {learning_rate: fast}\n"),
       "2:28: 'optimizer.learning_rate' must be a number, not 'fast'"},
      {"CommaForPoint", After("optimizer:\n  learning_rate: 0,1\n"),
       "3:18: 'optimizer.learning_rate' must be a number, not '0,1'"},
      {"UnitOnNumber", After("comm: {timeout_s: 10s}\n"),
       "2:19: 'comm.timeout_s' must be a number"},
      {"Nan", After("optimizer: {learning_rate: nan}\n"),
       "2:28: 'optimizer.learning_rate' must be a finite number"},
      {"YamlNan", After("optimizer: {weight_decay: .nan}\n"),
       "2:27: 'optimizer.weight_decay' must be a finite number"},
      {"Infinity", After("comm: {timeout_s: .inf}\n"),
       "2:19: 'comm.timeout_s' must be a finite number"},
      {"NumberOverflow", After("comm: {timeout_s: 1e999}\n"),
       "2:19: 'comm.timeout_s' is 1e999, beyond what a double can hold"},
      {"HexNumber", After("comm: {timeout_s: 0x1p3}\n"), "2:19: 'comm.timeout_s' must be a number"},
      {"YesForBool", After("ema: {enabled: yes}\n"),
       "2:16: 'ema.enabled' must be true or false, not 'yes'"},
      {"OneForBool", After("ema: {enabled: 1}\n"),
       "2:16: 'ema.enabled' must be true or false, not '1'"},
      {"QuotedBool", After("ema: {enabled: 'true'}\n"),
       "2:16: 'ema.enabled' must be true or false"},
      {"CapitalBool", After("ema: {enabled: True}\n"), "2:16: 'ema.enabled' must be true or false"},
      {"NumberForList", After("data: {mean: 0.5}\n"),
       "2:14: 'data.mean' must be a list of numbers"},
      {"WordInList", After("data: {mean: [0.5, x]}\n"),
       "2:20: 'data.mean' must be a number, not 'x'"},
      {"NullInList", After("data: {mean: [0.5, ~]}\n"),
       "2:20: 'data.mean' must be a number, not nothing"},
      {"FractionInMilestones", After("schedule: {milestones: [1, 2.5]}\n"),
       "2:28: 'schedule.milestones' must be an integer"},
      {"ListForString", After("run: {name: [a]}\n"),
       "2:13: 'run.name' must be a string, not a list"},
      {"NullForString", After("data: {path: ~}\n"), "2:14: 'data.path' has no value"},
      {"LineBreakInString", After("data:\n  path: |\n    a\n    b\n"),
       "3:9: 'data.path' holds a line break"},
  };
}

std::vector<BadConfig> RangeCases() {
  return {
      {"NameWithSlash", After("run: {name: a/b}\n"), "2:13: 'run.name' is 'a/b'; it must be"},
      {"NameWithDots", After("run: {name: ..}\n"), "2:13: 'run.name' is '..'; it must be"},
      {"EmptyName", After("run: {name: ''}\n"), "2:13: 'run.name' is ''; it must be"},
      {"ZeroEpochs", After("run: {epochs: 0}\n"), "2:15: 'run.epochs' is 0; it must be [1, 1e+06]"},
      {"ZeroBatch", After("data: {batch_size: 0}\n"),
       "2:20: 'data.batch_size' is 0; it must be [1, "},
      {"NegativeThreads", After("run: {threads: -1}\n"),
       "2:16: 'run.threads' is -1; it must be [0, 1024]"},
      {"ZeroLearningRate", After("optimizer: {learning_rate: 0}\n"),
       "2:28: 'optimizer.learning_rate' is 0; it must be > 0"},
      {"MomentumOne", After("optimizer: {momentum: 1}\n"),
       "2:23: 'optimizer.momentum' is 1; it must be [0, 1)"},
      {"NegativeDecay", After("optimizer: {weight_decay: -1e-4}\n"),
       "2:27: 'optimizer.weight_decay' is -1e-4; it must be >= 0"},
      {"NoAccumulation", After("optimizer: {accumulate: 0}\n"),
       "2:25: 'optimizer.accumulate' is 0"},
      {"BetaOne", After("optimizer: {beta2: 1.0}\n"),
       "2:20: 'optimizer.beta2' is 1.0; it must be [0, 1)"},
      {"FullSmoothing", After("loss: {label_smoothing: 1}\n"), "2:25: 'loss.label_smoothing' is 1"},
      {"MetricOfAnotherLoss", After("loss: {name: mse, metrics: [accuracy]}\n"),
       "2:28: 'accuracy' does not go with 'loss.name: mse'; use mae, rmse"},
      {"DropoutOne", "model: {name: lenet, dropout: 1}\n",
       "1:31: 'model.dropout' is 1; it must be [0, 1)"},
      {"BackoffGrows", After("precision: {backoff_factor: 2}\n"),
       "2:29: 'precision.backoff_factor' is 2; it must be (0, 1)"},
      {"GrowthShrinks", After("precision: {growth_factor: 1}\n"),
       "2:28: 'precision.growth_factor' is 1; it must be > 1"},
      {"ZeroTimeout", After("comm: {timeout_s: 0}\n"),
       "2:19: 'comm.timeout_s' is 0; it must be > 0"},
      {"KeepNone", After("checkpoint: {keep: 0}\n"), "2:20: 'checkpoint.keep' is 0"},
      {"StartFractionOne", After("schedule: {start_fraction: 1}\n"),
       "2:28: 'schedule.start_fraction' is 1; it must be (0, 1)"},
      {"DivisorBelowOne", After("schedule: {initial_divisor: 0.5}\n"),
       "2:29: 'schedule.initial_divisor' is 0.5; it must be >= 1"},
      {"ZeroStddev", After("data: {mean: [0], stddev: [0]}\n"),
       "2:28: 'data.stddev' is 0; it must be > 0"},
      {"UnknownPrecision", After("precision: {mode: fp31}\n"),
       "2:19: 'precision.mode' is 'fp31'; it must be fp32 | bf16 | fp16 | auto; did you mean "
       "'fp32'?"},
      {"UnknownData", After("data: {type: imagenet}\n"),
       "2:14: 'data.type' is 'imagenet'; it must be idx |"},
      {"UnknownOptimizer", After("optimizer: {name: sdg}\n"),
       "2:19: 'optimizer.name' is 'sdg'; it must be sgd | adamw | lamb; did you mean 'sgd'?"},
      {"UnknownSchedule", After("schedule: {name: onecycle}\n"),
       "2:18: 'schedule.name' is 'onecycle'; it must be constant | cosine | step | one_cycle | "
       "plateau; did you mean 'one_cycle'?"},
      {"UnknownCompression", After("compression: {method: uniforn}\n"),
       "2:23: 'compression.method' is 'uniforn'"},
      {"UnknownCompressionInShort", After("compression: 4bit\n"),
       "2:14: 'compression.method' is '4bit'"},
      {"NineBits", After("compression: {bits: 9}\n"),
       "2:21: 'compression.bits' is '9'; it must be 1 | 2"},
      {"BucketIsNoPowerOfTwo", After("compression: {bucket: 500}\n"),
       "2:23: 'compression.bucket' is 500; it must be a power of two"},
      {"RotationOfManyBits", After("compression: {method: uniform, bits: 4, rotate: true}\n"),
       "2:49: 'compression.rotate' is for 'method: uniform' with 1 to 3 bits"},
      {"DensityZero", After("compression: {density: 0}\n"),
       "2:24: 'compression.density' is 0; it must be (0, 1]"},
      {"ExcludeIsNoList", After("compression: {exclude: fc}\n"),
       "2:24: 'compression.exclude' must be a list of strings"},
      {"ExcludeHoldsAMap", After("compression: {exclude: [{a: b}]}\n"),
       "2:25: 'compression.exclude' must be a string, not a mapping"},
      {"ShorthandOnAnotherSection", After("comm: mpi\n"),
       "2:7: 'comm' is a section and needs keys below it"},
      {"NoLocalSteps", After("sync: {every: 0}\n"),
       "2:15: 'sync.every' is 0; it must be [1, 1e+06]"},
      {"HalfALocalStep", After("sync: {every: 2.5}\n"), "2:15: 'sync.every' must be an integer"},
      {"OuterRateZero", After("sync: {outer_learning_rate: 0}\n"),
       "2:29: 'sync.outer_learning_rate' is 0; it must be > 0"},
      {"OuterMomentumOne", After("sync: {outer_momentum: 1}\n"),
       "2:24: 'sync.outer_momentum' is 1; it must be [0, 1)"},
      {"LocalStepsOfHosts", After("compression: {hierarchical: true}\nsync: {every: 8}\n"),
       "3:15: local steps exchange whole changes"},
      {"UnknownBackend", After("comm: {backend: MPI}\n"), "2:17: 'comm.backend' is 'MPI'"},
  };
}

std::vector<BadConfig> ContradictionCases() {
  return {
      {"NoModel", "run: {epochs: 2}\n", "1:1: no model: set 'model.name'"},
      {"ModelWithoutName", "run: {epochs: 2}\nmodel: {classes: 3}\n",
       "2:1: no model: set 'model.name'"},
      {"TwoModels", "model:\n  name: lenet\n  onnx: a.onnx\n",
       "3:9: 'model.name' and 'model.onnx' exclude"},
      {"PluginWithoutName", "model:\n  onnx: a.onnx\n  plugin: p.so\n",
       "3:11: 'model.plugin' is set, but no"},
      {"MeanWithoutStddev", After("data: {mean: [0.5]}\n"),
       "2:14: 'data.mean' has 1 values and 'data.stddev' 0"},
      {"StddevWithoutMean", After("data: {stddev: [0.5]}\n"),
       "2:16: 'data.mean' has 0 values and 'data.stddev' 1"},
      {"ThreeMeansForGrey", After("data: {type: idx, mean: [0, 0, 0], stddev: [1, 1, 1]}\n"),
       "2:25: 'data.mean' has 3 values, but idx data has 1 channel"},
      {"OneMeanForCifar", After("data: {type: cifar10, mean: [0], stddev: [1]}\n"),
       "2:29: 'data.mean' has 1 values, but cifar10 data has 3 channels"},
      {"CroppedText", After("data:\n  type: text\n  augment: {crop: 2}\n"),
       "4:3: 'data.augment' is for images"},
      {"NesterovWithoutMomentum", After("optimizer: {momentum: 0}\n"),
       "2:23: 'optimizer.nesterov' needs a momentum"},
      {"FallingMilestones", After("schedule: {name: step, milestones: [5, 5]}\n"),
       "2:36: 'schedule.milestones' must rise, but 5 follows 5"},
      {"StepWithoutMilestones", After("schedule: {name: step}\n"), "2:18: the step schedule needs"},
      {"WarmOneCycle", After("schedule: {name: one_cycle, warmup_epochs: 1}\n"),
       "2:44: one_cycle warms up by itself"},
      {"WarmupTooLong", After("run: {epochs: 2}\nschedule:\n  warmup_epochs: 3\n"),
       "4:18: 'schedule.warmup_epochs' (3) is longer than 'run.epochs' (2)"},
      {"AllGatesShut", After("gating: {mode: channels, share: 1}\n"),
       "2:33: 'gating.share' is 1; it must be (0, 1)"},
      {"NoGateShut", After("gating: {share: 0}\n"), "2:17: 'gating.share' is 0; it must be (0, 1)"},
      {"GatesShutAtFirst", After("gating: {bias: 0}\n"),
       "2:16: 'gating.bias' is 0; it must be > 0"},
      {"GatesWithoutPenalty", After("gating: {penalty: 0}\n"),
       "2:19: 'gating.penalty' is 0; it must be > 0"},
      {"UnknownGating", After("gating: filters\n"),
       "2:9: 'gating.mode' is 'filters'; it must be none | channels"},
      {"KeptWithoutGates", After("gating: {keep: [conv1]}\n"),
       "2:16: 'gating.keep' is for a 'gating.mode' of channels"},
      {"RampTooLong", After("run: {epochs: 2}\ngating: {mode: channels, ramp_epochs: 2}\n"),
       "3:39: 'gating.ramp_epochs' (2) leaves no epoch of 'run.epochs' (2)"},
      {"GatedAndPruned", After("run: {epochs: 3}\npruning: channels\ngating: channels\n"),
       "4:9: gating and pruning are not built for one run"},
      {"GatedWithTheRounding", After("run: {epochs: 3}\nquantization: qat\ngating: channels\n"),
       "4:9: gating is not built for 'quantization.mode: qat'"},
      {"GatedLocalSteps", After("run: {epochs: 3}\nsync: {every: 4}\ngating: channels\n"),
       "4:9: gating is not built for local steps"},
  };
}

class BadConfigTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, HasOneErrorAtItsPlace) {
  const auto config = ParseTrainConfig(GetParam().yaml, "bad.yaml", {});
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(config.status().message());
  EXPECT_THAT(message, ::testing::StartsWith("bad.yaml:" + GetParam().message));
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0) << "one error is one line";
}

std::string CaseName(const ::testing::TestParamInfo<BadConfig>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Syntax, BadConfigTest, ::testing::ValuesIn(SyntaxCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Keys, BadConfigTest, ::testing::ValuesIn(KeyCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Types, BadConfigTest, ::testing::ValuesIn(TypeCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Ranges, BadConfigTest, ::testing::ValuesIn(RangeCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Contradictions, BadConfigTest, ::testing::ValuesIn(ContradictionCases()),
                         CaseName);

}  // namespace
}  // namespace ds
