// Products of codes or floats with a matrix of 4 bits in blocks, whose results are floats.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/split.h"

namespace ds::engine {
namespace {

class Dense4Step final : public Step {
 public:
  using Function = void (*)(const Dense4Args&, Range, Range);
  Dense4Step(Function function, const Dense4Args& args, const ConvShape& shape)
      : Step(PixelsOrChannels(shape).units(), Macs(shape)),
        function_(function),
        args_(args),
        split_(shape) {}
  void Run(Range units, void*) const override {
    split_.Run(units, [&](Range rows, Range columns) { function_(args_, rows, columns); });
  }

 private:
  const Function function_;
  const Dense4Args args_;
  const PixelsOrChannels split_;
};

}  // namespace

Status MakeDense4(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::Dense4Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 3));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  const bool codes = in.type == static_cast<uint8_t>(file::Type::kUint8);
  DS_ENGINE_RETURN_IF_ERROR(
      binding.Types(codes ? file::Type::kUint8 : file::Type::kFloat32, file::Type::kFloat32));
  ConvShape shape;
  shape.in_w = shape.out_w = Rows(in);
  shape.in_channels = Columns(in);
  shape.out_channels = Columns(out);
  if (Rows(in) != Rows(out)) return binding.Error("has not as many rows as its output");
  const uint32_t block = parameters->block;
  if (block == 0 || block % 8 != 0 || block > kMaxExtent) {
    return binding.Error("has blocks that are no multiple of 8");
  }
  if (parameters->input_zero > (codes ? 255 : 0)) return binding.Error("has a zero point too far");
  const std::span<const std::byte> weights = binding.ConstantBytes(0);
  if (!PackedFits(PackedKind::kConv4, binding.kernels().isa, shape, weights.data(),
                  static_cast<int64_t>(weights.size()))) {
    return binding.Error("has weights that are not packed for its shape");
  }
  const int64_t blocks = (shape.in_channels + int64_t{block} - 1) / block;
  const void *scale = nullptr, *shift = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(1, blocks * PaddedChannels(shape) * 4, scale));
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(2, PaddedChannels(shape) * 4, shift));
  const Dense4Args args = {{binding.Read(in), in.row_bytes},
                           {binding.Write(out), out.row_bytes},
                           shape.in_channels,
                           shape.out_channels,
                           static_cast<int32_t>(block),
                           static_cast<int32_t>(parameters->input_zero),
                           weights.data(),
                           static_cast<const float*>(scale),
                           static_cast<const float*>(shift)};
  const Kernels& kernels = binding.kernels();
  step = std::make_unique<Dense4Step>(codes ? kernels.dense4 : kernels.dense4_f32, args, shape);
  return {};
}

}  // namespace ds::engine
