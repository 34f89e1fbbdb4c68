#include "federated/store/log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "federated/store/file_reader.h"
#include "federated/store/log_format.h"

namespace ds::federated {
namespace {

constexpr absl::string_view kSuffix = ".log";
constexpr absl::string_view kTemporary = ".new";

}  // namespace

std::string Log::PathOf(uint32_t segment) const {
  return absl::StrFormat("%s/%08d%s", folder_, segment, kSuffix);
}

absl::StatusOr<std::vector<uint32_t>> Log::FindSegments() const {
  DS_ASSIGN_OR_RETURN(const auto entries, FileSystem::Default().List(folder_));
  std::vector<uint32_t> found;
  for (const auto& entry : entries) {
    absl::string_view name = entry.name;
    uint32_t number = 0;
    // What a crash left of a segment that was being made.
    if (absl::EndsWith(name, kTemporary))
      DS_RETURN_IF_ERROR(FileSystem::Default().RemoveFile(absl::StrCat(folder_, "/", name)));
    if (absl::ConsumeSuffix(&name, kSuffix) && absl::SimpleAtoi(name, &number))
      found.push_back(number);
  }
  std::sort(found.begin(), found.end());
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] != i + 1)
      return absl::DataLossError(absl::StrCat(PathOf(static_cast<uint32_t>(i + 1)),
                                              " is missing; restore it from a copy, or remove the "
                                              "folder to begin a new run"));
  }
  return found;
}

absl::StatusOr<std::unique_ptr<Log>> Log::Open(std::string folder) {
  std::unique_ptr<Log> log(new Log(std::move(folder)));
  DS_ASSIGN_OR_RETURN(const std::vector<uint32_t> found, log->FindSegments());
  if (found.empty()) {
    DS_RETURN_IF_ERROR(log->Begin(0));
  } else {
    DS_RETURN_IF_ERROR(log->OpenLast(found));
  }
  return log;
}

absl::Status Log::OpenLast(const std::vector<uint32_t>& found) {
  std::vector<Segment> segments;
  for (const uint32_t number : found) {
    DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(PathOf(number)));
    DS_ASSIGN_OR_RETURN(const auto reader, SegmentReader::Open(*file, PathOf(number), -1));
    if (reader.header().segment != number)
      return absl::DataLossError(absl::StrCat(PathOf(number), " at byte 0: it is segment ",
                                              reader.header().segment, ", under another's name"));
    if (!segments.empty()) segments.back().end = reader.header().previous_end;
    segments.push_back({number, 0});
  }
  Segment& last = segments.back();
  const std::string path = PathOf(last.number);
  DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(path));
  DS_ASSIGN_OR_RETURN(auto reader, SegmentReader::Open(*file, path, -1));
  std::string payload;
  bool more = true;
  while (more) {
    DS_ASSIGN_OR_RETURN(more, reader.Next(payload));
  }
  last.end = reader.offset();
  // Records that a killed process had handed to the system but not synced will be acted upon.
  DS_ASSIGN_OR_RETURN(file_, FileSystem::Default().Open(path, FileSystem::OpenMode::kAppend));
  DS_RETURN_IF_ERROR(file_->Sync());
  last_ = last;
  const bool torn = last.end != file->size();
  {
    MutexLock lock(mutex_);
    segments_ = std::move(segments);
    durable_ = taken_ = reader.number();
  }
  return torn ? Begin(reader.number()) : absl::OkStatus();
}

absl::Status Log::Begin(int64_t first) {
  FileSystem& files = FileSystem::Default();
  SegmentHeader header;
  header.segment = last_.number + 1;
  header.first = first;
  header.previous_end = last_.end;
  const std::string path = PathOf(header.segment), temporary = absl::StrCat(path, kTemporary);
  DS_ASSIGN_OR_RETURN(auto file, files.Open(temporary, FileSystem::OpenMode::kReplace));
  DS_RETURN_IF_ERROR(file->Append(EncodeSegmentHeader(header)));
  DS_RETURN_IF_ERROR(file->Sync());
  DS_RETURN_IF_ERROR(files.Rename(temporary, path));
  DS_RETURN_IF_ERROR(files.SyncFolder(folder_));
  file_ = std::move(file);
  last_ = {header.segment, kSegmentHeaderBytes};
  MutexLock lock(mutex_);
  segments_.push_back(last_);
  return absl::OkStatus();
}

absl::Status Log::Write(const std::vector<absl::string_view>& records, int64_t first) {
  if (last_.end > kSegmentBytes) DS_RETURN_IF_ERROR(Begin(first));
  std::string bytes;
  for (size_t i = 0; i < records.size(); ++i)
    EncodeRecord(first + static_cast<int64_t>(i), last_.end, records[i], bytes);
  DS_RETURN_IF_ERROR(file_->Append(bytes));
  DS_RETURN_IF_ERROR(file_->Sync());
  last_.end += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Log::Append(absl::string_view record) {
  if (static_cast<int64_t>(record.size()) > kMaximumRecordBytes)
    return absl::InvalidArgumentError(absl::StrCat("a log record of ", record.size(),
                                                   " bytes; at most ", kMaximumRecordBytes,
                                                   " are allowed, put the rest into a blob"));
  MutexLock lock(mutex_);
  const auto refused = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the log in ", folder_, " takes no more records, since one could not be written (",
        broken_.message(), "); mend that and start the program again"));
  };
  if (!broken_.ok()) return refused();
  const int64_t number = taken_++;
  waiting_.push_back(record);
  while (durable_ <= number) {
    if (!broken_.ok()) return refused();
    if (writing_) {
      written_.Wait(mutex_);
      continue;
    }
    // Nobody writes: this thread does, for all that wait.
    writing_ = true;
    const std::vector<absl::string_view> records = std::exchange(waiting_, {});
    const int64_t first = durable_;
    absl::Status status;
    {
      MutexUnlock unlocked(mutex_);
      status = Write(records, first);
    }
    writing_ = false;
    written_.NotifyAll();
    if (!status.ok()) {
      broken_ = status;
      return status;
    }
    durable_ += static_cast<int64_t>(records.size());
    segments_.back().end = last_.end;
  }
  return number;
}

absl::Status Log::ReplaySegment(
    const Segment& segment,
    absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit,
    int64_t& next) const {
  const std::string path = PathOf(segment.number);
  DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(path));
  DS_ASSIGN_OR_RETURN(auto reader, SegmentReader::Open(*file, path, segment.end));
  if (reader.header().first != next)
    return absl::DataLossError(absl::StrCat(path, " at byte 0: it begins with record ",
                                            reader.header().first, ", not ", next,
                                            "; restore the folder from a copy"));
  std::string payload;
  while (true) {
    DS_ASSIGN_OR_RETURN(const bool more, reader.Next(payload));
    if (!more) return absl::OkStatus();
    DS_RETURN_IF_ERROR(visit(next, payload));
    ++next;
  }
}

absl::Status Log::Replay(
    absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit) {
  std::vector<Segment> segments;
  {
    MutexLock lock(mutex_);
    segments = segments_;
  }
  int64_t next = 0;
  for (const Segment& segment : segments) DS_RETURN_IF_ERROR(ReplaySegment(segment, visit, next));
  return absl::OkStatus();
}

}  // namespace ds::federated
