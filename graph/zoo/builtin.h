// The builders of the models that come with Downstream, one file a family. BuildModel has checked
// the ranges of the options before it calls one.
#pragma once

#include "absl/status/statusor.h"
#include "graph/zoo/zoo.h"

namespace ds::zoo {

// LeCun et al. 1998 with ReLU and max pooling: 6 and 16 filters of 5x5, 120, 84. At least 12x12
// pixels.
absl::StatusOr<Graph> LeNet(const ModelOptions& options);
// Hidden layers of 512 and 256.
absl::StatusOr<Graph> Mlp(const ModelOptions& options);
// He et al. 2016, section 4.2: `depth` is 6n + 2; projections (option B) where the shape changes.
absl::StatusOr<Graph> CifarResNet(const ModelOptions& options, int depth);
// He et al. 2016, table 1, as torchvision builds them (stride in the 3x3). Up to 64 pixels high,
// the stem is a 3x3 convolution of stride 1 without the max pool.
absl::StatusOr<Graph> ResNet18(const ModelOptions& options);
absl::StatusOr<Graph> ResNet50(const ModelOptions& options);
// Sandler et al. 2018, as torchvision builds it. Up to 64 pixels high, the first stride is 1.
absl::StatusOr<Graph> MobileNetV2(const ModelOptions& options);
// Howard et al. 2019, tables 1 and 2, as torchvision builds them, but for batch norm's epsilon and
// momentum, which are 1e-5 and 0.9 in the whole zoo. Up to 64 pixels high, the first stride is 1.
absl::StatusOr<Graph> MobileNetV3Large(const ModelOptions& options);
absl::StatusOr<Graph> MobileNetV3Small(const ModelOptions& options);
// Dosovitskiy et al. 2021 with the width of DeiT-Tiny (Touvron et al. 2021): 12 blocks, 192 wide, 3
// heads, the mean over the tokens in place of a class token. Patches of 4x4 up to 64 pixels high,
// else 16x16.
absl::StatusOr<Graph> VitTiny(const ModelOptions& options);
// A decoder of 4 blocks, 128 wide, 4 heads, after Radford et al. 2019; `classes` is the vocabulary
// (256 for bytes).
absl::StatusOr<Graph> GptNano(const ModelOptions& options);
// A detector with YOLOv5n's layers (SiLU, C3, SPPF, two-way feature pyramid). Outputs p3, p4 and
// p5:
// [?, 3 * (5 + classes), H / 8, W / 8] and so on for strides 16 and 32, raw, three anchors a cell.
absl::StatusOr<Graph> YoloNano(const ModelOptions& options);

}  // namespace ds::zoo
