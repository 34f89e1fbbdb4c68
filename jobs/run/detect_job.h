// What ds_run --task detect does: the boxes that a .dsm detector finds in a picture, or how good
// they are on a folder of pictures whose boxes are known.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/run/detect/box.h"
#include "jobs/run/detector.h"

namespace ds {

struct DetectJobOptions {
  DetectorOptions detector;
  std::string picture;  // JPEG, PNG or WebP
  std::string drawing;  // a PNG to write, the boxes drawn into the picture; empty: none
  std::string names;    // a text file, a class a line; empty: classes are numbers
  std::string data;     // a folder with images/NAME.jpg and labels/NAME.txt, as YOLO has them
  int64_t limit = 0;    // pictures of it; 0: all
};

struct Detection {
  Box box;  // in the picture's pixels, as it is meant to be seen (EXIF)
  std::string name;
};

// The highest score first. InvalidArgument where the model's input is no picture [1, 3, H, W] of
// floats, its outputs are no detector's, or the names are fewer than the classes found.
absl::StatusOr<std::vector<Detection>> DetectInPicture(const DetectJobOptions& options);

// Average precision at an intersection over union of 0.5, of each class and their mean; in [0, 1].
struct DetectScore {
  int64_t pictures = 0, true_boxes = 0;
  double mean = 0;
  std::map<int64_t, double> of_labels;
  double seconds = 0;  // in the engine alone
};

// The folder's pictures by name. Errors are those of DetectInPicture(), and of files that are not
// as they should be.
absl::StatusOr<DetectScore> DetectOnData(const DetectJobOptions& options);

enum class DetectionFormat { kTable, kJson, kCsv };
// Class, name, score, and the corners in pixels; all formats end with a line end.
std::string DetectionText(const std::vector<Detection>& detections, DetectionFormat format);
std::string ScoreText(const DetectScore& score, DetectionFormat format);

}  // namespace ds
