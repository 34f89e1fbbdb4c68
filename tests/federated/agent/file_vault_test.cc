#include "federated/agent/file_vault.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/forwarding_file_system.h"
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

// Whose first sync of a file waits until another one is under way.
class MeetingFileSystem final : public ForwardingFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                     OpenMode mode) override {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, PosixFileSystem().Open(path, mode));
    return std::make_unique<File>(*this, std::move(file));
  }

 private:
  class File final : public WritableFile {
   public:
    File(MeetingFileSystem& owner, std::unique_ptr<WritableFile> file)
        : owner_(owner), file_(std::move(file)) {}
    absl::Status Append(absl::string_view bytes) override { return file_->Append(bytes); }
    absl::Status Sync() override {
      ++owner_.syncs_;
      const Deadline deadline = Deadline::In(absl::Seconds(20));
      while (owner_.syncs_ < 2 && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(1));
      if (owner_.syncs_ < 2) return absl::DeadlineExceededError("alone");
      return file_->Sync();
    }

   private:
    MeetingFileSystem& owner_;
    const std::unique_ptr<WritableFile> file_;
  };

  std::atomic<int> syncs_ = 0;
};

TEST(FileVaultTest, AValueDoesNotWaitForAnothersDisk) {
  const TempFolder folder;
  const auto vault = Opened(folder.File("vault"));
  MeetingFileSystem meeting;
  FileSystem* const before = FileSystem::ReplaceDefault(&meeting);
  absl::Status other;
  std::thread thread([&] { other = vault->Put("y", "2"); });
  const absl::Status status = vault->Put("x", "1");
  thread.join();
  FileSystem::ReplaceDefault(before);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(other.ok()) << other;
}

TEST(FileVaultTest, WritersOfOneNameTakeTurns) {
  const TempFolder folder;
  const auto vault = Opened(folder.File("vault"));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&vault, value = std::string(100000, static_cast<char>('a' + i))] {
      for (int k = 0; k < 20; ++k) {
        const absl::Status status = vault->Put("x", value);
        ASSERT_TRUE(status.ok()) << status;
        const absl::StatusOr<std::string> got = vault->Get("x");
        ASSERT_TRUE(got.ok()) << got.status();
        ASSERT_EQ(*got, std::string(100000, got->front()));
      }
    });
  for (std::thread& thread : threads) thread.join();
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

// Puts into a vault of "old" values under the names, with the power cut at each call of the disk in
// turn; `check`s what is left, until a put gets through.
void CutAtEachCall(const std::vector<std::string>& names,
                   const std::function<absl::Status(Vault& vault)>& put,
                   const std::function<void(const Vault& vault, const absl::Status& done)>& check) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const auto survives :
         {FaultyFileSystem::Survives::kSynced, FaultyFileSystem::Survives::kNames}) {
      SCOPED_TRACE(absl::StrCat("call ", call));
      const TempFolder folder;
      FaultyFileSystem files(folder.path());
      const auto vault = Opened(folder.File("vault"));
      for (const std::string& name : names) ASSERT_TRUE(vault->Put(name, "old").ok());
      files.FailAt(call, EIO, /*for_good=*/true);
      const absl::Status done = put(*vault);
      files.PowerCut(survives, 1);
      check(*vault, done);
      if (::testing::Test::HasFatalFailure()) return;
      through = done.ok();
    }
    ASSERT_LT(call, 50);
  }
}

TEST(FileVaultTest, APowerCutLeavesTheOldValueOrTheNew) {
  CutAtEachCall(
      {"x"}, [](Vault& vault) { return vault.Put("x", "new"); },
      [](const Vault& vault, const absl::Status& put) {
        const absl::StatusOr<std::string> left = vault.Get("x");
        ASSERT_TRUE(left.ok()) << left.status();
        EXPECT_TRUE(*left == "new" || (*left == "old" && !put.ok())) << *left;
      });
}

// Whatever call is the last one: who finds the second value finds the first one too, and both last
// once they are put.
TEST(FileVaultTest, APowerCutLeavesNoLaterValueWithoutTheEarlier) {
  bool one_alone = false;
  const std::vector<VaultValue> both = {{"x", "new"}, {"y", "new"}};
  CutAtEachCall(
      {"y"}, [&both](Vault& vault) { return vault.PutAll(both); },
      [&one_alone](const Vault& vault, const absl::Status& put) {
        const absl::StatusOr<std::string> x = vault.Get("x"), y = vault.Get("y");
        ASSERT_TRUE(x.ok() || absl::IsNotFound(x.status())) << x.status();
        ASSERT_TRUE(y.ok()) << y.status();
        EXPECT_TRUE(*y == "old" || (x.ok() && *x == "new"));
        EXPECT_TRUE(!put.ok() || (x.ok() && *y == "new"));
        one_alone |= x.ok() && *y == "old";
      });
  EXPECT_TRUE(one_alone) << "no cut came between the two names";
}

// A disk that syncs takes a while: one wait for the folder, and all bytes before any name.
class CountingFileSystem final : public ForwardingFileSystem {
 public:
  absl::Status Rename(const std::string& from, const std::string& to) override {
    done += "r";
    return ForwardingFileSystem::Rename(from, to);
  }
  absl::Status SyncFolder(const std::string& path) override {
    done += "f";
    return ForwardingFileSystem::SyncFolder(path);
  }
  std::string done;
};

TEST(FileVaultTest, ValuesThatArePutTogetherWaitForTheirFolderOnce) {
  const TempFolder folder;
  const auto vault = Opened(folder.File("vault"));
  CountingFileSystem counting;
  FileSystem* const before = FileSystem::ReplaceDefault(&counting);
  const std::vector<VaultValue> three = {{"x", "1"}, {"y", "2"}, {"z", "3"}};
  const absl::Status put = vault->PutAll(three), none = vault->PutAll({});
  const std::vector<VaultValue> twice = {{"x", "1"}, {"x", "2"}};
  const absl::Status refused = vault->PutAll(twice);
  FileSystem::ReplaceDefault(before);
  EXPECT_TRUE(put.ok()) << put;
  EXPECT_TRUE(none.ok()) << none;
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_EQ(counting.done, "rrrf");
  EXPECT_EQ(*vault->Get("x"), "1");
  EXPECT_EQ(*vault->Get("z"), "3");
}

}  // namespace
}  // namespace ds::federated
