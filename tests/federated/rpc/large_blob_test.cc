// A blob over 2 GiB, up and down, in memory that does not grow with it.
#include <algorithm>
#include <cstring>
#include <string>

#include "base/hash/sha256.h"
#include "gtest/gtest.h"
#include "tests/federated/rpc/testing.h"

namespace ds::federated {
namespace {

constexpr int64_t kSize = (int64_t{22} << 30) / 10 + 5;  // 2.2 GiB
constexpr int64_t kMostGrowth = int64_t{64} << 20;
// Its bytes are this prime number of random ones, again and again: a chunk in the wrong place
// shows.
constexpr int64_t kPeriod = 4194301;

class Pattern : public BlobReader {
 public:
  int64_t size() const override { return kSize; }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    for (size_t done = 0; done < out.size();) {
      const int64_t at = (offset + static_cast<int64_t>(done)) % kPeriod;
      const size_t count = std::min(out.size() - done, static_cast<size_t>(kPeriod - at));
      std::memcpy(out.data() + done, bytes_.data() + at, count);
      done += count;
    }
    return absl::OkStatus();
  }
  absl::Status Compare(int64_t offset, absl::Span<const std::byte> bytes) const {
    std::vector<std::byte> expected(bytes.size());
    const absl::Status read = Read(offset, absl::MakeSpan(expected));
    if (offset + static_cast<int64_t>(bytes.size()) > kSize) return absl::OutOfRangeError("");
    return std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0
               ? read
               : absl::DataLossError(absl::StrCat("other bytes at ", offset));
  }

 private:
  const std::string bytes_ = RandomBytes(kPeriod, 21);
};

// Compares what is uploaded, and keeps none of it.
class Comparing : public FakeService {
 public:
  absl::StatusOr<int64_t> UploadStatus(const Caller&, const std::string&, int64_t) override {
    return received_;
  }
  absl::Status Upload(const Caller&, const std::string&, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override {
    if (size != kSize || offset != received_) return absl::InvalidArgumentError("another place");
    received_ += static_cast<int64_t>(bytes.size());
    return pattern_->Compare(offset, bytes);
  }
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller&, const std::string&) override {
    return pattern_;
  }
  int64_t received() const { return received_; }
  const std::shared_ptr<Pattern>& pattern() const { return pattern_; }

 private:
  int64_t received_ = 0;
  std::shared_ptr<Pattern> pattern_ = std::make_shared<Pattern>();
};

class ComparingWriter : public BlobWriter {
 public:
  explicit ComparingWriter(std::shared_ptr<Pattern> pattern) : pattern_(std::move(pattern)) {}
  int64_t received() const override { return received_; }
  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    received_ = offset + static_cast<int64_t>(bytes.size());
    return pattern_->Compare(offset, bytes);
  }
  absl::Status Finish() override {
    return received_ == kSize ? absl::OkStatus() : absl::DataLossError("");
  }

 private:
  std::shared_ptr<Pattern> pattern_;
  int64_t received_ = 0;
};

TEST(LargeBlob, PassesBothWaysInLittleMemory) {
  Federation federation;
  Comparing service;
  const auto server = Must(ServeFederation(federation.Serving(), service, nullptr));
  const auto client =
      Must(ConnectFederation(federation.Connecting(server->port(), federation.Identity("north"))));
  ASSERT_TRUE(client->Hello({}).ok());
  const int64_t before = PeakResidentBytes();
  const std::string digest = Sha256Hex("pattern");
  const absl::Status uploaded = client->Upload(digest, *service.pattern());
  EXPECT_TRUE(uploaded.ok()) << uploaded;
  EXPECT_EQ(service.received(), kSize);
  EXPECT_EQ(Must(client->DownloadSize(digest)), kSize);
  ComparingWriter writer(service.pattern());
  const absl::Status downloaded = client->Download(digest, writer);
  EXPECT_TRUE(downloaded.ok()) << downloaded;
  EXPECT_EQ(writer.received(), kSize);
  RecordProperty("growth_mib", static_cast<int>((PeakResidentBytes() - before) >> 20));
  EXPECT_LT(PeakResidentBytes() - before, kMostGrowth);
}

}  // namespace
}  // namespace ds::federated
