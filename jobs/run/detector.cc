#include "jobs/run/detector.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "jobs/run/detect/letterbox.h"

namespace ds {
namespace {

using engine::Port;
using engine::Session;

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

}  // namespace

absl::StatusOr<Detector> Detector::Open(const DetectorOptions& options) {
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, OpenSession(options.engine));
  DS_ASSIGN_OR_RETURN(const ImageSize input, InputSize(*session, options.engine.model));
  return Detector(options, std::move(session), input);
}

absl::StatusOr<std::vector<Box>> Detector::Detect(const DecodedImage& picture) {
  const std::vector<float> values = LetterboxedPicture(picture, input_);
  std::copy(values.begin(), values.end(), static_cast<float*>(session_->input(0).data));
  const auto begin = std::chrono::steady_clock::now();
  session_->Run();
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  DS_ASSIGN_OR_RETURN(std::vector<Box> boxes, Boxes(*session_, input_, options_.yolo));
  boxes = Suppress(std::move(boxes), options_.suppression);
  const ImageSize size{picture.height, picture.width};
  const Letterbox place = FitInto(size, input_);
  for (Box& box : boxes) box = InPicture(box, place, size);
  return boxes;
}

}  // namespace ds
