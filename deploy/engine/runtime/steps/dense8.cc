// Products of codes with a matrix whose results stay floats.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/split.h"

namespace ds::engine {
namespace {

class DenseStep final : public Step {
 public:
  DenseStep(const Kernels& kernels, const Dense8Args& args, const ConvShape& shape)
      : Step(PixelsOrChannels(shape).units(), Macs(shape)),
        function_(kernels.dense8),
        args_(args),
        split_(shape) {}
  void Run(Range units, void*) const override {
    split_.Run(units, [&](Range rows, Range columns) { function_(args_, rows, columns); });
  }

 private:
  void (*const function_)(const Dense8Args&, Range, Range);
  const Dense8Args args_;
  const PixelsOrChannels split_;
};

}  // namespace

Status MakeDense8(const Binding& binding, std::unique_ptr<Step>& step) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 4));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kFloat32));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  ConvShape shape;
  shape.in_w = shape.out_w = Rows(in);
  shape.in_channels = Columns(in);
  shape.out_channels = Columns(out);
  if (Rows(in) != Rows(out)) return binding.Error("has not as many rows as its output");
  const std::span<const std::byte> weights = binding.ConstantBytes(0);
  if (!PackedFits(PackedKind::kConv8, binding.kernels().isa, shape, weights.data(),
                  static_cast<int64_t>(weights.size()))) {
    return binding.Error("has weights that are not packed for its shape");
  }
  const void *bias = nullptr, *scale = nullptr, *shift = nullptr;
  const int64_t bytes = PaddedChannels(shape) * 4;
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(1, bytes, bias));
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(2, bytes, scale));
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(3, bytes, shift));
  const Dense8Args args = {{binding.Read(in), in.row_bytes},
                           {binding.Write(out), out.row_bytes},
                           shape.in_channels,
                           shape.out_channels,
                           weights.data(),
                           static_cast<const int32_t*>(bias),
                           static_cast<const float*>(scale),
                           static_cast<const float*>(shift)};
  step = std::make_unique<DenseStep>(binding.kernels(), args, shape);
  return {};
}

}  // namespace ds::engine
