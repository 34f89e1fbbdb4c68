#include "jobs/run/detect_job.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file/file.h"
#include "base/status.h"
#include "data/file_bytes.h"
#include "data/image/exif.h"
#include "data/image/image_codec.h"
#include "data/image/png_encoder.h"
#include "jobs/run/detect/average_precision.h"
#include "jobs/run/detect/drawing.h"
#include "jobs/run/detect/label_file.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<DecodedImage> ReadPicture(const std::string& path) {
  constexpr int64_t kMostBytes = int64_t{1} << 28;
  DS_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ReadFileBytes(path, kMostBytes));
  DS_ASSIGN_OR_RETURN(DecodedImage image, DecodeImage(bytes, path, {.channels = 3}));
  return Upright(std::move(image), ExifOrientation(bytes));
}

absl::StatusOr<std::vector<std::string>> ReadNames(const std::string& path) {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<std::string> names;
  for (const absl::string_view line :
       absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n'))
    names.emplace_back(absl::StripAsciiWhitespace(line));
  return names;
}

absl::Status Name(const std::string& path, std::vector<Detection>& detections) {
  std::vector<std::string> names;
  if (!path.empty()) {
    DS_ASSIGN_OR_RETURN(names, ReadNames(path));
  }
  for (Detection& detection : detections) {
    const auto label = static_cast<size_t>(detection.box.label);
    if (!path.empty() && label >= names.size()) {
      return absl::InvalidArgumentError(absl::StrCat("the model found class ", label, ", and '",
                                                     path, "' names ", names.size(),
                                                     " classes, one a line, from class 0 on"));
    }
    detection.name = path.empty() ? absl::StrCat(label) : names[label];
  }
  return absl::OkStatus();
}

absl::Status Draw(const std::vector<Detection>& detections, const std::string& path,
                  DecodedImage picture) {
  std::vector<Box> boxes;
  std::vector<std::string> captions;
  for (const Detection& detection : detections) {
    boxes.push_back(detection.box);
    captions.push_back(absl::StrFormat("%s %.2f", detection.name, detection.box.score));
  }
  DrawBoxes(boxes, captions, picture);
  DS_ASSIGN_OR_RETURN(const std::string png, EncodePng(picture));
  return WriteFileAtomically(path, png);
}

// The pictures of a folder, by name.
absl::StatusOr<std::vector<fs::path>> Pictures(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string ending = absl::AsciiStrToLower(entry.path().extension().string());
    if (ending == ".jpg" || ending == ".jpeg" || ending == ".png" || ending == ".webp")
      pictures.push_back(entry.path());
  }
  std::sort(pictures.begin(), pictures.end());
  if (!pictures.empty()) return pictures;
  return absl::NotFoundError(
      absl::StrCat("no picture (JPEG, PNG or WebP) in '", folder.string(),
                   "': a detector's data is a folder with images/NAME.jpg and labels/NAME.txt"));
}

// None where there is no file: a picture may show nothing.
absl::StatusOr<std::vector<Box>> TrueBoxes(const fs::path& path, const DecodedImage& picture) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::vector<Box>();
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.string()));
  return ParseLabelFile(text, path.string(), {picture.height, picture.width});
}

}  // namespace

absl::StatusOr<std::vector<Detection>> DetectInPicture(const DetectJobOptions& options) {
  DS_ASSIGN_OR_RETURN(Detector detector, Detector::Open(options.detector));
  DS_ASSIGN_OR_RETURN(DecodedImage picture, ReadPicture(options.picture));
  DS_ASSIGN_OR_RETURN(const std::vector<Box> boxes, detector.Detect(picture));
  std::vector<Detection> detections;
  for (const Box& box : boxes) detections.push_back({box, ""});
  DS_RETURN_IF_ERROR(Name(options.names, detections));
  if (!options.drawing.empty())
    DS_RETURN_IF_ERROR(Draw(detections, options.drawing, std::move(picture)));
  return detections;
}

absl::StatusOr<DetectScore> DetectOnData(const DetectJobOptions& options) {
  DS_ASSIGN_OR_RETURN(Detector detector, Detector::Open(options.detector));
  const fs::path data = options.data;
  DS_ASSIGN_OR_RETURN(std::vector<fs::path> pictures, Pictures(data / "images"));
  if (options.limit > 0 && static_cast<size_t>(options.limit) < pictures.size())
    pictures.resize(static_cast<size_t>(options.limit));
  AveragePrecision precision;
  for (const fs::path& path : pictures) {
    DS_ASSIGN_OR_RETURN(const DecodedImage picture, ReadPicture(path.string()));
    DS_ASSIGN_OR_RETURN(const std::vector<Box> truth,
                        TrueBoxes(data / "labels" / path.stem().concat(".txt"), picture));
    DS_ASSIGN_OR_RETURN(const std::vector<Box> found, detector.Detect(picture));
    precision.Add(found, truth);
  }
  return DetectScore{static_cast<int64_t>(pictures.size()), precision.true_boxes(),
                     precision.Mean(), precision.OfLabels(), detector.seconds()};
}

}  // namespace ds
