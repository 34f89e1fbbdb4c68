// One file's save, under every fault that a disk can have.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds {

using Save = std::function<absl::Status(const std::string& path)>;

inline size_t FilesIn(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                           std::filesystem::directory_iterator()));
}

// Does `save` once with the power cut at call 1, once at call 2, ... until it is through, each for
// every way a disk may come back, with `old` under the file's name before.
inline void CutThePowerAtEveryCall(const std::string& old, const std::string& wanted,
                                   const Save& save) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (int seed = -2; seed < 5; ++seed) {
      const TempFolder folder;
      const std::string path = folder.Write("file", old);
      FaultyFileSystem files(folder.path());
      files.FailAt(call, EIO, /*for_good=*/true);
      const absl::Status status = save(path);
      through = status.ok();
      files.PowerCut(seed == -2   ? FaultyFileSystem::Survives::kSynced
                     : seed == -1 ? FaultyFileSystem::Survives::kNames
                                  : FaultyFileSystem::Survives::kAnything,
                     static_cast<uint64_t>(seed));
      const std::string left = ReadText(path);
      if (through) {
        EXPECT_TRUE(left == wanted) << "it said that it was saved";
      } else {
        EXPECT_TRUE(left == old || left == wanted) << "call " << call << ": " << left.size();
      }
    }
    ASSERT_LT(call, 100);
  }
}

// The same with one call that fails, after which the program goes on.
inline void FailAtEveryCall(const std::string& old, const std::string& wanted, const Save& save) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const int error : {EIO, ENOSPC}) {
      const TempFolder folder;
      const std::string path = folder.Write("file", old);
      FaultyFileSystem files(folder.path());
      files.FailAt(call, error, /*for_good=*/false);
      const absl::Status status = save(path);
      through = status.ok();
      const std::string left = ReadText(path);
      EXPECT_TRUE(left == wanted || (!through && left == old)) << "call " << call;
      EXPECT_EQ(FilesIn(folder.path()), 1u) << "call " << call << " left something";
      EXPECT_TRUE(through || absl::StrContains(status.message(), folder.path())) << status;
    }
    ASSERT_LT(call, 100);
  }
}

// `save` turns a file of `old` bytes into one of `wanted` bytes.
inline void SaveUnderFaults(const std::string& old, const std::string& wanted, const Save& save) {
  CutThePowerAtEveryCall(old, wanted, save);
  FailAtEveryCall(old, wanted, save);
}

}  // namespace ds
