// Convolutions of codes one behind another, such as an inverted residual's 1x1, depthwise and 1x1,
// as one operator: what is between them lies in bands of rows in a thread's scratch. Each stage is
// the kernel that it would be alone, so that the bits are the same.
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/steps/fused/bind_conv.h"
#include "deploy/engine/runtime/steps/fused/chain_bands.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::OperatorKind;

// Bands aimed at: within a second-level cache, with the weights beside them.
constexpr int64_t kBandBytes = 128 << 10;

// Without the sum, which is the last one's. A file may have many chains: it has no more than it
// needs.
struct Stage {
  OperatorKind kind = OperatorKind::kConv8;
  uint8_t pad_value = 0;
  ConvShape shape;  // of whole images
  const void* weights = nullptr;
  const int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  const uint8_t* table = nullptr;
  int32_t zero_point = 0, low = 0, high = 255;
};

std::vector<ConvShape> ShapesOf(const std::vector<Stage>& stages) {
  std::vector<ConvShape> shapes;
  for (const Stage& stage : stages) shapes.push_back(stage.shape);
  return shapes;
}

int64_t MacsOf(const std::vector<Stage>& stages) {
  int64_t macs = 0;
  for (const Stage& stage : stages) macs += Macs(stage.shape);
  return macs;
}

int64_t KernelScratch(const Kernels& kernels, const std::vector<Stage>& stages) {
  int64_t bytes = 0;
  for (const Stage& stage : stages) {
    const bool depthwise = stage.kind == OperatorKind::kDepthwise8;
    bytes = std::max(bytes,
                     (depthwise ? kernels.depthwise_scratch : kernels.conv_scratch)(stage.shape));
  }
  return bytes;
}

// Units are rows of the last stage's images. Scratch: the bands, then what kernels take.
class ChainStep final : public Step {
 public:
  ChainStep(const Kernels& kernels, std::vector<Stage> stages, const ChainBands& bands,
            const ImageIn& input, const ImageOut& output, const ImageIn& residual, const Add8& sum)
      : Step(int64_t{stages.back().shape.batch} * stages.back().shape.out_h, MacsOf(stages),
             bands.bytes() + KernelScratch(kernels, stages)),
        kernels_(kernels),
        stages_(std::move(stages)),
        bands_(bands),
        input_(input),
        output_(output),
        residual_(residual),
        sum_(sum) {}

  void Run(Range units, void* scratch) const override {
    const int32_t height = stages_.back().shape.out_h;
    for (int32_t row = units.begin; row < units.end;) {
      const int32_t image = row / height, first = image * height;
      const int32_t end = std::min(units.end, first + height);
      RunImage(image, {row - first, end - first}, static_cast<char*>(scratch));
      row = end;
    }
  }

 private:
  using Held = std::array<HeldRows, file::kMostStages>;

  void RunImage(int32_t image, Range rows, char* scratch) const {
    Held held;
    for (int32_t y = rows.begin; y < rows.end; y += bands_.rows())
      RunRows(image, {y, std::min(rows.end, y + bands_.rows())}, held, scratch);
  }

  // These rows of the last stage, and before them what they need of the others.
  void RunRows(int32_t image, Range rows, Held& held, char* scratch) const {
    std::array<Range, file::kMostStages> fresh = {};
    const int last = static_cast<int>(stages_.size()) - 1;
    fresh[last] = rows;
    for (int s = last; s > 0 && fresh[s].begin < fresh[s].end; --s) {
      fresh[s - 1] = held[s - 1].Advance(InputRows(stages_[s].shape, fresh[s]),
                                         scratch + bands_.offset(s - 1), bands_.row_bytes(s - 1));
    }
    for (int s = 0; s <= last; ++s) {
      if (fresh[s].begin < fresh[s].end) RunStage(s, image, fresh[s], held, scratch);
    }
  }

  void RunStage(int s, int32_t image, Range rows, const Held& held, char* scratch) const {
    const Stage& stage = stages_[s];
    const Range in = InputRows(stage.shape, rows);
    const bool last = s + 1 == static_cast<int>(stages_.size());
    const ImageIn from = s == 0 ? RowsOfImage(input_, image, in.begin)
                                : Band<ImageIn>(s - 1, in.begin, held[s - 1], scratch);
    const ImageOut to = last ? RowsOfImage(output_, image, rows.begin)
                             : Band<ImageOut>(s, rows.begin, held[s], scratch);
    Requantise how = {stage.bias, stage.multiplier, stage.zero_point, stage.low,
                      stage.high, stage.table,      nullptr,          {}};
    if (last && residual_.data) {
      how.add = &sum_;
      how.residual = RowsOfImage(residual_, image, rows.begin);
    }
    const ConvShape shape = ShapeOfRows(stage.shape, in, rows);
    char* own = scratch + bands_.bytes();
    if (stage.kind == OperatorKind::kDepthwise8) {
      const Depthwise8Args args = {shape, from, to, stage.weights, stage.pad_value, how};
      kernels_.depthwise8(args, {0, shape.out_h}, own);
      return;
    }
    const Conv8Args args = {shape, from, to, stage.weights, stage.pad_value, how};
    const auto run = stage.kind == OperatorKind::kConv4 ? kernels_.conv4 : kernels_.conv8;
    run(args, {0, shape.Pixels()}, {0, shape.out_channels}, own);
  }

  // One image, from a row on.
  template <typename Image>
  static Image RowsOfImage(Image whole, int32_t image, int32_t row) {
    whole.data =
        static_cast<const char*>(whole.data) + image * whole.image_stride + row * whole.row_stride;
    return whole;
  }
  static ImageOut RowsOfImage(ImageOut whole, int32_t image, int32_t row) {
    whole.data =
        static_cast<char*>(whole.data) + image * whole.image_stride + row * whole.row_stride;
    return whole;
  }
  // What lies between stage `s` and the next, from a row on.
  template <typename Image>
  Image Band(int s, int32_t row, const HeldRows& held, char* scratch) const {
    const ConvShape& shape = stages_[s].shape;
    const int64_t stride = bands_.row_bytes(s);
    return {scratch + bands_.offset(s) + (row - held.held().begin) * stride,
            int64_t{shape.groups} * shape.out_channels, stride, 0};
  }

  const Kernels& kernels_;
  std::vector<Stage> stages_;
  const ChainBands bands_;
  const ImageIn input_;
  const ImageOut output_;
  const ImageIn residual_;  // no data: no sum
  const Add8 sum_;
};

// What a chain's stage must be beside what a convolution must: every window meets its image, so
// that no band is empty, and images do not grow, so that no more is computed than tensors are
// large.
Status CheckStage(const Binding& binding, const ConvShape& s) {
  const int64_t reach_h = int64_t{s.kernel_h - 1} * s.dilation_h + 1;
  const int64_t reach_w = int64_t{s.kernel_w - 1} * s.dilation_w + 1;
  if (s.pad_top >= reach_h || s.pad_left >= reach_w || s.out_h > s.in_h || s.out_w > s.in_w ||
      s.out_h < 1 || s.out_w < 1) {
    return binding.Error("has a stage whose image is larger than what it reads");
  }
  return {};
}

PackedKind PackedKindOf(OperatorKind kind) {
  return kind == OperatorKind::kDepthwise8 ? PackedKind::kDepthwise8
         : kind == OperatorKind::kConv4    ? PackedKind::kConv4
                                           : PackedKind::kConv8;
}

// One stage between images of these extents; its constants begin at `constant`, and the next one's
// where that is left.
Status BindStage(const Binding& binding, const file::ChainStage& told, const Extents& in,
                 const Extents& out, int& constant, Stage& stage) {
  stage.kind = static_cast<OperatorKind>(told.kind);
  const bool depthwise = stage.kind == OperatorKind::kDepthwise8;
  DS_ENGINE_RETURN_IF_ERROR(MakeShape(binding, told.conv.window,
                                      depthwise ? WindowUse::kChannels : WindowUse::kGroups, in,
                                      out, stage.shape));
  DS_ENGINE_RETURN_IF_ERROR(CheckStage(binding, stage.shape));
  DS_ENGINE_RETURN_IF_ERROR(
      BindWeights(binding, PackedKindOf(stage.kind), constant, stage.shape, stage.weights));
  const int64_t padded =
      depthwise ? PaddedDepthwiseChannels(stage.shape) : PaddedChannels(stage.shape);
  Requantise how;
  DS_ENGINE_RETURN_IF_ERROR(BindRequantise(binding, told.conv, constant + 1, padded, how));
  stage.bias = how.bias;
  stage.multiplier = how.multiplier;
  stage.table = how.table;
  stage.zero_point = how.zero_point;
  stage.low = how.low;
  stage.high = how.high;
  stage.pad_value = static_cast<uint8_t>(told.conv.input_zero);
  constant += told.conv.has_table ? 4 : 3;
  return {};
}

// Numbers of stages, kinds and flags, and so how many inputs and constants there are.
Status CheckForm(const Binding& binding, const file::ConvChain8Parameters& chain) {
  if (chain.stage_count < 2 || chain.stage_count > file::kMostStages) {
    return binding.Error("has " + std::to_string(chain.stage_count) + " stages; it takes 2 to " +
                         std::to_string(file::kMostStages));
  }
  int constants = 0;
  for (uint32_t i = 0; i < chain.stage_count; ++i) {
    const file::ChainStage& stage = chain.stages[i];
    if (stage.kind != static_cast<uint32_t>(OperatorKind::kConv8) &&
        stage.kind != static_cast<uint32_t>(OperatorKind::kConv4) &&
        stage.kind != static_cast<uint32_t>(OperatorKind::kDepthwise8)) {
      return binding.Error("has a stage of kind " + std::to_string(stage.kind) +
                           ", which is no convolution of codes");
    }
    DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, stage.conv.has_table));
    DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, stage.conv.has_sum));
    if (stage.conv.has_sum && i + 1 < chain.stage_count) {
      return binding.Error("adds a residual in front of its last stage");
    }
    for (const uint32_t extent : {stage.out_h, stage.out_w, stage.out_channels}) {
      if (extent < 1 || extent > static_cast<uint32_t>(kMaxExtent))
        return binding.Error("has a stage with an extent out of range");
    }
    constants += stage.conv.has_table ? 4 : 3;
  }
  const bool has_sum = chain.stages[chain.stage_count - 1].conv.has_sum != 0;
  return binding.Counts(has_sum ? 2 : 1, 1, constants);
}

}  // namespace

Status MakeConvChain8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ConvChain8Parameters* chain = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(chain));
  DS_ENGINE_RETURN_IF_ERROR(CheckForm(binding, *chain));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  std::vector<Stage> stages(chain->stage_count);
  const Extents result = ImageExtents(binding.output());
  Extents in = ImageExtents(binding.input(0));
  int constant = 0;
  for (uint32_t i = 0; i < chain->stage_count; ++i) {
    const file::ChainStage& told = chain->stages[i];
    const Extents out = {in.n, static_cast<int32_t>(told.out_h), static_cast<int32_t>(told.out_w),
                         static_cast<int32_t>(told.out_channels)};
    DS_ENGINE_RETURN_IF_ERROR(BindStage(binding, told, in, out, constant, stages[i]));
    in = out;
  }
  if (in.n != result.n || in.h != result.h || in.w != result.w || in.c != result.c) {
    return binding.Error("has a last stage of other extents than its output");
  }
  const file::Conv8Parameters& last = chain->stages[chain->stage_count - 1].conv;
  Requantise sum;
  if (last.has_sum) DS_ENGINE_RETURN_IF_ERROR(BindResidual(binding, last, sum));
  const ChainBands bands(ShapesOf(stages), kBandBytes);
  step = std::make_unique<ChainStep>(
      binding.kernels(), std::move(stages), bands,
      ImageOf<ImageIn>(binding.input(0), binding.Read(binding.input(0))),
      ImageOf<ImageOut>(binding.output(), binding.Write(binding.output())), sum.residual,
      SumOf(last.sum));
  return {};
}

}  // namespace ds::engine
