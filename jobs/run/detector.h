// A .dsm detector: from a picture to its boxes.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/image/image_codec.h"
#include "jobs/run/detect/box.h"
#include "jobs/run/detect/suppression.h"
#include "jobs/run/detect/yolo.h"
#include "jobs/run/engine_session.h"

namespace ds {

struct DetectorOptions {
  EngineSessionOptions engine;
  YoloOptions yolo;
  SuppressionOptions suppression;
};

class Detector {
 public:
  // InvalidArgument where the model's input is no picture [1, 3, H, W] of floats.
  static absl::StatusOr<Detector> Open(const DetectorOptions& options);

  // Boxes in the picture's pixels, the highest score first. InvalidArgument where the model's
  // outputs are no detector's. The picture has three channels.
  absl::StatusOr<std::vector<Box>> Detect(const DecodedImage& picture);
  // In the engine alone, so far.
  double seconds() const { return seconds_; }

 private:
  Detector(DetectorOptions options, std::unique_ptr<engine::Session> session, ImageSize input)
      : options_(std::move(options)), session_(std::move(session)), input_(input) {}

  DetectorOptions options_;
  std::unique_ptr<engine::Session> session_;
  ImageSize input_;
  double seconds_ = 0;
};

}  // namespace ds
