#include "report/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <chrono>

#include "absl/strings/str_format.h"
#include "base/crc32c.h"
#include "base/file/file.h"
#include "base/status.h"

namespace ds {
namespace {

// Fields of Event, Summary, Summary.Value and SessionLog, as TensorFlow numbers them.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5,
              kEventSessionLog = 7;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueSimple = 2;
constexpr int kSessionStatus = 1;
constexpr uint64_t kSessionStart = 1;

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <typename T>
void AppendLittleEndian(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendKey(int field, WireType type, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | type, out);
}

void AppendBytes(int field, absl::string_view bytes, std::string* out) {
  AppendKey(field, kBytes, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}

std::string EventAt(double wall_time_s) {
  std::string event;
  AppendKey(kEventWallTime, kFixed64, &event);
  AppendLittleEndian(std::bit_cast<uint64_t>(wall_time_s), &event);
  return event;
}

std::string EventAt(double wall_time_s, int64_t step) {
  std::string event = EventAt(wall_time_s);
  AppendKey(kEventStep, kVarint, &event);
  AppendVarint(static_cast<uint64_t>(step), &event);
  return event;
}

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

}  // namespace

std::string TfRecord(absl::string_view payload) {
  std::string record;
  AppendLittleEndian(uint64_t{payload.size()}, &record);
  AppendLittleEndian(MaskCrc32c(Crc32c(record)), &record);
  record.append(payload.data(), payload.size());
  AppendLittleEndian(MaskCrc32c(Crc32c(payload)), &record);
  return record;
}

std::string VersionEvent(double wall_time_s) {
  std::string event = EventAt(wall_time_s);
  AppendBytes(kEventFileVersion, "brain.Event:2", &event);
  return event;
}

std::string ScalarEvent(double wall_time_s, int64_t step, absl::string_view tag, float value) {
  std::string entry, summary;
  AppendBytes(kValueTag, tag, &entry);
  AppendKey(kValueSimple, kFixed32, &entry);
  AppendLittleEndian(std::bit_cast<uint32_t>(value), &entry);
  AppendBytes(kSummaryValue, entry, &summary);
  std::string event = EventAt(wall_time_s, step);
  AppendBytes(kEventSummary, summary, &event);
  return event;
}

std::string RestartEvent(double wall_time_s, int64_t step) {
  std::string session;
  AppendKey(kSessionStatus, kVarint, &session);
  AppendVarint(kSessionStart, &session);
  std::string event = EventAt(wall_time_s, step);
  AppendBytes(kEventSessionLog, session, &event);
  return event;
}

absl::StatusOr<std::unique_ptr<TensorBoardWriter>> TensorBoardWriter::Open(
    const std::string& folder, int64_t resume_step) {
  DS_RETURN_IF_ERROR(MakeFolders(folder));
  const double now = WallSeconds();
  // Microseconds and the process keep two files of one second apart; TensorBoard reads them in the
  // order of names.
  const std::string path =
      absl::StrFormat("%s/events.out.tfevents.%017.6f.%s.%d", folder, now, HostName(), getpid());
  DS_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                      FileSystem::Default().Open(path, FileSystem::OpenMode::kReplace));
  DS_RETURN_IF_ERROR(FileSystem::Default().SyncFolder(folder));
  std::unique_ptr<TensorBoardWriter> writer(new TensorBoardWriter(path, std::move(file)));
  DS_RETURN_IF_ERROR(writer->Write(VersionEvent(now)));
  if (resume_step >= 0) DS_RETURN_IF_ERROR(writer->Write(RestartEvent(now, resume_step + 1)));
  return writer;
}

absl::Status TensorBoardWriter::AddScalar(absl::string_view tag, int64_t step, double value) {
  return Write(ScalarEvent(WallSeconds(), step, tag, static_cast<float>(value)));
}

absl::Status TensorBoardWriter::Write(absl::string_view event) {
  return file_->Append(TfRecord(event));
}

}  // namespace ds
