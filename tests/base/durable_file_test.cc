// What is saved lasts: for every call that can fail, and for a power cut after every call.
#include <cerrno>
#include <filesystem>
#include <string>

#include "base/file/file.h"
#include "base/tensor/safetensors.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/save_under_faults.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using Survives = FaultyFileSystem::Survives;

TEST(DurableFile, TheOldOneOrTheNewOneIsThereWhateverFails) {
  const std::string old(3000, 'o'), wanted(5000, 'n');
  SaveUnderFaults(old, wanted,
                  [&](const std::string& path) { return WriteFileAtomically(path, wanted); });
}

TEST(DurableFile, SafetensorsToo) {
  const TensorMap tensors = {{"a", Tensor::From<float>({3}, {1, 2, 3})},
                             {"b", Tensor::From<int64_t>({2}, {4, 5})}};
  const std::string wanted = *SerializeSafetensors(tensors), old(100, 'o');
  SaveUnderFaults(old, wanted,
                  [&](const std::string& path) { return WriteSafetensors(path, tensors); });
}

TEST(DurableFile, AFileInFoldersThatWereMadeForItIsThereAfterAPowerCut) {
  const TempFolder folder;
  FaultyFileSystem files(folder.path());
  const std::string deep = folder.File("a/b/c");
  ASSERT_TRUE(MakeFolders(deep).ok());
  ASSERT_TRUE(WriteFileAtomically(deep + "/file", "bytes").ok());
  files.PowerCut(Survives::kSynced);
  EXPECT_EQ(ReadText(deep + "/file"), "bytes");
}

// Else whoever tries again would find the folder, and take it for one that lasts.
TEST(DurableFile, AFolderWhoseNameDidNotReachTheDiskIsTakenAway) {
  const TempFolder folder;
  FaultyFileSystem files(folder.path());
  files.FailAt(2, EIO, /*for_good=*/false);
  EXPECT_FALSE(MakeFolders(folder.File("a")).ok());
  EXPECT_FALSE(fs::exists(folder.File("a")));
  files.FailNoMore();
  ASSERT_TRUE(MakeFolders(folder.File("a")).ok());
  files.PowerCut(Survives::kSynced);
  EXPECT_TRUE(fs::exists(folder.File("a")));
}

// The double itself: it forgets what was not synced.
TEST(FaultyFileSystem, KeepsWhatWasSyncedAndNothingElse) {
  const TempFolder folder;
  folder.Write("there", "1");
  FaultyFileSystem files(folder.path());
  {
    auto synced = *files.Open(folder.File("synced"), FileSystem::OpenMode::kReplace);
    ASSERT_TRUE(synced->Append("kept").ok() && synced->Sync().ok());
    ASSERT_TRUE(files.SyncFolder(folder.path()).ok());
    ASSERT_TRUE(synced->Append(", lost").ok());
    auto named = *files.Open(folder.File("named"), FileSystem::OpenMode::kReplace);
    ASSERT_TRUE(named->Append("x").ok() && named->Sync().ok());
    ASSERT_TRUE(files.RemoveFile(folder.File("there")).ok());
  }
  EXPECT_EQ(ReadText(folder.File("synced")), "kept, lost");
  files.PowerCut(Survives::kSynced);
  EXPECT_EQ(ReadText(folder.File("synced")), "kept");
  EXPECT_EQ(ReadText(folder.File("there")), "1");
  EXPECT_FALSE(fs::exists(folder.File("named")));
}

}  // namespace
}  // namespace ds
