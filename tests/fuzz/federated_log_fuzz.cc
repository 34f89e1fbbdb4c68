// Any bytes as the last segment of a log, and as one before it: records, an end, or DataLoss;
// never a crash. What was read, written again, is what was read.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "federated/store/log_format.h"

namespace ds::federated {
namespace {

void Check(absl::Span<const std::byte> bytes, int64_t end) {
  const auto file = SpanReader(bytes);
  auto reader = SegmentReader::Open(*file, "fuzz", end);
  if (!reader.ok()) {
    DS_CHECK(absl::IsDataLoss(reader.status())) << reader.status();
    return;
  }
  std::string payload;
  while (true) {
    const int64_t offset = reader->offset(), number = reader->number();
    const auto more = reader->Next(payload);
    if (!more.ok()) {
      DS_CHECK(absl::IsDataLoss(more.status())) << more.status();
      return;
    }
    if (!*more) break;
    std::string again;
    const int64_t size = reader->offset() - offset;
    EncodeRecord(number, 0, payload, again);
    DS_CHECK(size == static_cast<int64_t>(again.size())) << offset;
    // The header's checksum covers `synced`, which the reader does not tell.
    DS_CHECK(std::string(reinterpret_cast<const char*>(bytes.data()) + offset + 32,
                         static_cast<size_t>(size) - 32) == again.substr(32))
        << offset;
  }
  DS_CHECK(reader->offset() <= static_cast<int64_t>(bytes.size()));
  // An end that was found once is the end for ever, as the next segment will say.
  if (end < 0) Check(bytes, reader->offset());
}

}  // namespace
}  // namespace ds::federated

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  ds::federated::Check(bytes, -1);
  ds::federated::Check(bytes, static_cast<int64_t>(size));
  return 0;
}
