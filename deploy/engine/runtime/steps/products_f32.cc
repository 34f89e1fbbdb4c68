// Products of two computed matrices of floats.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::MatMulParameters;

// Units are products. Each packs its second operand into scratch, as constant weights are packed
// ahead of time.
class MatMulStep final : public Step {
 public:
  struct Operands {
    const float *a, *b;
    float* out;
    bool b_repeats;
  };
  // Of scratch, in floats: the operand's rows for columns, packed, the bias (zeros).
  struct Layout {
    int64_t rows, packed, bias;
    int64_t floats() const { return rows + packed + bias; }
  };

  MatMulStep(const Kernels& kernels, const MatMulParameters& parameters, const ConvShape& shape,
             const Operands& operands, const Layout& layout)
      : Step(parameters.batch, int64_t{parameters.batch} * Macs(shape),
             layout.floats() * 4 + kernels.conv_scratch(shape)),
        kernels_(kernels),
        shape_(shape),
        operands_(operands),
        layout_(layout),
        turned_(parameters.turned != 0) {}

  void Run(Range units, void* scratch) const override {
    auto* rows = static_cast<float*>(scratch);
    float* packed = rows + layout_.rows;
    float* bias = packed + layout_.packed;
    std::fill_n(bias, layout_.bias, 0.0f);
    const int64_t m = shape_.out_w, k = shape_.in_channels, n = shape_.out_channels;
    for (int32_t unit = units.begin; unit < units.end; ++unit) {
      const bool same = operands_.b_repeats && unit > units.begin;
      if (!same) Pack(operands_.b + (operands_.b_repeats ? 0 : unit * k * n), rows, packed);
      ConvF32Args args;
      args.shape = shape_;
      args.input = {operands_.a + unit * m * k, k * 4, m * k * 4, m * k * 4};
      args.output = {operands_.out + unit * m * n, n * 4, m * n * 4, m * n * 4};
      args.weights = packed;
      args.bias = bias;
      kernels_.conv_f32(args, {0, static_cast<int32_t>(m)}, {0, static_cast<int32_t>(n)},
                        bias + layout_.bias);
    }
  }

 private:
  void Pack(const float* b, float* rows, float* packed) const {
    const int64_t k = shape_.in_channels, n = shape_.out_channels;
    for (int64_t r = 0; !turned_ && r < k; ++r) {
      for (int64_t c = 0; c < n; ++c) rows[c * k + r] = b[r * n + c];
    }
    PackConvF32(kernels_.isa, shape_, turned_ ? b : rows, packed);
  }

  const Kernels& kernels_;
  const ConvShape shape_;
  const Operands operands_;
  const Layout layout_;
  const bool turned_;
};

}  // namespace

Status MakeMatMulF32(const Binding& binding, std::unique_ptr<Step>& step) {
  const MatMulParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->turned));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(2, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kFloat32, file::Type::kFloat32));
  const file::Tensor &a = binding.input(0), &b = binding.input(1), &out = binding.output();
  const uint64_t batch = parameters->batch, m = parameters->rows, k = parameters->depth,
                 n = parameters->columns;
  const auto most = static_cast<uint64_t>(kMaxExtent);
  if (m == 0 || k == 0 || n == 0 || batch == 0 || m > most || n > most ||
      k > static_cast<uint64_t>(kMaxDepth) || batch > INT32_MAX) {
    return binding.Error("has extents out of range");
  }
  const auto elements = [](const file::Tensor& t) { return static_cast<uint64_t>(Elements(t)); };
  // Each factor is below 2^31 and no tensor has 2^31 elements: divide rather than multiply.
  const auto holds = [&](const file::Tensor& t, uint64_t rows, uint64_t columns, uint64_t count) {
    return elements(t) % columns == 0 && elements(t) / columns % rows == 0 &&
           elements(t) / columns / rows == count;
  };
  const bool repeats = holds(b, k, n, 1);
  if (!Dense(a) || !Dense(b) || !Dense(out) || !holds(a, m, k, batch) || !holds(out, m, n, batch) ||
      !(repeats || holds(b, k, n, batch))) {
    return binding.Error("has tensors of other sizes than its extents");
  }
  ConvShape shape;
  shape.in_w = shape.out_w = static_cast<int32_t>(m);
  shape.in_channels = static_cast<int32_t>(k);
  shape.out_channels = static_cast<int32_t>(n);
  if (!ShapeFits(shape)) return binding.Error("is larger than kernels take");
  const auto reals = [&](const file::Tensor& t) {
    return reinterpret_cast<const float*>(binding.Read(t));
  };
  const MatMulStep::Layout layout{
      RoundUp(parameters->turned ? 0 : shape.in_channels * int64_t{shape.out_channels}, 16),
      RoundUp(PackedConvF32Floats(binding.kernels().isa, shape), 16) + kReadSlack / 4,
      RoundUp(PaddedChannels(shape), 16) + kReadSlack / 4};
  step = std::make_unique<MatMulStep>(
      binding.kernels(), *parameters, shape,
      MatMulStep::Operands{reals(a), reals(b), reinterpret_cast<float*>(binding.Write(out)),
                           repeats},
      layout);
  return {};
}

}  // namespace ds::engine
