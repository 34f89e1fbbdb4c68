// Residual networks, for CIFAR's shape and for ImageNet's.
#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/zoo/builtin.h"

namespace ds::zoo {

namespace {

ValueId ConvBn(Builder& b, ValueId x, const std::string& conv, const std::string& norm,
               const ConvOptions& options) {
  return b.BatchNorm(b.Conv(x, conv, options), norm);
}

ValueId Shortcut(Builder& b, ValueId x, const std::string& name, int64_t channels, int64_t stride) {
  if (stride == 1 && b.Extent(x, 1) == channels) return x;
  return ConvBn(b, x, name + ".downsample.0", name + ".downsample.1",
                {.channels = channels, .kernel = 1, .stride = stride});
}

ValueId BasicBlock(Builder& b, ValueId x, const std::string& name, int64_t channels,
                   int64_t stride) {
  ValueId y = b.Relu(
      ConvBn(b, x, name + ".conv1", name + ".bn1", {.channels = channels, .stride = stride}));
  y = ConvBn(b, y, name + ".conv2", name + ".bn2", {.channels = channels});
  return b.Relu(b.Add(y, Shortcut(b, x, name, channels, stride)));
}

ValueId Bottleneck(Builder& b, ValueId x, const std::string& name, int64_t channels,
                   int64_t stride) {
  ValueId y =
      b.Relu(ConvBn(b, x, name + ".conv1", name + ".bn1", {.channels = channels, .kernel = 1}));
  y = b.Relu(
      ConvBn(b, y, name + ".conv2", name + ".bn2", {.channels = channels, .stride = stride}));
  y = ConvBn(b, y, name + ".conv3", name + ".bn3", {.channels = 4 * channels, .kernel = 1});
  return b.Relu(b.Add(y, Shortcut(b, x, name, 4 * channels, stride)));
}

using Block = ValueId (*)(Builder&, ValueId, const std::string&, int64_t, int64_t);

ValueId Stage(Builder& b, ValueId x, int number, Block block, int count, int64_t channels) {
  for (int i = 0; i < count; ++i) {
    const int64_t stride = i == 0 && number > 1 ? 2 : 1;
    x = block(b, x, absl::StrCat("layer", number, ".", i), channels, stride);
  }
  return x;
}

absl::StatusOr<Graph> Finish(Builder& b, ValueId x, const ModelOptions& options) {
  x = b.Dropout(b.Flatten(b.GlobalAveragePool(x)), options.dropout);
  b.Output(b.Linear(x, "fc", options.classes), "logits");
  return b.Finish();
}

ValueId Input(Builder& b, const ModelOptions& options) {
  return b.Input("input", DType::kFloat32,
                 {kDynamicDim, options.channels, options.height, options.width});
}

absl::StatusOr<Graph> ImageNetResNet(const char* name, const ModelOptions& options, Block block,
                                     const std::array<int, 4>& counts) {
  Builder b(name, options.seed);
  ValueId x = Input(b, options);
  const bool small = options.height <= 64;
  x = b.Relu(ConvBn(b, x, "conv1", "bn1",
                    {.channels = 64, .kernel = small ? 3 : 7, .stride = small ? 1 : 2}));
  if (!small) x = b.MaxPool(x, {.kernel = 3, .stride = 2, .padding = 1});
  for (int i = 0; i < 4; ++i) x = Stage(b, x, i + 1, block, counts[i], int64_t{64} << i);
  return Finish(b, x, options);
}

}  // namespace

absl::StatusOr<Graph> CifarResNet(const ModelOptions& options, int depth) {
  Builder b(absl::StrCat("resnet", depth), options.seed);
  ValueId x = b.Relu(ConvBn(b, Input(b, options), "conv1", "bn1", {.channels = 16}));
  const int blocks = (depth - 2) / 6;
  for (int i = 0; i < 3; ++i) x = Stage(b, x, i + 1, BasicBlock, blocks, int64_t{16} << i);
  return Finish(b, x, options);
}

absl::StatusOr<Graph> ResNet18(const ModelOptions& options) {
  return ImageNetResNet("resnet18", options, BasicBlock, {2, 2, 2, 2});
}

absl::StatusOr<Graph> ResNet50(const ModelOptions& options) {
  return ImageNetResNet("resnet50", options, Bottleneck, {3, 4, 6, 3});
}

}  // namespace ds::zoo
