// A blob's size takes no memory: written, compared, resumed and read by blocks.
#include <sys/resource.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/hash/sha256.h"
#include "federated/store/store.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

constexpr int64_t kChunk = 1 << 20, kChunks = 96;

int64_t PeakBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::vector<std::byte> Chunk(int64_t index) {
  return std::vector<std::byte>(kChunk, static_cast<std::byte>(index));
}

TEST(FileStore, MemoryDoesNotGrowWithABlob) {
  const TempFolder folder;
  auto store = *OpenFileStore(folder.path());
  Sha256 hash;
  for (int64_t i = 0; i < kChunks; ++i) hash.Update(Chunk(i));
  const std::string digest = hash.Hex();
  const int64_t before = PeakBytes();
  {
    auto writer = *store->Write(digest, kChunk * kChunks);
    for (int64_t i = 0; i < kChunks / 2; ++i) ASSERT_TRUE(writer->Write(i * kChunk, Chunk(i)).ok());
  }
  {
    // As after a restart: the first half is read again, once, for the digest.
    auto writer = *store->Write(digest, kChunk * kChunks);
    ASSERT_EQ(writer->received(), kChunk * kChunks / 2);
    for (int64_t i = kChunks / 2 - 1; i < kChunks; ++i)
      ASSERT_TRUE(writer->Write(i * kChunk, Chunk(i)).ok());
    ASSERT_TRUE(writer->Finish().ok());
  }
  const auto reader = *store->Read(digest);
  std::vector<std::byte> bytes(kChunk);
  for (int64_t i = 0; i < kChunks; ++i) {
    ASSERT_TRUE(reader->Read(i * kChunk, absl::MakeSpan(bytes)).ok());
    ASSERT_EQ(bytes, Chunk(i));
  }
  EXPECT_LT(PeakBytes() - before, 12 * kChunk) << "for a blob of " << kChunks << " MiB";
}

}  // namespace
}  // namespace ds::federated
