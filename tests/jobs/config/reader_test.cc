#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "jobs/config/train_schema.h"

namespace ds {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace fs = std::filesystem;

// A folder of its own for each test.
class ReaderFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / absl::StrCat("ds_reader_", info->name(), getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::string Error(const std::string& path, const std::vector<std::string>& overrides = {}) {
    return std::string(ReadTrainConfig(path, overrides).status().message());
  }

  fs::path folder_;
};

TEST(Reader, WhatIsNotWrittenKeepsItsDefault) {
  const auto config = ParseTrainConfig("model: {name: resnet8}\n", "a.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  TrainConfig expected;
  expected.model.name = "resnet8";
  EXPECT_EQ(PrintTrainConfig(*config), PrintTrainConfig(expected));
}

TEST(Reader, EveryTypeIsRead) {
  const auto config = ParseTrainConfig(R"(
run: {name: a-1.b_c, seed: 18446744073709551615, epochs: +3, threads: 2, deterministic: false}
model: {name: "resnet20", dropout: .5}
data:
  mean: [0.5, 1, -2e-3]
  stddev: [1, 1., 2E-1]
  type: images
  path: 'a "b" \c: d # e'
  augment: {flip: true, crop: 4}
schedule: {name: step, milestones: [1, 2, 3]}
)",
                                       "a.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.name, "a-1.b_c");
  EXPECT_EQ(config->run.seed, 18446744073709551615u);
  EXPECT_EQ(config->run.epochs, 3);
  EXPECT_EQ(config->run.threads, 2);
  EXPECT_FALSE(config->run.deterministic);
  EXPECT_EQ(config->model.options.dropout, 0.5);
  EXPECT_EQ(config->data.loader.mean, (std::vector<double>{0.5, 1, -2e-3}));
  EXPECT_EQ(config->data.loader.stddev, (std::vector<double>{1, 1, 0.2}));
  EXPECT_EQ(config->data.set.path, "a \"b\" \\c: d # e");
  EXPECT_TRUE(config->data.loader.augment.horizontal_flip);
  EXPECT_EQ(config->data.loader.augment.crop_padding, 4);
  EXPECT_EQ(config->schedule.milestones, (std::vector<int64_t>{1, 2, 3}));
}

TEST(Reader, PrintedConfigReadsBackTheSameBits) {
  TrainConfig config;
  config.model.name = "yes";  // a bool to old readers: must be quoted
  config.model.plugin = "lib\\my \"models\".so";
  config.data.set.path = "";
  config.data.set.type = "images";
  config.data.loader.mean = {0.1, 1.0 / 3, 5e-324};
  config.data.loader.stddev = {1e308, 0.30000000000000004, 2};
  config.run.output = "\xC3\xBC: # - [x]";
  config.optimizer.learning_rate = 0.1 + 0.2;
  config.run.seed = 18446744073709551615u;
  config.schedule.milestones = {3, 5, 7};
  const std::string printed = PrintTrainConfig(config);
  const auto again = ParseTrainConfig(printed, "printed", {});
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << printed;
  EXPECT_EQ(again->model.name, config.model.name);
  EXPECT_EQ(again->model.plugin, config.model.plugin);
  EXPECT_EQ(again->data.loader.mean, config.data.loader.mean);
  EXPECT_EQ(again->data.loader.stddev, config.data.loader.stddev);
  EXPECT_EQ(again->run.output, config.run.output);
  EXPECT_EQ(again->run.seed, config.run.seed);
  EXPECT_EQ(again->optimizer.learning_rate, config.optimizer.learning_rate);
  EXPECT_EQ(again->schedule.milestones, config.schedule.milestones);
  EXPECT_EQ(PrintTrainConfig(*again), printed);
}

TEST(Reader, OverridesWinAndTheLastOfThemWins) {
  const auto config = ParseTrainConfig(
      "model: {name: lenet}\nrun: {epochs: 2}\n", "a.yaml",
      {"run.epochs=5", "run.epochs=7", "data.augment.flip=true", "data.mean=[0.5]",
       "data.stddev=[0.25]", "run.name=2024", "data.augment={crop: 3}", "data.path="});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.epochs, 7);
  EXPECT_EQ(config->run.name, "2024");
  EXPECT_TRUE(config->data.loader.augment.horizontal_flip);
  EXPECT_EQ(config->data.loader.augment.crop_padding, 3);
  EXPECT_EQ(config->data.loader.stddev, std::vector<double>{0.25});
}

TEST(Reader, AnOverrideMendsAContradiction) {
  const std::string yaml = "model: {name: lenet}\n";
  EXPECT_TRUE(ParseTrainConfig(yaml, "a", {"model.name=", "model.onnx=my.onnx"}).ok());
}

struct BadOverride {
  const char* text;
  const char* message;
};

TEST(Reader, BadOverridesNameThemselves) {
  const BadOverride cases[] = {
      {"optimizer.learning_rte=1",
       "override 'optimizer.learning_rte=1': unknown key 'learning_rte' in 'optimizer'; did you "
       "mean 'learning_rate'?"},
      {"optimzer.momentum=0",
       "override 'optimzer.momentum=0': unknown key 'optimzer'; did you mean "
       "'optimizer'?"},
      {"run.epochs=1.5", "override 'run.epochs=1.5': 'run.epochs' must be an integer"},
      {"run.epochs=0", "override 'run.epochs=0': 'run.epochs' is 0; it must be [1, 1e+06]"},
      {"run.epochs", "override 'run.epochs': an override is written key.path=value"},
      {"=3", "override '=3': an override is written key.path=value"},
      {"run.epochs=", "override 'run.epochs=': 'run.epochs' must be an integer"},
      {"run.epochs.x=1", "override 'run.epochs.x=1': 'run.epochs' is a value and has no keys"},
      {"run=3", "override 'run=3': 'run' is a section and needs keys"},
      {"include=b.yaml", "override 'include=b.yaml': 'include' cannot be overridden"},
      {"data.mean=[1", "override 'data.mean=[1': not valid YAML"},
      {"run..epochs=1", "override 'run..epochs=1': unknown key ''"},
      {"schedule.warmup_epochs=9",
       "override 'schedule.warmup_epochs=9': 'schedule.warmup_epochs' "
       "(9) is longer than 'run.epochs' (1)"},
      {"epochs=2", "override 'epochs=2': unknown key 'epochs'; did you mean 'run.epochs'?"},
  };
  for (const BadOverride& bad : cases) {
    const auto config = ParseTrainConfig("model: {name: lenet}\n", "a.yaml", {bad.text});
    ASSERT_FALSE(config.ok()) << bad.text;
    EXPECT_THAT(std::string(config.status().message()), StartsWith(bad.message)) << bad.text;
  }
}

TEST_F(ReaderFileTest, IncludingFileWinsKeyByKey) {
  Write("base/base.yaml", "run: {epochs: 4, seed: 9}\ndata: {augment: {flip: true}}\n");
  const std::string path = Write("a.yaml",
                                 "include: base/base.yaml\nrun: {epochs: 2}\nmodel: {name: lenet}\n"
                                 "data:\n  augment:\n    crop: 2\n");
  const auto config = ReadTrainConfig(path, {"run.seed=5"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run.epochs, 2);
  EXPECT_EQ(config->run.seed, 5u);
  EXPECT_TRUE(config->data.loader.augment.horizontal_flip);
  EXPECT_EQ(config->data.loader.augment.crop_padding, 2);
}

TEST_F(ReaderFileTest, AFaultInABaseNamesTheBase) {
  const std::string base = Write("base.yaml", "run:\n  epochz: 4\n");
  const std::string path = Write("a.yaml", "include: base.yaml\nmodel: {name: lenet}\n");
  EXPECT_THAT(Error(path), StartsWith(base + ":2:3: unknown key 'epochz'"));
}

TEST_F(ReaderFileTest, AFaultInABaseIsFoundEvenWhereItIsOverridden) {
  const std::string base = Write("base.yaml", "run:\n  epochs: many\n");
  const std::string path =
      Write("a.yaml", "include: base.yaml\nrun: {epochs: 2}\nmodel: {name: lenet}\n");
  EXPECT_THAT(Error(path), StartsWith(base + ":2:11: "));
}

TEST_F(ReaderFileTest, AContradictionBetweenFilesNamesTheFileToMend) {
  const std::string base = Write("base.yaml", "model:\n  onnx: x.onnx\n");
  const std::string path = Write("a.yaml", "include: base.yaml\nmodel: {name: lenet}\n");
  EXPECT_THAT(Error(path), StartsWith(base + ":2:9: 'model.name' and 'model.onnx' exclude"));
}

TEST_F(ReaderFileTest, IncludeCyclesNameTheChain) {
  const std::string a = Write("a.yaml", "include: b.yaml\n");
  const std::string b = Write("b.yaml", "include: ./sub/../a.yaml\n");
  fs::create_directories(folder_ / "sub");
  EXPECT_THAT(Error(a), AllOf(StartsWith(b + ":1:10: files include each other: "),
                              HasSubstr(absl::StrCat(a, " -> ", b, " -> ", a))));
  const std::string self = Write("self.yaml", "include: self.yaml\n");
  EXPECT_THAT(Error(self), HasSubstr("files include each other"));
}

TEST_F(ReaderFileTest, EightIncludesAreReadAndNineRefused) {
  Write("f0.yaml", "model: {name: lenet}\n");
  for (int i = 1; i <= 9; ++i) {
    Write(absl::StrCat("f", i, ".yaml"), absl::StrCat("include: f", i - 1, ".yaml\n"));
  }
  EXPECT_TRUE(ReadTrainConfig((folder_ / "f8.yaml").string(), {}).ok());
  EXPECT_THAT(Error((folder_ / "f9.yaml").string()),
              HasSubstr("f1.yaml:1:10: includes go deeper than 8"));
}

TEST_F(ReaderFileTest, AMissingIncludeNamesBothFiles) {
  const std::string path = Write("a.yaml", "model: {name: lenet}\ninclude: nowhere.yaml\n");
  EXPECT_THAT(Error(path), AllOf(StartsWith(path + ":2:10: included file '"),
                                 HasSubstr("nowhere.yaml': no such file")));
  const std::string folder = Write("b.yaml", "include: .\n");
  EXPECT_THAT(Error(folder), HasSubstr("not a file"));
}

TEST_F(ReaderFileTest, FilesThatAreNoneAreRefused) {
  EXPECT_THAT(Error((folder_ / "none.yaml").string()), HasSubstr("none.yaml: no such file"));
  EXPECT_THAT(Error(folder_.string()), HasSubstr(": not a file"));
  EXPECT_THAT(Error("/dev/zero"), StartsWith("/dev/zero: not a file"));
  EXPECT_THAT(Error(Write("empty.yaml", "")),
              HasSubstr("empty.yaml:1:1: the configuration is empty"));
  EXPECT_THAT(Error(Write("huge.yaml", std::string(3 << 20, '#'))),
              HasSubstr("longer than a configuration"));
}

TEST(Configs, EveryShippedOneIsValidAndPrintsBack) {
  int read = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(DS_SOURCE_DIR) / "configs")) {
    const std::string path = entry.path().string();
    if (entry.path().extension() != ".yaml") continue;
    // A base names no model: that is all that may be wrong with it.
    const bool is_base = path.find("_base.yaml") != std::string::npos;
    const auto config = ReadTrainConfig(
        path, is_base ? std::vector<std::string>{"model.name=lenet"} : std::vector<std::string>{});
    ASSERT_TRUE(config.ok()) << config.status();
    const std::string printed = PrintTrainConfig(*config);
    const auto again = ParseTrainConfig(printed, "printed", {});
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(PrintTrainConfig(*again), printed);
    // Two runs in one output folder are told apart by their names.
    EXPECT_NE(config->run.name, is_base ? "" : "run") << path;
    ++read;
  }
  EXPECT_GE(read, 9);
}

TEST(Configs, TheMainJobIsWhatTheBenchmarksSay) {
  const auto config =
      ReadTrainConfig(std::string(DS_SOURCE_DIR) + "/configs/fashion_mnist_resnet20.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.name, "resnet20");
  EXPECT_EQ(config->data.loader.batch_size, 64);
  EXPECT_EQ(config->schedule.name, "one_cycle");
  EXPECT_EQ(config->data.loader.augment.crop_padding, 2);
  EXPECT_EQ(config->trainer.precision, "auto");
}

TEST(Reader, AValueInASectionsPlaceSetsItsShorthandKey) {
  const auto config = ParseTrainConfig("model: {name: mlp}\ncompression: auto\n", "x.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->trainer.exchange.compression.method, "auto");
  const auto overridden = ParseTrainConfig("model: {name: mlp}\n", "x.yaml", {"compression=sign"});
  ASSERT_TRUE(overridden.ok()) << overridden.status();
  EXPECT_EQ(overridden->trainer.exchange.compression.method, "sign");
}

TEST(Reader, ListsOfStringsAreReadAndPrinted) {
  const auto config = ParseTrainConfig(
      "model: {name: mlp}\ncompression: {exclude: [\"fc.*\", conv1]}\n", "x.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->trainer.exchange.compression.exclude,
            (std::vector<std::string>{"fc.*", "conv1"}));
  const auto again = ParseTrainConfig(PrintTrainConfig(*config), "printed.yaml", {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->trainer.exchange.compression.exclude,
            config->trainer.exchange.compression.exclude);
}

}  // namespace
}  // namespace ds
