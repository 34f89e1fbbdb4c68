// Between floats, as graphs have them, and codes, as the engine lays them.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

// Floats of [N, planes, P] beside codes of [N, P, planes]; one image after another, since only
// within one the stride from pixel to pixel is the same.
template <typename Args>
class PlanesStep final : public Step {
 public:
  using Function = void (*)(const Args&, Range);
  PlanesStep(Function function, const Args& args, int32_t images, int32_t pixels)
      : Step(int64_t{images} * pixels, int64_t{images} * pixels * args.columns),
        function_(function),
        args_(args),
        pixels_(pixels) {}

  void Run(Range units, void*) const override {
    for (int32_t unit = units.begin; unit < units.end;) {
      const int32_t image = unit / pixels_, first = unit % pixels_;
      const int32_t count = std::min(pixels_ - first, units.end - unit);
      Args args = args_;
      // The rows' strides pass over pixels; from image to image both sides hold all planes.
      const int64_t elements = int64_t{image} * pixels_ * args.columns;
      args.input.data = static_cast<const char*>(args.input.data) + elements * kInputBytes;
      args.output.data = static_cast<char*>(args.output.data) + elements * kOutputBytes;
      function_(args, {first, first + count});
      unit += count;
    }
  }

 private:
  static constexpr bool kToCodes = std::is_same_v<Args, QuantiseArgs>;
  static constexpr int64_t kInputBytes = kToCodes ? 4 : 1, kOutputBytes = kToCodes ? 1 : 4;
  const Function function_;
  const Args args_;
  const int32_t pixels_;
};

// With planes = 1 both sides lie alike and codes may be a slice; rows are the tensors'.
template <typename Args>
Status Make(const Binding& binding, typename PlanesStep<Args>::Function function,
            std::unique_ptr<Step>& step) {
  constexpr bool kToCodes = std::is_same_v<Args, QuantiseArgs>;
  constexpr file::Type kFrom = kToCodes ? file::Type::kFloat32 : file::Type::kUint8;
  constexpr file::Type kTo = kToCodes ? file::Type::kUint8 : file::Type::kFloat32;
  const file::QuantiseParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(kFrom, kTo));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters->zero_point));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (Elements(in) != Elements(out)) return binding.Error("has sides of unlike sizes");
  Args args;
  args.scale = parameters->scale;
  args.zero_point = parameters->zero_point;
  args.input.data = binding.Read(in);
  args.output.data = binding.Write(out);
  const file::Tensor &codes = kToCodes ? out : in, &floats = kToCodes ? in : out;
  int64_t float_stride = floats.row_bytes, code_stride = codes.row_bytes;
  int32_t images = 1, pixels = Rows(codes);
  args.columns = Columns(codes);
  if (parameters->planes > 1) {
    const int64_t planes = parameters->planes;
    const int64_t batch = codes.rank == 0 ? 1 : codes.dims[0];
    if (!Dense(in) || !Dense(out) || Columns(codes) != planes || floats.rank < 2 ||
        floats.dims[1] != planes || floats.dims[0] != batch) {
      return binding.Error("has planes that its tensors do not have");
    }
    images = static_cast<int32_t>(batch);
    pixels = static_cast<int32_t>(Elements(codes) / planes / batch);
    args.column_stride = int64_t{pixels} * 4;
    float_stride = 4;
  } else if (Dense(in) && Dense(out)) {
    // Element by element, whatever the dims: an image of one channel.
    args.columns = Columns(floats);
    pixels = Rows(floats);
    code_stride = args.columns;
  } else if (Columns(floats) != args.columns) {
    return binding.Error("has rows of unlike sizes");
  }
  args.input.stride = kToCodes ? float_stride : code_stride;
  args.output.stride = kToCodes ? code_stride : float_stride;
  step = std::make_unique<PlanesStep<Args>>(function, args, images, pixels);
  return {};
}

}  // namespace

Status MakeQuantise(const Binding& binding, std::unique_ptr<Step>& step) {
  return Make<QuantiseArgs>(binding, binding.kernels().quantise, step);
}
Status MakeDequantise(const Binding& binding, std::unique_ptr<Step>& step) {
  return Make<DequantiseArgs>(binding, binding.kernels().dequantise, step);
}

}  // namespace ds::engine
