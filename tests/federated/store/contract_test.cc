// What every store does, in memory or in files: one suite for both.
#include <atomic>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "federated/store/log_format.h"
#include "federated/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// SHA-256 of "abc" (FIPS 180-4) and of nothing.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

absl::Span<const std::byte> Bytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

class StoreContract : public ::testing::TestWithParam<const char*> {
 protected:
  StoreContract() { Open(); }
  bool is_file() const { return GetParam() == std::string("file"); }
  void Open() {
    store_ = nullptr;
    if (!is_file()) {
      store_ = MemoryStore();
      return;
    }
    auto opened = OpenFileStore(folder_.File("store"));
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = std::move(*opened);
  }
  // As a process that ended and came again; a store in memory just goes on.
  void Reopen() {
    if (is_file()) Open();
  }
  std::vector<std::string> Records() {
    std::vector<std::string> records;
    const absl::Status status = store_->Replay([&](int64_t number, absl::string_view record) {
      EXPECT_EQ(number, static_cast<int64_t>(records.size()));
      records.emplace_back(record);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return records;
  }

  const TempFolder folder_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreContract, ReplaysWhatWasAppendedInOrder) {
  EXPECT_THAT(Records(), IsEmpty());
  const std::string zeros(1000, '\0'), large(300000, 'x');
  EXPECT_EQ(*store_->Append("first"), 0);
  EXPECT_EQ(*store_->Append(""), 1);
  EXPECT_EQ(*store_->Append(zeros), 2);
  EXPECT_THAT(Records(), ElementsAre("first", "", zeros));
  Reopen();
  EXPECT_EQ(*store_->Append(large), 3);
  EXPECT_THAT(Records(), ElementsAre("first", "", zeros, large));
  Reopen();
  EXPECT_THAT(Records(), ElementsAre("first", "", zeros, large));
}

TEST_P(StoreContract, AVisitorsErrorEndsTheReplay) {
  ASSERT_TRUE(store_->Append("1").ok() && store_->Append("2").ok());
  int visited = 0;
  EXPECT_EQ(store_->Replay([&](int64_t, absl::string_view) {
    ++visited;
    return absl::InternalError("enough");
  }),
            absl::InternalError("enough"));
  EXPECT_EQ(visited, 1);
}

TEST_P(StoreContract, ARecordBeyondTheLimitIsRefusedAndTheLogGoesOn) {
  const auto refused = store_->Append(std::string(kMaximumRecordBytes + 1, 'x'));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << refused.status();
  EXPECT_TRUE(store_->Append(std::string(kMaximumRecordBytes, 'x')).ok());
  EXPECT_EQ(*store_->Append("after"), 1);
  EXPECT_EQ(Records().size(), 2u);
}

TEST_P(StoreContract, ConcurrentAppendsEachGetANumberOfTheirOwn) {
  constexpr int kThreads = 8, kEach = 50;
  std::vector<std::vector<int64_t>> numbers(kThreads);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i)
        numbers[thread].push_back(store_->Append(absl::StrCat(thread, ":", i)).value_or(-1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  Reopen();
  const std::vector<std::string> records = Records();
  ASSERT_EQ(records.size(), size_t{kThreads * kEach});
  for (int thread = 0; thread < kThreads; ++thread)
    for (int i = 0; i < kEach; ++i)
      ASSERT_EQ(records[numbers[thread][i]], absl::StrCat(thread, ":", i));
}

TEST_P(StoreContract, ABlobIsThereOnceItIsFinished) {
  {
    auto writer = *store_->Write(kAbc, 3);
    EXPECT_EQ(writer->received(), 0);
    ASSERT_TRUE(writer->Write(0, Bytes("a")).ok());
    EXPECT_FALSE(store_->Has(kAbc));
    EXPECT_TRUE(absl::IsNotFound(store_->Read(kAbc).status()));
    ASSERT_TRUE(writer->Write(1, Bytes("bc")).ok());
    EXPECT_FALSE(store_->Has(kAbc));
    EXPECT_THAT(*store_->Blobs(), ElementsAre(kAbc));
    ASSERT_TRUE(writer->Finish().ok());
  }
  EXPECT_TRUE(store_->Has(kAbc));
  Reopen();
  EXPECT_EQ(*GetBlob(*store_, kAbc), "abc");
  EXPECT_THAT(*store_->Blobs(), ElementsAre(kAbc));
  const auto reader = *store_->Read(kAbc);
  EXPECT_EQ(reader->size(), 3);
  std::byte two[2];
  ASSERT_TRUE(reader->Read(1, absl::MakeSpan(two)).ok());
  EXPECT_EQ(two[0], std::byte{'b'});
  EXPECT_TRUE(absl::IsOutOfRange(reader->Read(2, absl::MakeSpan(two))));
  EXPECT_TRUE(absl::IsOutOfRange(reader->Read(-1, absl::MakeSpan(two))));
  EXPECT_TRUE(reader->Read(3, {}).ok());
}

TEST_P(StoreContract, AnUploadGoesOnWhereItWasBroken) {
  {
    auto writer = *store_->Write(kAbc, 3);
    ASSERT_TRUE(writer->Write(0, Bytes("ab")).ok());
  }
  Reopen();
  EXPECT_THAT(*store_->Blobs(), ElementsAre(kAbc));
  auto writer = *store_->Write(kAbc, 3);
  EXPECT_EQ(writer->received(), 2);
  ASSERT_TRUE(writer->Write(1, Bytes("bc")).ok()) << "an overlap that is equal";
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(*GetBlob(*store_, kAbc), "abc");
}

TEST_P(StoreContract, OtherBytesThanTheDigestsAreDropped) {
  {
    auto writer = *store_->Write(kAbc, 3);
    ASSERT_TRUE(writer->Write(0, Bytes("abd")).ok());
    const absl::Status status = writer->Finish();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_EQ(writer->Finish().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(writer->Write(0, Bytes("a")).code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_THAT(*store_->Blobs(), IsEmpty());
  auto writer = *store_->Write(kAbc, 3);
  EXPECT_EQ(writer->received(), 0);
  EXPECT_TRUE(writer->Write(0, Bytes("abc")).ok() && writer->Finish().ok());
}

TEST_P(StoreContract, WhatWasReceivedIsNotOverwritten) {
  auto writer = *store_->Write(kAbc, 3);
  ASSERT_TRUE(writer->Write(0, Bytes("ab")).ok());
  EXPECT_TRUE(absl::IsDataLoss(writer->Write(1, Bytes("xc"))));
  EXPECT_EQ(writer->received(), 2);
  EXPECT_TRUE(writer->Write(2, Bytes("c")).ok() && writer->Finish().ok());
}

TEST_P(StoreContract, AWriteOutOfPlaceIsRefused) {
  auto writer = *store_->Write(kAbc, 3);
  for (const auto& [offset, text] : std::vector<std::pair<int64_t, std::string>>{
           {1, "b"}, {-1, "a"}, {0, "abcd"}, {4, ""}, {INT64_MAX, "a"}})
    EXPECT_EQ(writer->Write(offset, Bytes(text)).code(), absl::StatusCode::kInvalidArgument)
        << offset;
  ASSERT_TRUE(writer->Write(0, Bytes("ab")).ok());
  EXPECT_EQ(writer->Finish().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(writer->received(), 2);
}

TEST_P(StoreContract, OneWriterAtATime) {
  auto writer = *store_->Write(kAbc, 3);
  EXPECT_EQ(store_->Write(kAbc, 3).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_->Remove(kAbc).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(store_->Write(kEmpty, 0).ok());
  writer.reset();
  EXPECT_TRUE(store_->Write(kAbc, 3).ok());
  EXPECT_TRUE(store_->Remove(kAbc).ok());
}

TEST_P(StoreContract, ABlobThatIsThereIsWrittenOnlyByItsOwnBytes) {
  ASSERT_TRUE(PutBlob(*store_, Bytes("abc")).ok());
  EXPECT_EQ(store_->Write(kAbc, 4).status().code(), absl::StatusCode::kInvalidArgument);
  auto writer = *store_->Write(kAbc, 3);
  EXPECT_EQ(writer->received(), 3);
  EXPECT_TRUE(writer->Write(0, Bytes("abc")).ok());
  EXPECT_TRUE(absl::IsDataLoss(writer->Write(0, Bytes("xbc"))));
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(*GetBlob(*store_, kAbc), "abc");
}

TEST_P(StoreContract, APartLongerThanTheBlobIsBegunAgain) {
  {
    auto writer = *store_->Write(kAbc, 30);
    ASSERT_TRUE(writer->Write(0, Bytes("something else")).ok());
  }
  auto writer = *store_->Write(kAbc, 3);
  EXPECT_EQ(writer->received(), 0);
  EXPECT_TRUE(writer->Write(0, Bytes("abc")).ok() && writer->Finish().ok());
}

TEST_P(StoreContract, AnEmptyBlob) {
  EXPECT_EQ(*PutBlob(*store_, Bytes("")), kEmpty);
  Reopen();
  EXPECT_EQ(*GetBlob(*store_, kEmpty), "");
}

TEST_P(StoreContract, ReadersOfARemovedBlobGoOn) {
  ASSERT_TRUE(PutBlob(*store_, Bytes("abc")).ok());
  const auto reader = *store_->Read(kAbc);
  EXPECT_TRUE(store_->Remove(kAbc).ok());
  EXPECT_TRUE(store_->Remove(kAbc).ok());
  EXPECT_FALSE(store_->Has(kAbc));
  EXPECT_THAT(*store_->Blobs(), IsEmpty());
  std::byte byte;
  ASSERT_TRUE(reader->Read(2, absl::MakeSpan(&byte, 1)).ok());
  EXPECT_EQ(byte, std::byte{'c'});
}

TEST_P(StoreContract, OnlyADigestIsAName) {
  std::string upper = kAbc;
  upper[0] = 'B';
  for (const std::string& name :
       {std::string(), std::string("../../etc/passwd"), std::string(64, '/'), upper,
        std::string(kAbc) + "0", std::string(kAbc).substr(1)}) {
    EXPECT_EQ(store_->Write(name, 3).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(store_->Read(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(store_->Remove(name).code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_FALSE(store_->Has(name)) << name;
  }
  EXPECT_EQ(store_->Write(kAbc, -1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreContract, PutBlobWritesOverWhatABrokenUploadLeft) {
  {
    auto writer = *store_->Write(kAbc, 3);
    ASSERT_TRUE(writer->Write(0, Bytes("x")).ok());
  }
  EXPECT_EQ(*PutBlob(*store_, Bytes("abc")), kAbc);
  EXPECT_EQ(*GetBlob(*store_, kAbc), "abc");
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, ::testing::Values("memory", "file"),
                         [](const auto& info) { return std::string(info.param); });

TEST(FileStore, ASecondOneInTheSameFolderIsRefusedWithTheNameOfTheFirst) {
  const TempFolder folder;
  auto first = OpenFileStore(folder.path());
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = OpenFileStore(folder.path());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(second.status().message(), HasSubstr(absl::StrCat("process ", getpid())));
  first->reset();
  EXPECT_TRUE(OpenFileStore(folder.path()).ok());
}

TEST(FileStore, ABlobThatWasChangedOnTheDiskIsNoticed) {
  const TempFolder folder;
  auto store = *OpenFileStore(folder.path());
  ASSERT_TRUE(PutBlob(*store, Bytes("abc")).ok());
  folder.Write(absl::StrCat("blobs/", kAbc), "abd");
  EXPECT_TRUE(absl::IsDataLoss(GetBlob(*store, kAbc).status()));
}

TEST(FileStore, FilesThatAreNoBlobsAreLeftAlone) {
  const TempFolder folder;
  auto store = *OpenFileStore(folder.path());
  folder.Write("blobs/notes.txt", "mine");
  EXPECT_THAT(*store->Blobs(), IsEmpty());
}

}  // namespace
}  // namespace ds::federated
