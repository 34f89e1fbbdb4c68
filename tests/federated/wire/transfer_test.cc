#include "federated/wire/transfer.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

const char* const kDigest = "abababababababababababababababababababababababababababababababab";

TEST(Transfer, KeepsRequestsAndReplies) {
  const auto status = DecodeUploadStatusRequest(Encode(UploadStatusRequest{kDigest, 3 << 20}));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->size, 3 << 20);
  EXPECT_EQ(DecodeUploadStatusReply(Encode(UploadStatusReply{17}))->received, 17);
  EXPECT_EQ(DecodeChunkReply(Encode(ChunkReply{int64_t{5} << 30}))->received, int64_t{5} << 30);
  const auto download = DecodeDownloadRequest(Encode(DownloadRequest{kDigest, 9, 8 << 20}));
  ASSERT_TRUE(download.ok()) << download.status();
  EXPECT_EQ(download->offset, 9);
  EXPECT_EQ(download->chunk_bytes, kMaxChunkBytes);
}

TEST(Transfer, RefusesBadDigestsAndSizes) {
  EXPECT_FALSE(DecodeUploadStatusRequest(Encode(UploadStatusRequest{"../x", 3})).ok());
  EXPECT_FALSE(DecodeUploadStatusRequest(Encode(UploadStatusRequest{kDigest, -1})).ok());
  EXPECT_FALSE(
      DecodeUploadStatusRequest(Encode(UploadStatusRequest{kDigest, kMaxBlobBytes + 1})).ok());
  EXPECT_FALSE(DecodeDownloadRequest(Encode(DownloadRequest{kDigest, -1, 5})).ok());
  EXPECT_FALSE(DecodeDownloadRequest(Encode(DownloadRequest{kDigest, 0, -5})).ok());
}

// What protoc --encode makes of message Chunk.
TEST(Chunk, ItsBytesAreProtobufs) {
  const Chunk chunk{.digest = kDigest, .size = 300, .offset = 150, .data = "0123"};
  const std::string bytes =
      absl::StrCat("\x0a\x40", kDigest, "\x10\xac\x02\x18\x96\x01\x22\x04", "0123");
  EXPECT_EQ(EncodeChunkHead(chunk) + "0123", bytes);
  const auto read = DecodeChunk(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->digest, kDigest);
  EXPECT_EQ(read->size, 300);
  EXPECT_EQ(read->offset, 150);
  EXPECT_EQ(read->data, "0123");
}

TEST(Chunk, AbsentFieldsAreTheirDefaults) {
  const auto read = DecodeChunk("");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->size, -1);
  EXPECT_EQ(read->offset, 0);
  EXPECT_TRUE(read->data.empty());
}

TEST(Chunk, RefusesWhatIsCutOrOutOfPlace) {
  const std::string whole = EncodeChunkHead({.offset = 1, .data = "0123"}) + "0123";
  EXPECT_FALSE(DecodeChunk(whole.substr(0, whole.size() - 1)).ok());
  EXPECT_FALSE(DecodeChunk(whole.substr(0, 3)).ok());
  EXPECT_THAT(DecodeChunk(whole + "x").status().message(), HasSubstr("last field"));
  EXPECT_FALSE(DecodeChunk("\x2a\x01x").ok());  // an unknown field
  EXPECT_FALSE(DecodeChunk("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").ok());
  EXPECT_FALSE(DecodeChunk("\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f").ok());
  EXPECT_FALSE(DecodeChunk("\x0a\x01x").ok());
  const std::string large(kMaxChunkBytes + 1, 'd');
  EXPECT_FALSE(DecodeChunk(EncodeChunkHead({.data = large}) + large).ok());
}

}  // namespace
}  // namespace ds::federated
