// The evaluator's process, played by a shell script: versions tested in order, the newest at the
// end, an evaluator that dies and comes back.
#include "federated/jobs/evaluation.h"

#include <sys/stat.h>

#include <cmath>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Answers as ds_evaluator does: the share of correct samples is 0.25 times the round; "sleep" and
// "die" files in the folder make an evaluation slow, or end the process once.
constexpr char kScript[] = R"sh(#!/bin/sh
cd "$(dirname "$0")"
while read -r line; do
  case $line in
    *'"do":"open"'*) cp version0 evaluator-weights.safetensors; echo '{"has_data": true}' ;;
    *'"do":"write"'*)
      echo '{"exports": [{"file": "m.onnx", "bits": 8, "activation_bits": 8, "accuracy": 0.5,' \
           '"bytes": 10}]}' ;;
    *'"do":"evaluate"'*)
      if [ -e die ]; then rm die; exit 3; fi
      if [ -e bad ]; then echo '{"error": "no such version", "code": 3}'; continue; fi
      [ -e slow ] && sleep 0.5
      round=$(echo "$line" | sed 's/.*"round":\([0-9]*\).*/\1/')
      echo "{\"evaluated\": 4, \"correct\": $round, \"loss\": 0.5}" ;;
  esac
done
)sh";

struct Fixture {
  TempFolder folder;
  std::vector<std::string> heard;  // from the worker's thread; read after Finish
  std::unique_ptr<GlobalModel> model;
  std::unique_ptr<Evaluation> evaluation;

  Fixture() {
    const ModelLayout layout = {.slots = {{"w", 2, SlotKind::kParameter}}};
    auto made = GlobalModel::Create(layout, {1, 2}, {}, 4, 100);
    EXPECT_TRUE(made.ok()) << made.status();
    model = *std::move(made);
    const std::string script = folder.path() + "/evaluator";
    std::ofstream(script) << kScript;
    EXPECT_EQ(chmod(script.c_str(), 0700), 0);
    EXPECT_TRUE(WriteFlatModel(folder.path() + "/version0", layout, std::vector<float>{1, 2}).ok());
    evaluation = std::make_unique<Evaluation>(
        EvaluationOptions{
            .folder = folder.path(),
            .evaluated = [this](int64_t version, double accuracy,
                                double) { heard.push_back(absl::StrCat(version, ":", accuracy)); },
            .failed = [this](const absl::Status& s) { heard.push_back(std::string(s.message())); }},
        EvaluatorOptions{.program = script, .task = "t.yaml", .folder = folder.path()});
  }
  void Touch(const char* name) { std::ofstream(folder.path() + "/" + name) << "x"; }
  void Open() {
    const auto opened = evaluation->Open("offer.bin", "model.onnx");
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->weights, (std::vector<float>{1, 2}));
  }
  void Publish(int64_t version) {
    RoundReport report;
    report.version = version;
    evaluation->Published(report, *model);
  }
  absl::StatusOr<std::optional<Evaluation::Last>> End(int64_t version) {
    RunReport report;
    report.version = version;
    evaluation->Ended(report, model.get());
    return evaluation->Finish(folder.path());
  }
};

TEST(Evaluation, TestsVersionsAndWritesTheLast) {
  Fixture fixture;
  fixture.Open();
  fixture.Publish(1);
  const auto last = fixture.End(1);
  ASSERT_TRUE(last.ok()) << last.status();
  ASSERT_TRUE(last->has_value());
  EXPECT_EQ((*last)->version, 1);
  EXPECT_EQ((*last)->accuracy, 0.25);
  ASSERT_EQ((*last)->exports.size(), 1u);
  EXPECT_EQ((*last)->exports[0].file, "m.onnx");
  EXPECT_THAT(fixture.heard, Contains("1:0.25"));
}

TEST(Evaluation, PassesOverVersionsThatCameMeanwhile) {
  Fixture fixture;
  fixture.Open();
  fixture.Touch("slow");
  for (int64_t version = 1; version <= 4; ++version) fixture.Publish(version);
  const auto last = fixture.End(4);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ((*last)->accuracy, 1.0);
  // The first may have been under way; those between were not tested.
  EXPECT_LE(fixture.heard.size(), 2u) << absl::StrJoin(fixture.heard, " ");
  EXPECT_EQ(fixture.heard.back(), "4:1");
}

TEST(Evaluation, AnEvaluatorThatDiesIsStartedAgain) {
  Fixture fixture;
  fixture.Open();
  fixture.Touch("die");
  fixture.Publish(1);
  const auto last = fixture.End(2);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ((*last)->version, 2);
}

TEST(Evaluation, AnErrorIsSaidAndTheRunGoesOn) {
  Fixture fixture;
  fixture.Open();
  fixture.Touch("bad");
  fixture.Publish(1);
  const auto last = fixture.End(1);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE(std::isnan((*last)->accuracy));
  EXPECT_THAT(fixture.heard, Contains("no such version"));
}

TEST(Evaluation, WithoutAModelThereIsNothingToFinish) {
  Fixture fixture;
  fixture.evaluation->Ended({}, nullptr);
  const auto last = fixture.evaluation->Finish(fixture.folder.path());
  ASSERT_TRUE(last.ok());
  EXPECT_FALSE(last->has_value());
}

}  // namespace
}  // namespace ds::federated
