// Layer norm from codes to codes: row by row what dequantise, layer_norm_f32 and quantise compute,
// the floats of one row alone in memory.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

// Units are rows; scratch is a row of floats.
class LayerNorm8Step final : public Step {
 public:
  LayerNorm8Step(const Kernels& kernels, const DequantiseArgs& in, const LayerNormArgs& norm,
                 const QuantiseArgs& out, int64_t rows)
      : Step(rows, rows * norm.columns, int64_t{norm.columns} * 4 + kReadSlack),
        kernels_(kernels),
        in_(in),
        norm_(norm),
        out_(out) {}

  void Run(Range units, void* scratch) const override {
    // Strides of 0: every row has the same place there.
    DequantiseArgs in = in_;
    LayerNormArgs norm = norm_;
    QuantiseArgs out = out_;
    in.output = {scratch, 0};
    norm.input = {scratch, 0};
    norm.output = {scratch, 0};
    out.input = {scratch, 0};
    for (int32_t row = units.begin; row < units.end; ++row) {
      const Range one{row, row + 1};
      kernels_.dequantise(in, one);
      kernels_.layer_norm_f32(norm, one);
      kernels_.quantise(out, one);
    }
  }

 private:
  const Kernels& kernels_;
  const DequantiseArgs in_;
  const LayerNormArgs norm_;
  const QuantiseArgs out_;
};

}  // namespace

Status MakeLayerNorm8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::LayerNorm8Parameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->norm.has_scale));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->norm.has_shift));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, p->zero_in));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, p->zero_out));
  const auto constants = static_cast<int>(p->norm.has_scale + p->norm.has_shift);
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, constants));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  const file::Tensor &from = binding.input(0), &to = binding.output();
  if (!SameDims(from, to)) return binding.Error("has an input of other dims than its output's");
  DequantiseArgs in;
  LayerNormArgs norm;
  QuantiseArgs out;
  in.columns = norm.columns = out.columns = Columns(from);
  in.input = {binding.Read(from), from.row_bytes};
  in.scale = p->scale_in;
  in.zero_point = p->zero_in;
  const void *scale = nullptr, *shift = nullptr;
  const int64_t bytes = int64_t{norm.columns} * 4;
  if (p->norm.has_scale) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(0, bytes, scale));
  if (p->norm.has_shift) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(constants - 1, bytes, shift));
  norm.scale = static_cast<const float*>(scale);
  norm.shift = static_cast<const float*>(shift);
  norm.epsilon = p->norm.epsilon;
  out.output = {binding.Write(to), to.row_bytes};
  out.scale = p->scale_out;
  out.zero_point = p->zero_out;
  step = std::make_unique<LayerNorm8Step>(binding.kernels(), in, norm, out, Rows(from));
  return {};
}

}  // namespace ds::engine
