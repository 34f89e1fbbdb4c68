#include "trainer/checkpoint/checkpoint.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"
#include "trainer/checkpoint/checkpoint_names.h"
#include "trainer/checkpoint/manifest.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  // Everything in it depends on `step`, so that a mixture of two would be noticed.
  static Checkpoint Make(int64_t step, int64_t elements = 1009) {
    std::vector<float> values(static_cast<size_t>(elements));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(step) + 0.5f * static_cast<float>(i % 7);
    Checkpoint checkpoint;
    checkpoint.tensors["model"]["w"] = Tensor::From<float>({elements}, values);
    checkpoint.tensors["model"]["empty"] = Tensor(DType::kFloat32, {0, 3});
    checkpoint.tensors["optimizer"]["step"] = Tensor::Scalar<int64_t>(step);
    checkpoint.state_json = absl::StrCat("{\"step\": ", step, "}");
    return checkpoint;
  }

  static void ExpectIs(const Checkpoint& checkpoint, int64_t step, int64_t elements = 1009) {
    const Checkpoint wanted = Make(step, elements);
    EXPECT_EQ(checkpoint.state_json, wanted.state_json);
    ASSERT_EQ(checkpoint.tensors.size(), wanted.tensors.size());
    for (const auto& [stem, tensors] : wanted.tensors) {
      ASSERT_EQ(checkpoint.tensors.at(stem).size(), tensors.size());
      for (const auto& [name, tensor] : tensors) {
        const Tensor& read = checkpoint.tensors.at(stem).at(name);
        EXPECT_EQ(read.dtype(), tensor.dtype());
        EXPECT_EQ(read.shape(), tensor.shape());
        EXPECT_TRUE(std::equal(read.bytes().begin(), read.bytes().end(), tensor.bytes().begin(),
                               tensor.bytes().end()));
      }
    }
  }

  std::string Folder(int64_t step) const { return absl::StrCat(root_, "/", Name(step)); }
  static std::string Name(int64_t step) {
    const std::string digits = std::to_string(step);
    return "step-" + std::string(12 - digits.size(), '0') + digits;
  }

  // The newest that is complete.
  static absl::StatusOr<std::string> Latest(const std::string& root) {
    for (const std::string& folder : CheckpointFolders(root)) {
      if (ReadCheckpoint(folder).ok()) return folder;
    }
    return absl::NotFoundError(root);
  }

  std::vector<std::string> Entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  const TempFolder temp_;
  const std::string root_ = temp_.path();
};

TEST_F(CheckpointTest, ComesBackAsItWasWritten) {
  ASSERT_TRUE(WriteCheckpoint(root_ + "/new/folder", 1234, Make(1234), 2).ok());
  absl::StatusOr<std::string> latest = Latest(root_ + "/new/folder");
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_EQ(*latest, root_ + "/new/folder/step-000000001234");
  absl::StatusOr<Checkpoint> read = ReadCheckpoint(*latest);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectIs(*read, 1234);
}

TEST_F(CheckpointTest, KeepsTheNewestAndNeverDropsTheOneJustWritten) {
  for (int64_t step : {1, 2, 3, 4}) ASSERT_TRUE(WriteCheckpoint(root_, step, Make(step), 2).ok());
  EXPECT_THAT(Entries(), ElementsAre(Name(3), Name(4)));
  // A run that went back: step 1 is older than those there.
  ASSERT_TRUE(WriteCheckpoint(root_, 1, Make(1), 1).ok());
  EXPECT_THAT(Entries(), ElementsAre(Name(1)));
}

TEST_F(CheckpointTest, ReplacesACheckpointOfTheSameStep) {
  ASSERT_TRUE(WriteCheckpoint(root_, 5, Make(4), 3).ok());
  ASSERT_TRUE(WriteCheckpoint(root_, 5, Make(5), 3).ok());
  EXPECT_THAT(Entries(), ElementsAre(Name(5)));
  absl::StatusOr<Checkpoint> read = ReadCheckpoint(Folder(5));
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectIs(*read, 5);
}

TEST_F(CheckpointTest, LeavesForeignFilesAndFoldersAlone) {
  fs::create_directories(root_ + "/step-notes");
  std::ofstream(root_ + "/step-000000000001") << "a file";
  for (int64_t step : {7, 8}) ASSERT_TRUE(WriteCheckpoint(root_, step, Make(step), 1).ok());
  EXPECT_THAT(Entries(), ElementsAre("step-000000000001", Name(8), "step-notes"));
}

TEST_F(CheckpointTest, RemovesWhatAKilledWriterLeft) {
  fs::create_directories(root_ + "/.writing-step-000000000001");
  fs::create_directories(root_ + "/.removing-step-000000000002");
  std::ofstream(root_ + "/.writing-step-000000000001/model.safetensors") << "half";
  EXPECT_EQ(Latest(root_).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteCheckpoint(root_, 3, Make(3), 2).ok());
  EXPECT_THAT(Entries(), ElementsAre(Name(3)));
}

TEST_F(CheckpointTest, NotFoundWhereThereIsNone) {
  EXPECT_EQ(Latest(root_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Latest(root_ + "/absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadCheckpoint(root_ + "/absent").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CheckpointTest, RefusesInputThatHasNoPlaceInTheFormat) {
  EXPECT_EQ(WriteCheckpoint(root_, -1, Make(1), 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WriteCheckpoint(root_, 1000000000000, Make(1), 1).code(),
            absl::StatusCode::kInvalidArgument);
  Checkpoint bad_stem = Make(1);
  bad_stem.tensors["../model"];
  EXPECT_EQ(WriteCheckpoint(root_, 1, bad_stem, 1).code(), absl::StatusCode::kInvalidArgument);
  Checkpoint bad_state = Make(1);
  bad_state.state_json = "[1]";
  EXPECT_EQ(WriteCheckpoint(root_, 1, bad_state, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Entries().empty());
}

TEST_F(CheckpointTest, AFlippedBitInAnyByteIsDataLossNamingTheFile) {
  ASSERT_TRUE(WriteCheckpoint(root_, 1, Make(1, 13), 2).ok());
  for (const char* name :
       {"manifest.json", "state.json", "model.safetensors", "optimizer.safetensors"}) {
    const std::string path = absl::StrCat(Folder(1), "/", name);
    const std::string good = *ReadFile(path);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto put = [&](size_t at, char byte) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(byte).flush();
    };
    for (size_t i = 0; i < good.size(); ++i) {
      put(i, static_cast<char>(good[i] ^ (1 << (i % 8))));
      const absl::Status status = ReadCheckpoint(Folder(1)).status();
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " byte " << i;
      ASSERT_THAT(std::string(status.message()), HasSubstr(path)) << "byte " << i;
      put(i, good[i]);
    }
  }
  EXPECT_TRUE(ReadCheckpoint(Folder(1)).ok());
}

TEST_F(CheckpointTest, ATruncatedGrownOrMissingFileIsDataLossNamingTheFile) {
  ASSERT_TRUE(WriteCheckpoint(root_, 1, Make(1, 13), 2).ok());
  for (const char* name :
       {"manifest.json", "state.json", "model.safetensors", "optimizer.safetensors"}) {
    const std::string path = absl::StrCat(Folder(1), "/", name);
    const std::string good = *ReadFile(path);
    const auto expect_data_loss = [&] {
      const absl::Status status = ReadCheckpoint(Folder(1)).status();
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << name;
      ASSERT_THAT(std::string(status.message()), HasSubstr(path));
    };
    for (size_t size = 0; size < good.size(); size += 7) {
      std::ofstream(path, std::ios::binary) << good.substr(0, size);
      expect_data_loss();
    }
    std::ofstream(path, std::ios::binary) << good << '\n';
    expect_data_loss();
    fs::remove(path);
    expect_data_loss();
    std::ofstream(path, std::ios::binary) << good;
  }
  EXPECT_TRUE(ReadCheckpoint(Folder(1)).ok());
}

// The child writes each step twice, the second time over the first, until it is killed.
TEST_F(CheckpointTest, AKillAtAnyMomentLeavesACompleteNewest) {
  constexpr int64_t kElements = 50'021;
  std::mt19937 random(20241);
  std::cout << "seed 20241\n";
  int64_t newest = 0;
  ASSERT_TRUE(WriteCheckpoint(root_, 0, Make(0, kElements), 2).ok());
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int64_t step = newest;; ++step) {
        for (const int64_t keep : {2, 1}) {
          if (!WriteCheckpoint(root_, step, Make(step, kElements), keep).ok()) ::_exit(1);
        }
      }
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<int>(0, 300'000)(random)));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed on its own";
    absl::StatusOr<std::string> latest = Latest(root_);
    ASSERT_TRUE(latest.ok()) << "round " << round << ": " << latest.status();
    const std::string name = fs::path(*latest).filename().string();
    const int64_t step = std::stoll(name.substr(name.rfind('-') + 1));
    ASSERT_GE(step, newest);
    newest = step;
    absl::StatusOr<Checkpoint> read = ReadCheckpoint(*latest);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectIs(*read, step, kElements);
    // Whatever bears a checkpoint's name is complete.
    for (const std::string& name : Entries()) {
      if (name[0] == '.') continue;
      EXPECT_TRUE(ReadCheckpoint(absl::StrCat(root_, "/", name)).ok()) << name;
    }
  }
  EXPECT_GT(newest, 0) << "the writers were too slow for this test to say anything";
  ASSERT_TRUE(WriteCheckpoint(root_, newest + 1, Make(newest + 1), 1).ok());
  EXPECT_THAT(Entries(), ElementsAre(Name(newest + 1)));
}

// RLIMIT_FSIZE stands for a full disk: a write stops in the middle of a file.
TEST_F(CheckpointTest, AFullDiskLeavesTheEarlierOnesIntact) {
  ASSERT_TRUE(WriteCheckpoint(root_, 1, Make(1), 1).ok());
  for (const rlim_t limit : {0, 10, 300, 4000}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit size = {limit, limit};
      if (::setrlimit(RLIMIT_FSIZE, &size) != 0) ::_exit(2);
      const absl::Status next = WriteCheckpoint(root_, 2, Make(2), 1),
                         again = WriteCheckpoint(root_, 1, Make(7), 1);
      const bool named = absl::StrContains(next.message(), "step-000000000002");
      ::_exit(!next.ok() && !again.ok() && named ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << limit;
    EXPECT_THAT(Entries(), ElementsAre(Name(1)));
    absl::StatusOr<Checkpoint> read = ReadCheckpoint(Folder(1));
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectIs(*read, 1);
  }
}

TEST(ManifestTest, TellsALaterVersionFromDamage) {
  const std::string body = "{\n  \"files\": {},\n  \"format_version\": 2";
  const std::string text =
      absl::StrCat(body, ",\n  \"manifest_sha256\": \"", Sha256Hex(body), "\"\n}\n");
  const absl::Status status = ParseManifest(text, "m").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2"));
}

TEST(ManifestTest, RefusesPathsOutOfTheFolderAndBadHashes) {
  const Manifest manifest = {{"state.json", {.bytes = 2, .sha256 = std::string(64, 'a')}}};
  ASSERT_TRUE(ParseManifest(RenderManifest(manifest), "m").ok());
  const Manifest outside = {{"../state.json", {.bytes = 2, .sha256 = std::string(64, 'a')}}};
  EXPECT_EQ(ParseManifest(RenderManifest(outside), "m").status().code(),
            absl::StatusCode::kDataLoss);
  const Manifest no_hash = {{"state.json", {.bytes = 2, .sha256 = "ABC"}}};
  EXPECT_EQ(ParseManifest(RenderManifest(no_hash), "m").status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace ds
