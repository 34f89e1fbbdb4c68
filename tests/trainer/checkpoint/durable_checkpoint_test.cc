// A checkpoint lasts: whatever call fails, and whenever the power is cut, the old one or the new
// one is there, whole.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_names.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using Survives = FaultyFileSystem::Survives;

constexpr int kSeeds = 12;

// All that it holds depends on `mark`.
Checkpoint Make(int64_t mark) {
  Checkpoint checkpoint;
  const std::vector<float> values(1009, static_cast<float>(mark));
  checkpoint.tensors["model"]["w"] = Tensor::From<float>({1009}, values);
  checkpoint.tensors["optimizer"]["step"] = Tensor::Scalar<int64_t>(mark);
  checkpoint.state_json = absl::StrCat("{\"mark\": ", mark, "}");
  return checkpoint;
}

// The mark of a checkpoint that is all of one; -1: it is not complete.
int64_t MarkOf(const std::string& folder) {
  const absl::StatusOr<Checkpoint> read = ReadCheckpoint(folder);
  if (!read.ok()) return -1;
  const int64_t mark = read->tensors.at("optimizer").at("step").span<int64_t>()[0];
  EXPECT_EQ(read->state_json, Make(mark).state_json);
  for (const float value : read->tensors.at("model").at("w").span<float>())
    EXPECT_EQ(value, static_cast<float>(mark));
  return mark;
}

// The mark of the newest, among checkpoints of which every one that bears a name is complete.
int64_t Newest(const std::string& root) {
  int64_t newest = -1;
  for (const std::string& folder : CheckpointFolders(root)) {
    const int64_t mark = MarkOf(folder);
    EXPECT_GE(mark, 0) << folder << " bears a checkpoint's name and is none";
    if (newest < 0) newest = mark;
  }
  return newest;
}

std::vector<std::string> Entries(const std::string& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

constexpr int64_t kOld = 1, kNew = 2;
// What is written over the checkpoint of step 5: the next step's, one that replaces it (a run that
// went back), and one of an earlier step.
class DurableCheckpoint : public ::testing::TestWithParam<int64_t> {
 protected:
  // What cannot be removed is warned about, a hundred times here.
  void SetUp() override { SetUpLog(LogLevel::kError, -1); }
  void TearDown() override { SetUpLog(LogLevel::kInfo, -1); }
};
INSTANTIATE_TEST_SUITE_P(Steps, DurableCheckpoint, ::testing::Values(6, 5, 4));

TEST_P(DurableCheckpoint, TheOldOneOrTheNewOneIsThereAfterAPowerCutAtAnyCall) {
  const int64_t step = GetParam();
  int64_t calls = 0;
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (int seed = -2; seed < kSeeds; ++seed) {
      const TempFolder folder;
      const std::string root = folder.File("checkpoints");
      FaultyFileSystem files(folder.path());
      ASSERT_TRUE(WriteCheckpoint(root, 5, Make(kOld), 1).ok());
      files.FailAt(call, EIO, /*for_good=*/true);
      const absl::Status status = WriteCheckpoint(root, step, Make(kNew), 1);
      calls = files.calls();
      through = calls < call;
      files.PowerCut(seed == -2   ? Survives::kSynced
                     : seed == -1 ? Survives::kNames
                                  : Survives::kAnything,
                     static_cast<uint64_t>(seed));
      files.FailNoMore();
      const int64_t newest = Newest(root);
      if (status.ok() && step >= 5) {
        EXPECT_EQ(newest, kNew) << "it said that it was saved";
      } else {
        EXPECT_TRUE(newest == kOld || newest == kNew) << "call " << call << ", seed " << seed;
      }
      // The next writer puts in order what was left, with the power going again.
      files.FailAt(1 + (seed + 2) % 7, EIO, /*for_good=*/true);
      WriteCheckpoint(root, 7, Make(3), 1).IgnoreError();
      files.PowerCut(Survives::kAnything, static_cast<uint64_t>(seed + call));
      files.FailNoMore();
      EXPECT_GE(Newest(root), kOld) << "call " << call << ", seed " << seed;
      ASSERT_TRUE(WriteCheckpoint(root, 8, Make(4), 1).ok());
      EXPECT_EQ(Newest(root), 4);
      EXPECT_EQ(Entries(root), std::vector<std::string>{CheckpointName(8)});
    }
  }
  EXPECT_GT(calls, 10);
}

TEST_P(DurableCheckpoint, AFailedCallLeavesTheOldOneOrTheNewOneAndNothingElse) {
  const int64_t step = GetParam();
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const int error : {EIO, ENOSPC}) {
      const TempFolder folder;
      const std::string root = folder.File("checkpoints");
      FaultyFileSystem files(folder.path());
      ASSERT_TRUE(WriteCheckpoint(root, 5, Make(kOld), 1).ok());
      files.FailAt(call, error, /*for_good=*/false);
      const absl::Status status = WriteCheckpoint(root, step, Make(kNew), 1);
      through = files.calls() < call;
      files.FailNoMore();
      const int64_t newest = Newest(root);
      EXPECT_TRUE(newest == kOld || newest == kNew) << "call " << call;
      EXPECT_TRUE(status.ok() || absl::StrContains(status.message(), CheckpointName(step)))
          << status;
      ASSERT_TRUE(WriteCheckpoint(root, 8, Make(3), 1).ok()) << "call " << call;
      EXPECT_EQ(Newest(root), 3);
      EXPECT_EQ(Entries(root), std::vector<std::string>{CheckpointName(8)}) << "call " << call;
    }
  }
}

TEST(ReplacedCheckpoint, WhatMadeWayForOneThatNeverCameIsFoundAndGetsItsNameBack) {
  const TempFolder folder;
  const std::string root = folder.path();
  ASSERT_TRUE(WriteCheckpoint(root, 5, Make(kOld), 1).ok());
  const std::string hidden = Inside(root, kReplacedPrefix + CheckpointName(5));
  fs::rename(Inside(root, CheckpointName(5)), hidden);
  EXPECT_EQ(CheckpointFolders(root), std::vector<std::string>{hidden});
  EXPECT_EQ(MarkOf(hidden), kOld);
  ASSERT_TRUE(WriteCheckpoint(root, 6, Make(kNew), 2).ok());
  EXPECT_EQ(Entries(root), (std::vector<std::string>{CheckpointName(5), CheckpointName(6)}));
}

}  // namespace
}  // namespace ds
