// What ds_run --task detect does: the boxes that a .dsm detector finds in a picture.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/run/detect/box.h"
#include "jobs/run/detect/suppression.h"
#include "jobs/run/detect/yolo.h"
#include "jobs/run/engine_session.h"

namespace ds {

struct DetectJobOptions {
  EngineSessionOptions engine;
  std::string picture;  // JPEG, PNG or WebP
  std::string drawing;  // a PNG to write, the boxes drawn into the picture; empty: none
  std::string names;    // a text file, a class a line; empty: classes are numbers
  YoloOptions yolo;
  SuppressionOptions suppression;
};

struct Detection {
  Box box;  // in the picture's pixels, as it is meant to be seen (EXIF)
  std::string name;
};

// The highest score first. InvalidArgument where the model's input is no picture [1, 3, H, W] of
// floats, its outputs are no detector's, or the names are fewer than the classes found.
absl::StatusOr<std::vector<Detection>> DetectInPicture(const DetectJobOptions& options);

enum class DetectionFormat { kTable, kJson, kCsv };
// Class, name, score, and the corners in pixels; all formats end with a line end.
std::string DetectionText(const std::vector<Detection>& detections, DetectionFormat format);

}  // namespace ds
