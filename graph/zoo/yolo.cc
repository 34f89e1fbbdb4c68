// yolo_nano: a one-stage detector over three scales.
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/zoo/builtin.h"

namespace ds::zoo {

namespace {

constexpr int64_t kAnchorsPerCell = 3;
constexpr int64_t kBoxNumbers = 5;  // x, y, width, height, objectness

ValueId Cbs(Builder& b, ValueId x, const std::string& name, const ConvOptions& options) {
  return b.Op("SiLU", {b.BatchNorm(b.Conv(x, name + ".conv", options), name + ".bn")});
}

// Cross-stage partial block: one half passes `count` bottlenecks, the other goes straight.
ValueId C3(Builder& b, ValueId x, const std::string& name, int64_t channels, int count,
           bool shortcut) {
  const int64_t half = channels / 2;
  ValueId left = Cbs(b, x, name + ".cv1", {.channels = half, .kernel = 1});
  const ValueId right = Cbs(b, x, name + ".cv2", {.channels = half, .kernel = 1});
  for (int i = 0; i < count; ++i) {
    const std::string inner = absl::StrCat(name, ".m.", i);
    const ValueId y = Cbs(b, Cbs(b, left, inner + ".cv1", {.channels = half, .kernel = 1}),
                          inner + ".cv2", {.channels = half});
    left = shortcut ? b.Add(left, y) : y;
  }
  return Cbs(b, b.Concat({left, right}, 1), name + ".cv3", {.channels = channels, .kernel = 1});
}

// Spatial pyramid pooling: three max pools in a row see what pools of 5, 9 and 13 would.
ValueId Sppf(Builder& b, ValueId x, const std::string& name, int64_t channels) {
  const ValueId first = Cbs(b, x, name + ".cv1", {.channels = channels / 2, .kernel = 1});
  const PoolOptions pool{.kernel = 5, .stride = 1, .padding = 2};
  const ValueId second = b.MaxPool(first, pool);
  const ValueId third = b.MaxPool(second, pool);
  const ValueId fourth = b.MaxPool(third, pool);
  return Cbs(b, b.Concat({first, second, third, fourth}, 1), name + ".cv2",
             {.channels = channels, .kernel = 1});
}

ValueId Upsample(Builder& b, ValueId x, ValueId scales) {
  return b.Op("Resize", {x, kNoValue, scales},
              {{"mode", std::string("nearest")},
               {"coordinate_transformation_mode", std::string("asymmetric")},
               {"nearest_mode", std::string("floor")}});
}

void Detect(Builder& b, ValueId x, const std::string& name, int64_t classes) {
  b.Output(
      b.Conv(x, "detect." + name,
             {.channels = kAnchorsPerCell * (kBoxNumbers + classes), .kernel = 1, .bias = true}),
      name);
}

}  // namespace

absl::StatusOr<Graph> YoloNano(const ModelOptions& options) {
  if (options.height % 32 != 0 || options.width % 32 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("yolo_nano needs a height and a width that are "
                     "multiples of 32 pixels, not ",
                     options.height, "x", options.width, "; pad or resize the images"));
  }
  Builder b("yolo_nano", options.seed);
  ValueId x = b.Input("input", DType::kFloat32,
                      {kDynamicDim, options.channels, options.height, options.width});
  x = Cbs(b, x, "backbone.0", {.channels = 16, .kernel = 6, .stride = 2, .padding = 2});
  x = C3(b, Cbs(b, x, "backbone.1", {.channels = 32, .stride = 2}), "backbone.2", 32, 1, true);
  const ValueId c3 =
      C3(b, Cbs(b, x, "backbone.3", {.channels = 64, .stride = 2}), "backbone.4", 64, 2, true);
  const ValueId c4 =
      C3(b, Cbs(b, c3, "backbone.5", {.channels = 128, .stride = 2}), "backbone.6", 128, 3, true);
  x = C3(b, Cbs(b, c4, "backbone.7", {.channels = 256, .stride = 2}), "backbone.8", 256, 1, true);
  x = Sppf(b, x, "backbone.9", 256);

  const ValueId scales =
      b.Constant("upsample_scales", Tensor::From<float>({4}, {1.0f, 1.0f, 2.0f, 2.0f}));
  const ValueId top = Cbs(b, x, "neck.0", {.channels = 128, .kernel = 1});
  x = C3(b, b.Concat({Upsample(b, top, scales), c4}, 1), "neck.1", 128, 1, false);
  const ValueId middle = Cbs(b, x, "neck.2", {.channels = 64, .kernel = 1});
  const ValueId p3 = C3(b, b.Concat({Upsample(b, middle, scales), c3}, 1), "neck.3", 64, 1, false);
  x = Cbs(b, p3, "neck.4", {.channels = 64, .stride = 2});
  const ValueId p4 = C3(b, b.Concat({x, middle}, 1), "neck.5", 128, 1, false);
  x = Cbs(b, p4, "neck.6", {.channels = 128, .stride = 2});
  const ValueId p5 = C3(b, b.Concat({x, top}, 1), "neck.7", 256, 1, false);
  Detect(b, p3, "p3", options.classes);
  Detect(b, p4, "p4", options.classes);
  Detect(b, p5, "p5", options.classes);
  return b.Finish();
}

}  // namespace ds::zoo
