#include "jobs/run/detect_job.h"

#include <algorithm>
#include <memory>
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
#include "jobs/run/detect/drawing.h"
#include "jobs/run/detect/letterbox.h"

namespace ds {
namespace {

using engine::Port;
using engine::Session;

absl::StatusOr<DecodedImage> ReadPicture(const std::string& path) {
  constexpr int64_t kMostBytes = int64_t{1} << 28;
  DS_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ReadFileBytes(path, kMostBytes));
  DS_ASSIGN_OR_RETURN(DecodedImage image, DecodeImage(bytes, path, {.channels = 3}));
  return Upright(std::move(image), ExifOrientation(bytes));
}

absl::StatusOr<ImageSize> InputSize(const Session& session, const std::string& model) {
  const Port* in = session.input_count() == 1 ? &session.input(0) : nullptr;
  if (in != nullptr && in->type == engine::file::Type::kFloat32 && in->dims.size() == 4 &&
      in->dims[0] == 1 && in->dims[1] == 3) {
    return ImageSize{in->dims[2], in->dims[3]};
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", model, "' takes ",
      in == nullptr ? absl::StrCat(session.input_count(), " inputs") : DimsText(in->dims),
      ", not one picture of floats [1, 3, H, W]; write the file with --batch 1"));
}

// The numbers of an output; codes as what they stand for.
absl::StatusOr<std::vector<float>> Numbers(const Port& port) {
  if (port.type == engine::file::Type::kFloat32) {
    const auto* values = static_cast<const float*>(port.data);
    return std::vector<float>(values, values + port.bytes / static_cast<int64_t>(sizeof(float)));
  }
  if (port.type != engine::file::Type::kUint8) {
    return absl::InvalidArgumentError(absl::StrCat("output '", std::string(port.name),
                                                   "' of the model is neither floats nor codes"));
  }
  const auto* codes = static_cast<const uint8_t*>(port.data);
  std::vector<float> values(static_cast<size_t>(port.bytes));
  std::transform(codes, codes + port.bytes, values.begin(), [&](uint8_t code) {
    return port.scale * static_cast<float>(static_cast<int32_t>(code) - port.zero_point);
  });
  return values;
}

absl::StatusOr<std::vector<Box>> Boxes(const Session& session, const ImageSize& input,
                                       const YoloOptions& options) {
  std::vector<std::vector<float>> numbers;
  std::vector<YoloOutput> outputs;
  for (int i = 0; i < session.output_count(); ++i) {
    DS_ASSIGN_OR_RETURN(std::vector<float> values, Numbers(session.output(i)));
    numbers.push_back(std::move(values));  // what the spans below see stays where it is
    const auto& dims = session.output(i).dims;
    outputs.push_back({{dims.begin(), dims.end()}, numbers.back()});
  }
  return DecodeYolo(outputs, input, options);
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

}  // namespace

absl::StatusOr<std::vector<Detection>> DetectInPicture(const DetectJobOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, OpenSession(options.engine));
  DS_ASSIGN_OR_RETURN(const ImageSize input, InputSize(*session, options.engine.model));
  DS_ASSIGN_OR_RETURN(DecodedImage picture, ReadPicture(options.picture));
  const std::vector<float> values = LetterboxedPicture(picture, input);
  std::copy(values.begin(), values.end(), static_cast<float*>(session->input(0).data));
  session->Run();
  DS_ASSIGN_OR_RETURN(std::vector<Box> boxes, Boxes(*session, input, options.yolo));
  const ImageSize size{picture.height, picture.width};
  const Letterbox place = FitInto(size, input);
  std::vector<Detection> detections;
  for (const Box& box : Suppress(std::move(boxes), options.suppression))
    detections.push_back({InPicture(box, place, size), ""});
  DS_RETURN_IF_ERROR(Name(options.names, detections));
  if (!options.drawing.empty())
    DS_RETURN_IF_ERROR(Draw(detections, options.drawing, std::move(picture)));
  return detections;
}

}  // namespace ds
