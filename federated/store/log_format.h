// The bytes of a log's segment files (docs/federated-log.md): a header, then records, each with
// checksums of its header and its payload. Decides what a damaged end is: the rest of a write that
// was never acknowledged, or damage to what was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/store/store.h"

namespace ds::federated {

constexpr int64_t kSegmentHeaderBytes = 40;
constexpr int64_t kRecordOverheadBytes = 33;  // header of 32 and the end mark
constexpr int64_t kMaximumRecordBytes = int64_t{16} << 20;

struct SegmentHeader {
  uint32_t segment = 1;      // its place in the log, from 1
  int64_t first = 0;         // number of its first record
  int64_t previous_end = 0;  // bytes of the segment before that count; what follows there is void
};

std::string EncodeSegmentHeader(const SegmentHeader& header);
// DataLoss with `name` for anything else.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(absl::string_view bytes, const std::string& name);

// Appends a record to `out`. `synced`: bytes of the segment that are known to be on the disk.
void EncodeRecord(int64_t number, int64_t synced, absl::string_view payload, std::string& out);

// One segment's records, in order, each read as it is asked for.
class SegmentReader {
 public:
  // `file` outlives it; `name` is for messages. `end`: bytes that count, as the next segment says;
  // -1 for the last segment, whose end may be torn. DataLoss: no segment.
  static absl::StatusOr<SegmentReader> Open(const BlobReader& file, std::string name, int64_t end);

  const SegmentHeader& header() const { return header_; }
  // False at the end. DataLoss with name and offset for damage that no torn write explains.
  absl::StatusOr<bool> Next(std::string& payload);
  // Of the next record: after the last one, how many bytes count.
  int64_t offset() const { return offset_; }
  int64_t number() const { return number_; }

 private:
  struct Frame {  // a record's header
    int64_t length = 0, number = 0, synced = 0;
    uint32_t payload_crc = 0;
  };

  SegmentReader(const BlobReader& file, std::string name) : file_(&file), name_(std::move(name)) {}
  absl::Status Damaged(absl::string_view what) const;
  // The file's bytes [offset, offset + count), from the block read last where they lie in it.
  absl::StatusOr<absl::string_view> Look(int64_t offset, int64_t count);
  static bool DecodeFrame(absl::string_view bytes, Frame& frame);
  // Empty, or what is wrong with the record at offset().
  absl::StatusOr<std::string> Fault(std::string& payload, Frame& frame, bool& has_frame);
  absl::StatusOr<bool> IsTorn(const Frame& frame, bool has_frame);
  absl::StatusOr<bool> HasEmptySector(int64_t begin, int64_t end);
  // A record behind `from` that was written when offset() was already on the disk.
  absl::StatusOr<bool> LaterRecordKnowsThis(int64_t from);

  const BlobReader* file_;
  std::string name_;
  SegmentHeader header_;
  int64_t end_ = 0;
  bool may_be_torn_ = false;
  int64_t offset_ = kSegmentHeaderBytes;
  int64_t number_ = 0;
  std::string block_;
  int64_t block_offset_ = 0;
};

}  // namespace ds::federated
