// Byte-level text: every byte of a file is a token.
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "data/dataset_digest.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxSequence = 1 << 20;
constexpr int64_t kByteValues = 256;
constexpr size_t kWholeDigest = size_t{1} << 30;  // bytes: more are sampled

// Sample i is bytes [i T, i T + T]: inputs do not overlap, the last target is the next sample's
// first input. The file is mapped, not read: all splits on all ranks of a host share the system's
// pages of it.
class ByteText final : public Dataset {
 public:
  ByteText(DatasetInfo info, std::shared_ptr<const MappedFile> file,
           absl::Span<const std::byte> text)
      : info_(std::move(info)), file_(std::move(file)), text_(text) {}

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t, absl::Span<uint8_t>, int64_t*) const override {
    return WrongKind(info_.kind, SampleKind::kImage);
  }

  absl::Status ReadText(int64_t index, absl::Span<int64_t> tokens) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kText, index, tokens.size()));
    const std::byte* from = text_.data() + index * info_.sequence_length;
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = std::to_integer<int64_t>(from[i]);
    return absl::OkStatus();
  }

  absl::StatusOr<DatasetDigest> Digest() const override {
    const absl::Span<const uint8_t> text(
        reinterpret_cast<const uint8_t*>(text_.data()),
        static_cast<size_t>(info_.size * info_.sequence_length + 1));
    DataChecksum checksum;
    if (text.size() <= kWholeDigest) {
      checksum.Add(text);
      return DatasetDigest{checksum.Text(), "all bytes"};
    }
    constexpr int64_t kBlock = 64 << 10, kBlocks = 4096;
    const std::vector<int64_t> blocks =
        EvenlySpread(static_cast<int64_t>(text.size()) / kBlock, kBlocks);
    checksum.Add(static_cast<int64_t>(text.size()));
    for (const int64_t block : blocks)
      checksum.Add(text.subspan(static_cast<size_t>(block * kBlock), kBlock));
    return DatasetDigest{checksum.Text(), absl::StrCat(blocks.size(), " blocks of ", kBlock,
                                                       " bytes, evenly spread")};
  }

 private:
  DatasetInfo info_;
  std::shared_ptr<const MappedFile> file_;
  absl::Span<const std::byte> text_;  // of the file: this split
};

absl::StatusOr<std::string> FindFile(const DatasetOptions& options) {
  const std::vector<std::string> places = Places(options);
  for (const std::string& place : places) {
    std::error_code ignored;
    if (fs::exists(place, ignored)) return place;
  }
  return MissingData(
      "text file", places,
      "To get it: any file will do, its bytes are the tokens; name it as the data's path.");
}

absl::Status CheckOptions(const DatasetOptions& options) {
  if (options.sequence_length < 1 || options.sequence_length > kMaxSequence) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text: sequence_length ", options.sequence_length, " is not in 1..", kMaxSequence));
  }
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text: validation_fraction ", options.validation_fraction, " is not in [0, 1)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenText(const DatasetOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  DS_ASSIGN_OR_RETURN(std::string path, FindFile(options));
  DS_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::Span<const std::byte> text = file->bytes();
  const int64_t bytes = static_cast<int64_t>(text.size());
  const int64_t held_out = std::llround(options.validation_fraction * static_cast<double>(bytes));
  const size_t first_held_out = static_cast<size_t>(bytes - held_out);
  text = options.split == "train" ? text.first(first_held_out) : text.subspan(first_held_out);
  DatasetInfo info;
  info.kind = SampleKind::kText;
  info.sequence_length = options.sequence_length;
  info.classes = kByteValues;
  const int64_t samples = (static_cast<int64_t>(text.size()) - 1) / options.sequence_length;
  if (text.empty() || samples == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": the ", options.split, " split has ", text.size(), " of ", bytes,
        " bytes, too few for one sample of ", options.sequence_length,
        " + 1; use a longer text, a shorter sequence_length or another validation_fraction"));
  }
  info.size = LimitedSize(samples, options.limit);
  return DatasetPtr(std::make_shared<ByteText>(std::move(info), std::move(file), text));
}

}  // namespace ds
