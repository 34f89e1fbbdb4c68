// Child programs that answer, end, hang and are not there.
#include "federated/jobs/child_process.h"

#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> AskShell(const std::string& script, const std::string& line) {
  auto child = ChildProcess::Start({"sh", "-c", script});
  if (!child.ok()) return child.status();
  return (*child)->Ask(line);
}

TEST(ChildProcess, AnswersLineByLine) {
  auto child = ChildProcess::Start({"cat"});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(*(*child)->Ask("one"), "one");
  EXPECT_EQ(*(*child)->Ask(""), "");
  const std::string large(1 << 18, 'x');
  EXPECT_EQ(*(*child)->Ask(large), large);
}

TEST(ChildProcess, OneThatEndsSaysHow) {
  const auto ended = AskShell("read line; exit 7", "x");
  EXPECT_EQ(ended.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(ended.status().message()), HasSubstr("ended with 7"));
  const auto killed = AskShell("read line; kill -KILL $$", "x");
  EXPECT_THAT(std::string(killed.status().message()), HasSubstr("ended by signal 9"));
}

TEST(ChildProcess, AProgramThatIsNotThereIsNotFound) {
  auto child = ChildProcess::Start({"/nowhere/ds_evaluator"});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ((*child)->Ask("x").status().code(), absl::StatusCode::kNotFound);
}

TEST(ChildProcess, OneThatDoesNotEndIsKilled) {
  auto child = ChildProcess::Start({"sh", "-c", "read line; echo there; exec sleep 100"});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(*(*child)->Ask("x"), "there");
  const double began = SteadySeconds();
  child->reset();
  EXPECT_LT(SteadySeconds() - began, 20);
}

}  // namespace
}  // namespace ds::federated
