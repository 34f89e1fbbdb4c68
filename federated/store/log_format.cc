#include "federated/store/log_format.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr absl::string_view kSegmentMagic = "DSFEDLOG";
constexpr uint32_t kFormatVersion = 1;
// No byte of it is 0: a sector that was lost and reads as zeros shows at both ends of a record.
constexpr absl::string_view kRecordMagic = "DSR1";
constexpr char kEndMark = '\n';
constexpr int64_t kRecordHeaderBytes = 32;
// What a disk writes whole or not at all.
constexpr int64_t kSectorBytes = 512;
constexpr int64_t kBlockBytes = 256 << 10;

template <typename T>
void Put(T value, std::string& out) {
  for (size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
}

uint64_t Get(absl::string_view bytes, size_t offset, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i)
    value |= uint64_t{static_cast<unsigned char>(bytes[offset + i])} << (8 * i);
  return value;
}

uint32_t Checksum(absl::string_view bytes) { return MaskCrc32c(Crc32c(bytes)); }

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string out(kSegmentMagic);
  Put<uint32_t>(kFormatVersion, out);
  Put<uint32_t>(header.segment, out);
  Put<int64_t>(header.first, out);
  Put<int64_t>(header.previous_end, out);
  Put<uint32_t>(0, out);
  Put<uint32_t>(Checksum(out), out);
  return out;
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(absl::string_view bytes,
                                                  const std::string& name) {
  const auto damaged = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(name, " at byte 0: ", what,
                                            "; restore the folder from a copy, or remove it to "
                                            "begin a new run"));
  };
  if (static_cast<int64_t>(bytes.size()) < kSegmentHeaderBytes)
    return damaged("it is too short for a log segment");
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  if (bytes.substr(0, kSegmentMagic.size()) != kSegmentMagic)
    return damaged("this is no log segment");
  if (Get(bytes, 36, 4) != Checksum(bytes.substr(0, 36)))
    return damaged("the segment's header does not fit its checksum");
  if (Get(bytes, 8, 4) != kFormatVersion || Get(bytes, 32, 4) != 0)
    return damaged(
        absl::StrCat("the segment has format ", Get(bytes, 8, 4), ", which a newer program wrote"));
  SegmentHeader header;
  header.segment = static_cast<uint32_t>(Get(bytes, 12, 4));
  header.first = static_cast<int64_t>(Get(bytes, 16, 8));
  header.previous_end = static_cast<int64_t>(Get(bytes, 24, 8));
  if (header.segment < 1 || header.first < 0 || header.previous_end < 0)
    return damaged("the segment's header has a negative count");
  return header;
}

void EncodeRecord(int64_t number, int64_t synced, absl::string_view payload, std::string& out) {
  std::string checked;
  Put<uint32_t>(static_cast<uint32_t>(payload.size()), checked);
  Put<uint32_t>(Checksum(payload), checked);
  Put<int64_t>(number, checked);
  Put<int64_t>(synced, checked);
  absl::StrAppend(&out, kRecordMagic);
  Put<uint32_t>(Checksum(checked), out);
  absl::StrAppend(&out, checked, payload);
  out.push_back(kEndMark);
}

absl::StatusOr<SegmentReader> SegmentReader::Open(const BlobReader& file, std::string name,
                                                  int64_t end) {
  SegmentReader reader(file, std::move(name));
  DS_ASSIGN_OR_RETURN(const absl::string_view head,
                      reader.Look(0, std::min(file.size(), kSegmentHeaderBytes)));
  DS_ASSIGN_OR_RETURN(reader.header_, DecodeSegmentHeader(head, reader.name_));
  reader.number_ = reader.header_.first;
  reader.may_be_torn_ = end < 0;
  reader.end_ = end < 0 ? file.size() : end;
  if (reader.end_ > file.size() || reader.end_ < kSegmentHeaderBytes)
    return reader.Damaged(absl::StrCat("the file has ", file.size(),
                                       " bytes, but the next segment says that ", end, " count"));
  return reader;
}

absl::Status SegmentReader::Damaged(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat(
      name_, " at byte ", offset_, ", record ", number_, ": ", what,
      "; this is no torn write: records that were acknowledged are lost. Restore the folder from a "
      "copy, or remove it to begin a new run"));
}

absl::StatusOr<absl::string_view> SegmentReader::Look(int64_t offset, int64_t count) {
  const auto in_block = [&] {
    return offset >= block_offset_ &&
           offset + count <= block_offset_ + static_cast<int64_t>(block_.size());
  };
  if (!in_block()) {
    block_.resize(
        static_cast<size_t>(std::min(file_->size() - offset, std::max(count, kBlockBytes))));
    block_offset_ = offset;
    DS_RETURN_IF_ERROR(file_->Read(
        offset, absl::MakeSpan(reinterpret_cast<std::byte*>(block_.data()), block_.size())));
  }
  return absl::string_view(block_).substr(static_cast<size_t>(offset - block_offset_),
                                          static_cast<size_t>(count));
}

bool SegmentReader::DecodeFrame(absl::string_view bytes, Frame& frame) {
  if (bytes.substr(0, kRecordMagic.size()) != kRecordMagic ||
      Get(bytes, 4, 4) != Checksum(bytes.substr(8, kRecordHeaderBytes - 8)))
    return false;
  frame.length = static_cast<int64_t>(Get(bytes, 8, 4));
  frame.payload_crc = static_cast<uint32_t>(Get(bytes, 12, 4));
  frame.number = static_cast<int64_t>(Get(bytes, 16, 8));
  frame.synced = static_cast<int64_t>(Get(bytes, 24, 8));
  return true;
}

absl::StatusOr<std::string> SegmentReader::Fault(std::string& payload, Frame& frame,
                                                 bool& has_frame) {
  has_frame = false;
  if (end_ - offset_ < kRecordHeaderBytes) return "the file ends inside a record's header";
  DS_ASSIGN_OR_RETURN(const absl::string_view head, Look(offset_, kRecordHeaderBytes));
  has_frame = DecodeFrame(head, frame);
  if (!has_frame) return "a record's header does not fit its checksum";
  if (frame.length > kMaximumRecordBytes || frame.number != number_ || frame.synced > offset_ ||
      frame.synced < 0)
    return absl::StrCat("a record says that it is number ", frame.number, " with ", frame.length,
                        " bytes, written behind byte ", frame.synced);
  if (end_ - offset_ < frame.length + kRecordOverheadBytes) return "the file ends inside a record";
  DS_ASSIGN_OR_RETURN(const absl::string_view body,
                      Look(offset_ + kRecordHeaderBytes, frame.length + 1));
  const absl::string_view bytes = body.substr(0, body.size() - 1);
  if (Checksum(bytes) != frame.payload_crc || body.back() != kEndMark)
    return "a record does not fit its checksum";
  payload.assign(bytes.data(), bytes.size());
  return "";
}

absl::StatusOr<bool> SegmentReader::Next(std::string& payload) {
  if (offset_ == end_) return false;
  Frame frame;
  bool has_frame = false;
  DS_ASSIGN_OR_RETURN(const std::string fault, Fault(payload, frame, has_frame));
  if (fault.empty()) {
    offset_ += frame.length + kRecordOverheadBytes;
    ++number_;
    return true;
  }
  if (!may_be_torn_) return Damaged(fault);
  DS_ASSIGN_OR_RETURN(const bool torn, IsTorn(frame, has_frame));
  if (!torn) return Damaged(fault);
  end_ = offset_;
  return false;
}

// A write that did not come through leaves a shorter file, or sectors of zeros, in its own bytes.
absl::StatusOr<bool> SegmentReader::IsTorn(const Frame& frame, bool has_frame) {
  if (end_ - offset_ < kRecordHeaderBytes) return true;
  if (!has_frame) {
    DS_ASSIGN_OR_RETURN(const bool lost, HasEmptySector(offset_, offset_ + kRecordHeaderBytes));
    if (!lost) return false;
    DS_ASSIGN_OR_RETURN(const bool known, LaterRecordKnowsThis(offset_ + 1));
    return !known;
  }
  const int64_t record_end = offset_ + frame.length + kRecordOverheadBytes;
  // A header that fits its checksum and yet cannot be: nothing torn makes that.
  if (frame.length > kMaximumRecordBytes || frame.number != number_ || frame.synced > offset_ ||
      frame.synced < 0)
    return false;
  if (record_end > end_) return true;
  DS_ASSIGN_OR_RETURN(const bool lost, HasEmptySector(offset_, record_end));
  if (!lost) return false;
  DS_ASSIGN_OR_RETURN(const bool known, LaterRecordKnowsThis(record_end));
  return !known;
}

// Is there a sector of the disk of which all bytes within [begin, end) are 0?
absl::StatusOr<bool> SegmentReader::HasEmptySector(int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end;) {
    const int64_t next = std::min(end, (at / kSectorBytes + 1) * kSectorBytes);
    DS_ASSIGN_OR_RETURN(const absl::string_view piece, Look(at, next - at));
    if (std::all_of(piece.begin(), piece.end(), [](char byte) { return byte == 0; })) return true;
    at = next;
  }
  return false;
}

absl::StatusOr<bool> SegmentReader::LaterRecordKnowsThis(int64_t from) {
  for (int64_t at = from; at + kRecordHeaderBytes <= end_;) {
    const int64_t count = std::min(end_ - at, kBlockBytes);
    DS_ASSIGN_OR_RETURN(const absl::string_view bytes, Look(at, count));
    const size_t found = bytes.find(kRecordMagic);
    if (found == absl::string_view::npos) {
      at += count - static_cast<int64_t>(kRecordMagic.size()) + 1;
      continue;
    }
    at += static_cast<int64_t>(found);
    if (end_ - at < kRecordHeaderBytes) return false;
    Frame frame;
    DS_ASSIGN_OR_RETURN(const absl::string_view head, Look(at, kRecordHeaderBytes));
    if (DecodeFrame(head, frame) && frame.number > number_ && frame.synced > offset_) return true;
    ++at;
  }
  return false;
}

}  // namespace ds::federated
