#include "data/dataset_digest.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "data/dataset_checks.h"

namespace ds {
namespace {

// Samples that the digest of a data set of unknown kind reads: decoding may be slow.
constexpr int64_t kSampled = 64;

absl::Span<const uint8_t> AsBytes(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

void DataChecksum::Add(absl::Span<const uint8_t> bytes) {
  crc_ = crc32_z(crc_, bytes.data(), bytes.size());
  bytes_ += static_cast<int64_t>(bytes.size());
}

void DataChecksum::Add(absl::string_view text) {
  Add(absl::Span<const uint8_t>(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

void DataChecksum::Add(int64_t number) { Add(absl::StrCat(number, "\n")); }

std::string DataChecksum::Text() const {
  return absl::StrFormat("%08x-%d", static_cast<uint32_t>(crc_), bytes_);
}

std::vector<int64_t> EvenlySpread(int64_t size, int64_t most) {
  const int64_t count = std::min(size, most);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i)
    indices.push_back(count == 1 ? 0 : (size - 1) * i / (count - 1));
  return indices;
}

absl::StatusOr<DatasetDigest> Dataset::Digest() const {
  const DatasetInfo& of = info();
  DataChecksum checksum;
  std::vector<uint8_t> pixels(static_cast<size_t>(of.channels * of.height * of.width));
  std::vector<int64_t> tokens(static_cast<size_t>(of.sequence_length + 1));
  std::vector<std::vector<std::byte>> arrays;
  for (const ArrayInfo& array : of.inputs) arrays.emplace_back(SampleBytes(array));
  std::vector<absl::Span<std::byte>> inputs;
  for (std::vector<std::byte>& array : arrays) inputs.push_back(absl::MakeSpan(array));
  std::vector<std::byte> target(of.target.has_value() ? SampleBytes(*of.target) : 0);
  const std::vector<int64_t> indices = EvenlySpread(of.size, kSampled);
  for (const int64_t index : indices) {
    if (of.kind == SampleKind::kText) {
      DS_RETURN_IF_ERROR(ReadText(index, absl::MakeSpan(tokens)));
      for (const int64_t token : tokens) checksum.Add(token);
      continue;
    }
    if (of.kind == SampleKind::kTensors) {
      DS_RETURN_IF_ERROR(ReadTensors(index, inputs, absl::MakeSpan(target)));
      for (const std::vector<std::byte>& array : arrays) checksum.Add(AsBytes(array));
      checksum.Add(AsBytes(target));
      continue;
    }
    int64_t label = 0;
    DS_RETURN_IF_ERROR(ReadImage(index, absl::MakeSpan(pixels), &label));
    checksum.Add(pixels);
    checksum.Add(label);
  }
  return DatasetDigest{checksum.Text(), absl::StrCat(indices.size(), " of ", of.size, " samples")};
}

}  // namespace ds
