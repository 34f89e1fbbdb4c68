// The log over its segment files: syncs shared, torn ends voided, damage found and named.
#include "federated/store/log.h"

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "federated/store/log_format.h"
#include "federated/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/forwarding_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Replayed {
  absl::Status status;
  std::vector<std::string> records;
};

Replayed ReplayAll(const std::string& folder) {
  Replayed replayed;
  auto log = Log::Open(folder);
  replayed.status = log.status();
  if (!log.ok()) return replayed;
  replayed.status = (*log)->Replay([&](int64_t, absl::string_view record) {
    replayed.records.emplace_back(record);
    return absl::OkStatus();
  });
  return replayed;
}

void AppendTo(const std::string& folder, const std::vector<std::string>& records) {
  auto log = Log::Open(folder);
  ASSERT_TRUE(log.ok()) << log.status();
  for (const std::string& record : records) ASSERT_TRUE((*log)->Append(record).ok());
}

TEST(Log, ATornEndIsVoidForEver) {
  const TempFolder folder;
  AppendTo(folder.path(), {"one", "two"});
  const std::string first = folder.File("00000001.log");
  fs::resize_file(first, fs::file_size(first) - 2);
  AppendTo(folder.path(), {"three"});
  EXPECT_TRUE(fs::exists(folder.File("00000002.log")));
  EXPECT_THAT(ReplayAll(folder.path()).records, ElementsAre("one", "three"));
  // Whatever lies behind the end that the second segment names.
  folder.Write("00000001.log", ReadText(first) + "more rubbish");
  EXPECT_THAT(ReplayAll(folder.path()).records, ElementsAre("one", "three"));
}

TEST(Log, AWholeEndGoesOnInTheSameFile) {
  const TempFolder folder;
  for (int i = 0; i < 5; ++i) AppendTo(folder.path(), {absl::StrCat(i)});
  EXPECT_FALSE(fs::exists(folder.File("00000002.log")));
  EXPECT_THAT(ReplayAll(folder.path()).records, ElementsAre("0", "1", "2", "3", "4"));
}

TEST(Log, ALargeSegmentIsFollowedByAnother) {
  const TempFolder folder;
  const std::string large(kMaximumRecordBytes, 'x');
  AppendTo(folder.path(), {large, large, large, large, "last", "very last"});
  EXPECT_TRUE(fs::exists(folder.File("00000002.log")));
  EXPECT_FALSE(fs::exists(folder.File("00000003.log")));
  const Replayed replayed = ReplayAll(folder.path());
  ASSERT_EQ(replayed.records.size(), 6u) << replayed.status;
  EXPECT_EQ(replayed.records[5], "very last");
}

TEST(Log, DamageIsNamedByFileAndOffset) {
  const TempFolder folder;
  AppendTo(folder.path(), {"one", "two"});
  std::string bytes = ReadText(folder.File("00000001.log"));
  bytes[kSegmentHeaderBytes + 33] ^= 1;
  folder.Write("00000001.log", bytes);
  const absl::Status status = ReplayAll(folder.path()).status;
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("00000001.log at byte 40, record 0"));
}

TEST(Log, AMissingOrRenamedSegmentIsDamage) {
  const TempFolder folder;
  AppendTo(folder.path(), {"one"});
  const std::string first = folder.File("00000001.log"), second = folder.File("00000002.log");
  fs::resize_file(first, fs::file_size(first) - 1);
  AppendTo(folder.path(), {"two"});
  const std::string saved = ReadText(first);
  fs::remove(first);
  const absl::Status missing = ReplayAll(folder.path()).status;
  EXPECT_TRUE(absl::IsDataLoss(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("00000001.log is missing"));
  fs::copy_file(second, first);
  EXPECT_TRUE(absl::IsDataLoss(ReplayAll(folder.path()).status));
  folder.Write("00000001.log", saved.substr(0, 20));
  EXPECT_TRUE(absl::IsDataLoss(ReplayAll(folder.path()).status));
}

TEST(Log, AfterAnErrorNothingMoreIsAppended) {
  for (int64_t call = 1; call <= 2; ++call) {
    const TempFolder folder;
    FaultyFileSystem files(folder.path());
    auto log = *Log::Open(folder.path());
    ASSERT_TRUE(log->Append("kept").ok());
    files.FailAt(call, ENOSPC, /*for_good=*/false);
    const auto failed = log->Append("lost");
    EXPECT_FALSE(failed.ok());
    EXPECT_THAT(std::string(failed.status().message()), HasSubstr(folder.path()));
    const auto later = log->Append("later");
    EXPECT_EQ(later.status().code(), absl::StatusCode::kFailedPrecondition) << later.status();
    log = nullptr;
    // It was not acknowledged: it may be there or not.
    const Replayed replayed = ReplayAll(folder.path());
    ASSERT_FALSE(replayed.records.empty()) << replayed.status;
    EXPECT_EQ(replayed.records[0], "kept");
    EXPECT_LE(replayed.records.size(), 2u);
  }
}

// The machine's files, on a disk that takes its time to sync.
class SlowDisk final : public ForwardingFileSystem {
 public:
  explicit SlowDisk(absl::Duration sync) : sync_(sync), before_(ReplaceDefault(this)) {}
  ~SlowDisk() override { ReplaceDefault(before_); }
  int syncs() const { return syncs_; }
  // The `nth` sync from now, from 1, fails.
  void FailSync(int nth) { fail_at_ = syncs_ + nth; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                     OpenMode mode) override {
    auto file = PosixFileSystem().Open(path, mode);
    if (!file.ok()) return file.status();
    return std::make_unique<File>(*this, std::move(*file));
  }

 private:
  class File final : public WritableFile {
   public:
    File(SlowDisk& disk, std::unique_ptr<WritableFile> real)
        : disk_(disk), real_(std::move(real)) {}
    absl::Status Append(absl::string_view bytes) override { return real_->Append(bytes); }
    absl::Status Sync() override {
      const bool fails = ++disk_.syncs_ == disk_.fail_at_;
      absl::SleepFor(disk_.sync_);
      return fails ? absl::UnavailableError("the disk did not sync") : absl::OkStatus();
    }

   private:
    SlowDisk& disk_;
    const std::unique_ptr<WritableFile> real_;
  };

  const absl::Duration sync_;
  FileSystem* const before_;
  std::atomic<int> syncs_ = 0, fail_at_ = 0;
};

// Threads that come while one writes wait for one sync together.
TEST(Log, ConcurrentAppendsShareSyncs) {
  const TempFolder folder;
  SlowDisk disk(absl::Milliseconds(3));
  auto log = *Log::Open(folder.path());
  constexpr int kThreads = 16, kEach = 10;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(log->Append("x").ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(disk.syncs(), kThreads * kEach / 3);
}

// One write fails, the disk is well again afterwards: whoever waited for that write hears of it,
// and what was acknowledged is there.
TEST(Log, AnErrorReachesAllThatWaited) {
  for (int call = 1; call <= 5; ++call) {
    const TempFolder folder;
    SlowDisk disk(absl::Milliseconds(2));
    auto log = *Log::Open(folder.path());
    disk.FailSync(call);
    constexpr int kThreads = 8, kEach = 10;
    std::vector<std::vector<std::string>> acknowledged(kThreads);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kEach; ++i) {
          const std::string record = absl::StrCat(thread, ":", i);
          if (log->Append(record).ok()) acknowledged[thread].push_back(record);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    log = nullptr;
    const Replayed replayed = ReplayAll(folder.path());
    ASSERT_TRUE(replayed.status.ok()) << replayed.status;
    size_t count = 0;
    for (const auto& each : acknowledged) {
      count += each.size();
      for (const std::string& record : each) EXPECT_THAT(replayed.records, Contains(record));
    }
    EXPECT_LE(count, kThreads * kEach - size_t{1});
  }
}

}  // namespace
}  // namespace ds::federated
