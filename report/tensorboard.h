// Scalars for TensorBoard, written without it: a file of TFRecords, each an Event protocol buffer.
//
// A record is: length (uint64), masked CRC-32C of the length (uint32), the bytes, masked CRC-32C of
// the bytes (uint32); all little-endian; masked: rotated right by 15 bits, plus 0xa282ead8. The
// first Event carries the file version, each later one a step and one scalar.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file/file_system.h"

namespace ds {

// One framed record.
std::string TfRecord(absl::string_view payload);
// Event{wall_time, file_version: "brain.Event:2"}.
std::string VersionEvent(double wall_time_s);
// Event{wall_time, step, summary{value{tag, simple_value}}}.
std::string ScalarEvent(double wall_time_s, int64_t step, absl::string_view tag, float value);
// Event{wall_time, step, session_log{status: START}}: TensorBoard forgets what earlier files say
// from `step` on.
std::string RestartEvent(double wall_time_s, int64_t step);

class TensorBoardWriter {
 public:
  // A new events.out.tfevents.* in `folder` (made if it is not there). `resume_step` >= 0: this run
  // goes on after that step, and later steps of the earlier files are to be forgotten.
  static absl::StatusOr<std::unique_ptr<TensorBoardWriter>> Open(const std::string& folder,
                                                                 int64_t resume_step = -1);

  // Now is the wall time. Tags with '/' are grouped ("loss/train"). Handed to the system at once.
  absl::Status AddScalar(absl::string_view tag, int64_t step, double value);
  // What was added so far is on the disk.
  absl::Status Sync() { return file_->Sync(); }
  const std::string& path() const { return path_; }

 private:
  TensorBoardWriter(std::string path, std::unique_ptr<WritableFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status Write(absl::string_view event);

  std::string path_;
  std::unique_ptr<WritableFile> file_;
};

}  // namespace ds
