// A conversation with ds_evaluator: an offer is made, opened, tested and written.
#include "federated/training/evaluator_loop.h"

#include <filesystem>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "federated/model/weights_file.h"
#include "federated/wire/codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/federated/training/small_run.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

TEST(EvaluatorLoop, MakesOpensTestsAndWritesAModel) {
  TempFolder folder;
  const auto file = [&](const char* name) { return absl::StrCat(folder.path(), "/", name); };
  FederatedTask task = SmallTask();
  task.train.quantization.mode = "ptq";
  task.train.quantization.exports = {"w8a8"};
  task.train.quantization.quantizer.samples = 32;
  EvaluatorLoop loop(task);
  const auto ask = [&](const Json& request) { return Json::parse(loop.Answer(request.dump())); };

  EXPECT_THAT(ask({{"do", "evaluate"}, {"round", 0}, {"weights", "x"}}).at("error"),
              HasSubstr("before 'open'"));
  const Json offered = ask({{"do", "offer"}, {"model", file("offered.onnx")}});
  HelloReply said;
  said.version = kWireVersion;
  said.offer.run = "run";
  said.offer.task = offered.at("task");
  said.offer.model = std::string(64, 'a');
  ASSERT_TRUE(WriteFileAtomically(file("offer.bin"), Encode(said)).ok());
  const Json opened = ask({{"do", "open"},
                           {"offer", file("offer.bin")},
                           {"model", file("offered.onnx")},
                           {"weights", file("weights.safetensors")}});
  ASSERT_EQ(opened.dump(), R"({"has_data":true})");
  const auto first = ReadFlatModel(file("weights.safetensors"));
  ASSERT_TRUE(first.ok()) << first.status();
  const Json tested =
      ask({{"do", "evaluate"}, {"round", 0}, {"weights", file("weights.safetensors")}});
  EXPECT_EQ(tested.at("evaluated"), 64);
  EXPECT_GT(tested.at("loss"), 0.5);
  const Json written =
      ask({{"do", "write"}, {"folder", folder.path()}, {"weights", file("weights.safetensors")}});
  ASSERT_EQ(written.at("exports").size(), 1u) << written;
  EXPECT_TRUE(std::filesystem::exists(
      file(written.at("exports")[0].at("file").get<std::string>().c_str())));
  EXPECT_TRUE(std::filesystem::exists(file("model.onnx")));
}

TEST(EvaluatorLoop, AnswersEveryLineWithALineWhateverItSays) {
  EvaluatorLoop loop(SmallTask());
  std::istringstream in(
      "nonsense\n{}\n{\"do\": 3}\n{\"do\": \"dance\"}\n{\"do\": \"open\"}\n"
      "{\"do\": \"open\", \"offer\": \"/none\", \"model\": \"\", \"weights\": \"\"}\n");
  std::ostringstream out;
  loop.Run(in, out);
  std::istringstream answers(out.str());
  int lines = 0;
  for (std::string line; std::getline(answers, line); ++lines) {
    const Json answer = Json::parse(line);
    EXPECT_NE(answer.at("error"), "") << line;
    EXPECT_GT(answer.at("code"), 0) << line;
  }
  EXPECT_EQ(lines, 6);
}

}  // namespace
}  // namespace ds::federated
