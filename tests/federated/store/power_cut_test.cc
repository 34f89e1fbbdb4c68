// The power cut at every call that a store makes to the disk, and each call failing once.
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "federated/store/store.h"
#include "gtest/gtest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using Survives = FaultyFileSystem::Survives;

absl::Span<const std::byte> Bytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// What a run has been told that it is safe.
struct Acknowledged {
  std::vector<std::string> records, tried;
  std::vector<std::string> blobs;  // their bytes
};

constexpr int kRounds = 3;

struct Seen {
  size_t records = 0;
  std::vector<int> blobs;
};

std::string BlobText(int round) { return std::string(3000, static_cast<char>('a' + round)); }

// A few rounds of what an aggregator does: a blob in two pieces, then a record that names it.
absl::Status Work(const std::string& folder, int rounds, Acknowledged& said) {
  auto opened = OpenFileStore(folder);
  if (!opened.ok()) return opened.status();
  Store& store = **opened;
  for (int round = 0; round < rounds; ++round) {
    const std::string text = BlobText(round);
    auto writer = store.Write(Sha256Hex(text), static_cast<int64_t>(text.size()));
    if (!writer.ok()) return writer.status();
    const int64_t there = (*writer)->received();
    for (const int64_t end : {int64_t{1000}, int64_t{3000}}) {
      if (there >= end) continue;
      const int64_t from = std::max(there, end == 1000 ? int64_t{0} : int64_t{1000});
      const absl::Status status = (*writer)->Write(from, Bytes(text).subspan(from, end - from));
      if (!status.ok()) return status;
    }
    if (const absl::Status status = (*writer)->Finish(); !status.ok()) return status;
    said.blobs.push_back(text);
    said.tried.push_back(absl::StrCat("{\"blob\":\"", Sha256Hex(text), "\"}"));
    const auto number = store.Append(said.tried.back());
    if (!number.ok()) return number.status();
    said.records.push_back(said.tried.back());
  }
  return absl::OkStatus();
}

// All that was acknowledged is there, in order; behind it at most what was tried; every record's
// blob is whole. `seen`: how many records there are, and blobs that are whole.
void Check(const std::string& folder, const Acknowledged& said, const std::string& where,
           Seen& seen) {
  auto store = OpenFileStore(folder);
  ASSERT_TRUE(store.ok()) << where << store.status();
  std::vector<std::string> records;
  const absl::Status replayed = (*store)->Replay([&](int64_t, absl::string_view record) {
    records.emplace_back(record);
    return absl::OkStatus();
  });
  ASSERT_TRUE(replayed.ok()) << where << replayed;
  ASSERT_GE(records.size(), said.records.size()) << where;
  ASSERT_LE(records.size(), said.tried.size()) << where;
  for (size_t i = 0; i < records.size(); ++i) {
    ASSERT_EQ(records[i], said.tried[i]) << where;
    ASSERT_EQ(*GetBlob(**store, Sha256Hex(BlobText(static_cast<int>(i)))),
              BlobText(static_cast<int>(i)))
        << where;
  }
  for (const std::string& text : said.blobs)
    ASSERT_EQ(*GetBlob(**store, Sha256Hex(text)), text) << where;
  for (const int round : seen.blobs)
    ASSERT_TRUE((*store)->Has(Sha256Hex(BlobText(round)))) << where;
  ASSERT_GE(records.size(), seen.records) << where;
  seen = {records.size(), {}};
  for (int round = 0; round < kRounds; ++round)
    if ((*store)->Has(Sha256Hex(BlobText(round)))) seen.blobs.push_back(round);
}

// After whatever happened, the same work can be done to its end.
void GoOn(const std::string& folder, const std::string& where) {
  auto store = OpenFileStore(folder);
  ASSERT_TRUE(store.ok()) << where << store.status();
  ASSERT_TRUE((*store)->Append("after").ok()) << where;
  for (int round = 0; round < kRounds; ++round) {
    const auto put = PutBlob(**store, Bytes(BlobText(round)));
    ASSERT_TRUE(put.ok()) << where << put.status();
  }
  store->reset();
  store = OpenFileStore(folder);
  ASSERT_TRUE(store.ok()) << where << store.status();
  std::string last;
  ASSERT_TRUE((*store)
                  ->Replay([&](int64_t, absl::string_view record) {
                    last.assign(record.data(), record.size());
                    return absl::OkStatus();
                  })
                  .ok())
      << where;
  ASSERT_EQ(last, "after") << where;
}

TEST(PowerCut, AtEveryCallNothingThatWasAcknowledgedIsLost) {
  bool through = false;
  int64_t call = 1;
  for (; !through; ++call) {
    for (int seed = -2; seed < 4; ++seed) {
      const TempFolder folder;
      FaultyFileSystem files(folder.path());
      files.FailAt(call, EIO, /*for_good=*/true);
      Acknowledged said;
      through = Work(folder.File("store"), kRounds, said).ok();
      files.FailNoMore();
      files.PowerCut(seed == -2   ? Survives::kSynced
                     : seed == -1 ? Survives::kNames
                                  : Survives::kAnything,
                     static_cast<uint64_t>(seed));
      const std::string where = absl::StrCat("call ", call, ", seed ", seed, ": ");
      Seen seen;
      Check(folder.File("store"), said, where, seen);
      GoOn(folder.File("store"), where);
      if (HasFatalFailure()) return;
    }
    ASSERT_LT(call, 200);
  }
  EXPECT_GT(call, 30) << "it hardly called the disk";
}

TEST(PowerCut, ACallThatFailsOnceLosesNothingEither) {
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    for (const int error : {EIO, ENOSPC}) {
      const TempFolder folder;
      FaultyFileSystem files(folder.path());
      files.FailAt(call, error, /*for_good=*/false);
      Acknowledged said;
      through = Work(folder.File("store"), kRounds, said).ok();
      files.FailNoMore();
      const std::string where = absl::StrCat("call ", call, ": ");
      Seen seen;
      Check(folder.File("store"), said, where, seen);
      // What was seen will have been acted upon: it stays.
      files.PowerCut(Survives::kSynced);
      Check(folder.File("store"), said, where, seen);
      GoOn(folder.File("store"), where);
      if (HasFatalFailure()) return;
    }
    ASSERT_LT(call, 200);
  }
}

// Records that a killed process had written and not synced are read by the next one, which acts
// on them: a power cut then must not take them.
TEST(PowerCut, WhatWasReplayedStays) {
  const TempFolder folder;
  FaultyFileSystem files(folder.path());
  {
    auto store = *OpenFileStore(folder.File("store"));
    ASSERT_TRUE(store->Append("synced").ok());
    files.FailAt(2, EIO, /*for_good=*/true);
    EXPECT_FALSE(store->Append("written").ok());
    files.FailNoMore();
  }
  int records = 0;
  {
    auto store = *OpenFileStore(folder.File("store"));
    ASSERT_TRUE(store
                    ->Replay([&](int64_t, absl::string_view) {
                      ++records;
                      return absl::OkStatus();
                    })
                    .ok());
  }
  EXPECT_EQ(records, 2);
  files.PowerCut(Survives::kSynced);
  auto store = *OpenFileStore(folder.File("store"));
  records = 0;
  ASSERT_TRUE(store
                  ->Replay([&](int64_t, absl::string_view) {
                    ++records;
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(records, 2);
}

// Bytes of an upload that a power cut made zeros: the digest shows it, and it is begun again.
TEST(PowerCut, AnUploadWhoseBytesWereLostIsBegunAgain) {
  const TempFolder folder;
  const std::string text = BlobText(0), digest = Sha256Hex(text);
  { auto store = *OpenFileStore(folder.path()); }
  folder.Write(absl::StrCat("blobs/", digest, ".part"), std::string(1000, '\0'));
  auto store = *OpenFileStore(folder.path());
  {
    auto writer = *store->Write(digest, 3000);
    EXPECT_EQ(writer->received(), 1000);
    ASSERT_TRUE(writer->Write(1000, Bytes(text).subspan(1000)).ok());
    EXPECT_TRUE(absl::IsDataLoss(writer->Finish()));
  }
  auto writer = *store->Write(digest, 3000);
  EXPECT_EQ(writer->received(), 0);
  EXPECT_TRUE(writer->Write(0, Bytes(text)).ok() && writer->Finish().ok());
}

}  // namespace
}  // namespace ds::federated
