// MobileNetV2 and V3: inverted residuals, squeeze and excitation.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/zoo/builtin.h"

namespace ds::zoo {

namespace {

enum class Activation { kNone, kRelu, kRelu6, kHardSwish };

ValueId Activate(Builder& b, ValueId x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return b.Relu(x);
    case Activation::kRelu6:
      return b.Relu6(x);
    case Activation::kHardSwish:
      return b.Op("HardSwish", {x});
  }
  return x;
}

ValueId ConvBn(Builder& b, ValueId x, const std::string& name, const ConvOptions& options,
               Activation activation) {
  x = b.BatchNorm(b.Conv(x, name + ".0", options), name + ".1");
  return Activate(b, x, activation);
}

// The nearest multiple of 8 that is not more than a tenth below, as the authors' code rounds
// widths.
int64_t RoundTo8(int64_t channels) {
  const int64_t rounded = std::max<int64_t>(8, (channels + 4) / 8 * 8);
  return 10 * rounded < 9 * channels ? rounded + 8 : rounded;
}

ValueId SqueezeExcite(Builder& b, ValueId x, const std::string& name) {
  const int64_t channels = b.Extent(x, 1);
  ValueId gate = b.GlobalAveragePool(x);
  gate = b.Relu(
      b.Conv(gate, name + ".fc1", {.channels = RoundTo8(channels / 4), .kernel = 1, .bias = true}));
  gate = b.Conv(gate, name + ".fc2", {.channels = channels, .kernel = 1, .bias = true});
  gate = b.Op("HardSigmoid", {gate}, {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}});
  return b.Mul(x, gate);
}

struct InvertedResidual {
  int64_t kernel;
  int64_t expanded;  // channels
  int64_t out;       // channels
  bool squeeze_excite;
  Activation activation;
  int64_t stride;
};

// `name` is the block's list of layers ("features.4.block"), which are numbered as torchvision
// does.
ValueId Block(Builder& b, ValueId x, const std::string& name, const InvertedResidual& block) {
  const int64_t in = b.Extent(x, 1);
  int layer = 0;
  auto next = [&] { return absl::StrCat(name, ".", layer++); };
  ValueId y = x;
  if (block.expanded != in) {
    y = ConvBn(b, y, next(), {.channels = block.expanded, .kernel = 1}, block.activation);
  }
  y = ConvBn(b, y, next(),
             {.channels = block.expanded,
              .kernel = block.kernel,
              .stride = block.stride,
              .groups = block.expanded},
             block.activation);
  if (block.squeeze_excite) y = SqueezeExcite(b, y, next());
  y = ConvBn(b, y, next(), {.channels = block.out, .kernel = 1}, Activation::kNone);
  return block.stride == 1 && in == block.out ? b.Add(x, y) : y;
}

ValueId Stem(Builder& b, const ModelOptions& options, int64_t channels, Activation activation) {
  const ValueId x = b.Input("input", DType::kFloat32,
                            {kDynamicDim, options.channels, options.height, options.width});
  const int64_t stride = options.height <= 64 ? 1 : 2;
  return ConvBn(b, x, "features.0", {.channels = channels, .stride = stride}, activation);
}

absl::StatusOr<Graph> MobileNetV3(const char* name, const ModelOptions& options,
                                  const std::vector<InvertedResidual>& blocks, int64_t last) {
  Builder b(name, options.seed);
  ValueId x = Stem(b, options, 16, Activation::kHardSwish);
  int number = 1;
  for (const InvertedResidual& block : blocks) {
    x = Block(b, x, absl::StrCat("features.", number++, ".block"), block);
  }
  x = ConvBn(b, x, absl::StrCat("features.", number), {.channels = 6 * b.Extent(x, 1), .kernel = 1},
             Activation::kHardSwish);
  x = b.Flatten(b.GlobalAveragePool(x));
  x = b.Op("HardSwish", {b.Linear(x, "classifier.0", last)});
  x = b.Dropout(x, options.dropout);
  b.Output(b.Linear(x, "classifier.3", options.classes), "logits");
  return b.Finish();
}

constexpr Activation kRe = Activation::kRelu;
constexpr Activation kHs = Activation::kHardSwish;

}  // namespace

absl::StatusOr<Graph> MobileNetV2(const ModelOptions& options) {
  struct Group {
    int64_t expansion, channels, count, stride;
  };
  static constexpr Group kGroups[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                      {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  Builder b("mobilenet_v2", options.seed);
  ValueId x = Stem(b, options, 32, Activation::kRelu6);
  int number = 1;
  for (const Group& group : kGroups) {
    for (int64_t i = 0; i < group.count; ++i) {
      x = Block(b, x, absl::StrCat("features.", number++, ".conv"),
                {3, group.expansion * b.Extent(x, 1), group.channels, false, Activation::kRelu6,
                 i == 0 ? group.stride : 1});
    }
  }
  x = ConvBn(b, x, absl::StrCat("features.", number), {.channels = 1280, .kernel = 1},
             Activation::kRelu6);
  x = b.Dropout(b.Flatten(b.GlobalAveragePool(x)), options.dropout);
  b.Output(b.Linear(x, "classifier.1", options.classes), "logits");
  return b.Finish();
}

absl::StatusOr<Graph> MobileNetV3Large(const ModelOptions& options) {
  return MobileNetV3("mobilenet_v3_large", options,
                     {{3, 16, 16, false, kRe, 1},
                      {3, 64, 24, false, kRe, 2},
                      {3, 72, 24, false, kRe, 1},
                      {5, 72, 40, true, kRe, 2},
                      {5, 120, 40, true, kRe, 1},
                      {5, 120, 40, true, kRe, 1},
                      {3, 240, 80, false, kHs, 2},
                      {3, 200, 80, false, kHs, 1},
                      {3, 184, 80, false, kHs, 1},
                      {3, 184, 80, false, kHs, 1},
                      {3, 480, 112, true, kHs, 1},
                      {3, 672, 112, true, kHs, 1},
                      {5, 672, 160, true, kHs, 2},
                      {5, 960, 160, true, kHs, 1},
                      {5, 960, 160, true, kHs, 1}},
                     1280);
}

absl::StatusOr<Graph> MobileNetV3Small(const ModelOptions& options) {
  return MobileNetV3("mobilenet_v3_small", options,
                     {{3, 16, 16, true, kRe, 2},
                      {3, 72, 24, false, kRe, 2},
                      {3, 88, 24, false, kRe, 1},
                      {5, 96, 40, true, kHs, 2},
                      {5, 240, 40, true, kHs, 1},
                      {5, 240, 40, true, kHs, 1},
                      {5, 120, 48, true, kHs, 1},
                      {5, 144, 48, true, kHs, 1},
                      {5, 288, 96, true, kHs, 2},
                      {5, 576, 96, true, kHs, 1},
                      {5, 576, 96, true, kHs, 1}},
                     1024);
}

}  // namespace ds::zoo
