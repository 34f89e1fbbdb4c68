// Squeeze-excite (Hu et al., "Squeeze-and-Excitation Networks", 2018) between codes as one
// operator: averages of an image's channels, two products of 1x1, and the image times the gates
// that they give. Each part is the kernel that it would be alone, so that the bits are the same.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/conv_step.h"
#include "deploy/engine/runtime/steps/fused/bind_conv.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/spread.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::OperatorKind;

// Channels from which on each thread gates channels of its own; below, rows of pixels.
constexpr int32_t kManyChannels = 8 * kChannelBlock;

int32_t BlocksOf(int32_t channels) {
  return static_cast<int32_t>(RoundUp(channels, kChannelBlock) / kChannelBlock);
}
Range ChannelsOf(Range blocks, int32_t channels) {
  return {blocks.begin * kChannelBlock, std::min(blocks.end * kChannelBlock, channels)};
}

// Units are blocks of channels, of all images.
class AverageStep final : public Step {
 public:
  AverageStep(const Kernels& kernels, const PoolArgs& args)
      : Step(BlocksOf(args.shape.groups),
             int64_t{args.shape.batch} * args.shape.in_h * args.shape.in_w * args.shape.groups),
        pool_(kernels.pool8),
        args_(args) {}
  void Run(Range units, void*) const override {
    const Range channels = ChannelsOf(units, args_.shape.groups);
    PoolArgs args = args_;
    args.shape.groups = channels.end - channels.begin;
    args.input.data = static_cast<const char*>(args.input.data) + channels.begin;
    args.output.data = static_cast<char*>(args.output.data) + channels.begin;
    pool_(args, {0, args.shape.batch});
  }

 private:
  void (*const pool_)(const PoolArgs&, Range);
  const PoolArgs args_;
};

// Units are blocks of channels: their gates, then of all images their codes.
class GateStep final : public Step {
 public:
  GateStep(std::unique_ptr<ConvStep> gates, const Multiply8Args& args, const Spreading& how,
           int64_t gate_stride, decltype(Kernels::multiply8) multiply)
      : Step(BlocksOf(how.columns), gates->work() + int64_t{how.rows} * how.columns,
             gates->scratch_bytes()),
        gates_(std::move(gates)),
        args_(args),
        how_(how),
        gate_stride_(gate_stride),
        multiply_(multiply) {}

  void Run(Range units, void* scratch) const override {
    const Range channels = ChannelsOf(units, how_.columns);
    gates_->RunChannels(channels, scratch);
    for (int32_t row = 0; row < how_.rows; row += how_.rows_per_image) {
      Multiply8Args args = args_;
      args.columns = channels.end - channels.begin;
      args.a.data = static_cast<const char*>(args.a.data) + channels.begin;
      args.b.data = static_cast<const char*>(args.b.data) + channels.begin +
                    row / how_.rows_per_image * gate_stride_;
      args.output.data = static_cast<char*>(args.output.data) + channels.begin;
      multiply_(args, {row, row + how_.rows_per_image});
    }
  }

 private:
  const std::unique_ptr<ConvStep> gates_;
  const Multiply8Args args_;
  const Spreading how_;
  const int64_t gate_stride_;
  decltype(Kernels::multiply8) const multiply_;
};

class SqueezeExciteStep final : public Step {
 public:
  explicit SqueezeExciteStep(std::vector<std::unique_ptr<Step>> parts)
      : Step(1, WorkOf(parts), ScratchOf(parts)), parts_(std::move(parts)) {}
  std::span<const std::unique_ptr<Step>> parts() const override { return parts_; }
  void Run(Range, void* scratch) const override {
    for (const auto& part : parts_) part->Run({0, part->units()}, scratch);
  }

 private:
  static int64_t WorkOf(const std::vector<std::unique_ptr<Step>>& parts) {
    int64_t work = 0;
    for (const auto& part : parts) work += part->work();
    return work;
  }
  static int64_t ScratchOf(const std::vector<std::unique_ptr<Step>>& parts) {
    int64_t bytes = 0;
    for (const auto& part : parts) bytes = std::max(bytes, part->scratch_bytes());
    return bytes;
  }

  const std::vector<std::unique_ptr<Step>> parts_;
};

// The tensors: a row an image each, but for the image and its result.
struct Tensors {
  const file::Tensor &image, &result, &averages, &reduced, &gates;
};

Status CheckTensors(const Binding& binding, const Tensors& t) {
  if (t.image.rank != 4 || !SameDims(t.image, t.result)) {
    return binding.Error("has an input of other dims than its output's, or of another rank than 4");
  }
  const auto images = static_cast<int32_t>(t.image.dims[0]);
  const int32_t channels = Columns(t.image);
  if (Rows(t.averages) != images || Columns(t.averages) != channels || Rows(t.reduced) != images ||
      Rows(t.gates) != images || Columns(t.gates) != channels) {
    return binding.Error(
        "has averages, what is made of them or gates of other dims than its image's");
  }
  return {};
}

// One average a channel of each image.
Status BindAverages(const Binding& binding, const file::SqueezeExcite8Parameters& parameters,
                    const Tensors& t, PoolArgs& args) {
  const Extents image = ImageExtents(t.image);
  const auto extent = [](int32_t of) { return static_cast<uint32_t>(of); };
  const file::Window window = {extent(image.h), extent(image.w), 1, 1, 1, 1, 0, 0, extent(image.c)};
  DS_ENGINE_RETURN_IF_ERROR(MakeShape(binding, window, WindowUse::kChannels, image,
                                      {image.n, 1, 1, image.c}, args.shape));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters.zero_in));
  DS_ENGINE_RETURN_IF_ERROR(
      CheckCodes(binding, parameters.zero_out, parameters.low, parameters.high));
  args.kind = PoolKind::kAverage;
  args.input = ImageOf<ImageIn>(t.image, binding.Read(t.image));
  const int64_t row = t.averages.row_bytes;
  args.output = {binding.Write(t.averages), row, row, row};
  args.scale_in = parameters.scale_in;
  args.scale_out = parameters.scale_out;
  args.zero_in = parameters.zero_in;
  args.zero_out = parameters.zero_out;
  args.low = parameters.low;
  args.high = parameters.high;
  return {};
}

// A product of rows; its constants begin at `constant`, and the next one's where that is left.
Status BindProduct(const Binding& binding, const file::GateStage& told, const file::Tensor& in,
                   const file::Tensor& out, int& constant, std::unique_ptr<ConvStep>& step) {
  const file::Window& w = told.conv.window;
  if (w.kernel_h != 1 || w.kernel_w != 1 || w.stride_h != 1 || w.stride_w != 1 || w.pad_top != 0 ||
      w.pad_left != 0 || w.groups != 1) {
    return binding.Error("has a product with a window");
  }
  const int32_t rows = Rows(in);
  Conv8Args args;
  DS_ENGINE_RETURN_IF_ERROR(MakeShape(binding, w, WindowUse::kGroups, {1, 1, rows, Columns(in)},
                                      {1, 1, rows, Columns(out)}, args.shape));
  const bool four = told.kind == static_cast<uint32_t>(OperatorKind::kConv4);
  DS_ENGINE_RETURN_IF_ERROR(BindWeights(binding, four ? PackedKind::kConv4 : PackedKind::kConv8,
                                        constant, args.shape, args.weights));
  DS_ENGINE_RETURN_IF_ERROR(BindRequantise(binding, told.conv, constant + 1,
                                           PaddedChannels(args.shape), args.requantise));
  constant += told.conv.has_table ? 4 : 3;
  args.pad_value = static_cast<uint8_t>(told.conv.input_zero);
  const int64_t from = in.row_bytes, to = out.row_bytes;
  args.input = {binding.Read(in), from, from * rows, 0};
  args.output = {binding.Write(out), to, to * rows, 0};
  const Kernels& kernels = binding.kernels();
  step = std::make_unique<ConvStep>(four ? kernels.conv4 : kernels.conv8, args, Add8(), false,
                                    kernels.conv_scratch(args.shape));
  return {};
}

// Kinds and flags, and so how many constants there are.
Status CheckForm(const Binding& binding, const file::SqueezeExcite8Parameters& parameters) {
  int constants = 0;
  for (const file::GateStage* stage : {&parameters.reduce, &parameters.expand}) {
    if (stage->kind != static_cast<uint32_t>(OperatorKind::kConv8) &&
        stage->kind != static_cast<uint32_t>(OperatorKind::kConv4)) {
      return binding.Error("has a product of kind " + std::to_string(stage->kind) +
                           ", which is none of codes");
    }
    DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, stage->conv.has_table));
    if (stage->conv.has_sum != 0) return binding.Error("adds a residual to a product");
    constants += stage->conv.has_table ? 4 : 3;
  }
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters.product.has_table));
  if (parameters.product.has_table) ++constants;
  return binding.Counts(1, 4, constants);
}

Status BindGated(const Binding& binding, const file::Multiply8Parameters& product, const Tensors& t,
                 int constant, Multiply8Args& args) {
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, product.zero_a));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, product.zero_b));
  DS_ENGINE_RETURN_IF_ERROR(CheckCodes(binding, product.zero_point, product.low, product.high));
  const void* table = nullptr;
  if (product.has_table) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(constant, 256, table));
  args.multiply = {product.ratio,
                   product.zero_a,
                   product.zero_b,
                   product.zero_point,
                   product.low,
                   product.high,
                   static_cast<const uint8_t*>(table)};
  args.a = {binding.Read(t.image), t.image.row_bytes};
  args.b = {binding.Read(t.gates), 0};
  args.output = {binding.Write(t.result), t.result.row_bytes};
  args.columns = Columns(t.image);
  return {};
}

}  // namespace

Status MakeSqueezeExcite8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::SqueezeExcite8Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckForm(binding, *parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  const Tensors t = {binding.input(0), binding.output(0), binding.output(1), binding.output(2),
                     binding.output(3)};
  DS_ENGINE_RETURN_IF_ERROR(CheckTensors(binding, t));
  PoolArgs averages;
  DS_ENGINE_RETURN_IF_ERROR(BindAverages(binding, *parameters, t, averages));
  int constant = 0;
  std::unique_ptr<ConvStep> reduce, expand;
  DS_ENGINE_RETURN_IF_ERROR(
      BindProduct(binding, parameters->reduce, t.averages, t.reduced, constant, reduce));
  DS_ENGINE_RETURN_IF_ERROR(
      BindProduct(binding, parameters->expand, t.reduced, t.gates, constant, expand));
  Multiply8Args gated;
  DS_ENGINE_RETURN_IF_ERROR(BindGated(binding, parameters->product, t, constant, gated));
  const int32_t rows = Rows(t.image), images = Rows(t.gates);
  const Spreading how = {rows, gated.columns, rows / images, true};
  const Kernels& kernels = binding.kernels();
  std::vector<std::unique_ptr<Step>> parts;
  parts.push_back(std::make_unique<AverageStep>(kernels, averages));
  parts.push_back(std::move(reduce));
  if (gated.columns >= kManyChannels) {
    parts.push_back(std::make_unique<GateStep>(std::move(expand), gated, how, t.gates.row_bytes,
                                               kernels.multiply8));
  } else {
    parts.push_back(std::move(expand));
    parts.push_back(std::make_unique<SpreadStep<Multiply8Args>>(kernels.multiply8, gated, how,
                                                                t.gates.row_bytes));
  }
  step = std::make_unique<SqueezeExciteStep>(std::move(parts));
  return {};
}

}  // namespace ds::engine
