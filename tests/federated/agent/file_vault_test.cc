#include "federated/agent/file_vault.h"

#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::unique_ptr<Vault> Opened(const std::string& folder) {
  absl::StatusOr<std::unique_ptr<Vault>> vault = OpenFileVault(folder);
  EXPECT_TRUE(vault.ok()) << vault.status();
  return *std::move(vault);
}

int ModeOf(const std::filesystem::path& path) {
  struct stat info;
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return static_cast<int>(info.st_mode & 0777);
}

TEST(FileVaultTest, KeepsValuesByAnyName) {
  const TempFolder folder;
  const std::string binary("a\0/..\xff", 6), path = folder.File("deep/vault");
  {
    const auto vault = Opened(path);
    EXPECT_TRUE(absl::IsNotFound(vault->Get("x").status()));
    ASSERT_TRUE(vault->Put(binary, binary).ok());
    ASSERT_TRUE(vault->Put("x", "1").ok());
    ASSERT_TRUE(vault->Put("x", "").ok());
  }
  const auto vault = Opened(path);
  EXPECT_EQ(*vault->Get(binary), binary);
  EXPECT_EQ(*vault->Get("x"), "");
  EXPECT_THAT(*vault->Names(), UnorderedElementsAre(binary, "x"));
  ASSERT_TRUE(vault->Remove("x").ok());
  ASSERT_TRUE(vault->Remove("x").ok());
  EXPECT_THAT(*vault->Names(), UnorderedElementsAre(binary));
  EXPECT_TRUE(absl::IsInvalidArgument(vault->Put("", "1")));
  EXPECT_TRUE(absl::IsInvalidArgument(vault->Put(std::string(101, 'a'), "1")));
}

TEST(FileVaultTest, NobodyElseMayReadIt) {
  const TempFolder folder;
  const std::string path = folder.File("vault");
  ASSERT_TRUE(Opened(path)->Put("x", "secret").ok());
  EXPECT_EQ(ModeOf(path), 0700);
  for (const auto& entry : std::filesystem::directory_iterator(path))
    EXPECT_EQ(ModeOf(entry.path()), 0600) << entry.path();
  ASSERT_EQ(::chmod(path.c_str(), 0750), 0);
  const absl::Status status = OpenFileVault(path).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("chmod 700"));
}

TEST(FileVaultTest, DamageIsAnErrorAndNeverAnotherValue) {
  const TempFolder folder;
  const std::string path = folder.File("vault");
  const auto vault = Opened(path);
  ASSERT_TRUE(vault->Put("x", "1").ok());
  ASSERT_TRUE(vault->Put("y", "2").ok());
  const std::string x = absl::StrCat(path, "/78.vault"), y = absl::StrCat(path, "/79.vault");
  // Another value of this vault, under the wrong name.
  std::filesystem::copy_file(y, x, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(absl::IsDataLoss(vault->Get("x").status())) << vault->Get("x").status();
  std::filesystem::resize_file(y, 10);
  EXPECT_TRUE(absl::IsDataLoss(vault->Get("y").status()));
}

TEST(FileVaultTest, APowerCutLeavesTheOldValueOrTheNew) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const auto survives :
         {FaultyFileSystem::Survives::kSynced, FaultyFileSystem::Survives::kNames}) {
      const TempFolder folder;
      FaultyFileSystem files(folder.path());
      const auto vault = Opened(folder.File("vault"));
      ASSERT_TRUE(vault->Put("x", "old").ok());
      files.FailAt(call, EIO, /*for_good=*/true);
      const absl::Status put = vault->Put("x", "new");
      files.PowerCut(survives, 1);
      const absl::StatusOr<std::string> left = vault->Get("x");
      ASSERT_TRUE(left.ok()) << "call " << call << ": " << left.status();
      EXPECT_TRUE(*left == "new" || (*left == "old" && !put.ok())) << "call " << call << *left;
      through = put.ok();
    }
    ASSERT_LT(call, 50);
  }
}

}  // namespace
}  // namespace ds::federated
