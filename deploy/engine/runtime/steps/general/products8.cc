// Attention between codes: products of two computed matrices with exact sums, and shares that sum
// to one.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/rows_step.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::Type;

// Four columns of the product at a time: a row of codes against four.
constexpr int kTogether = 4;

struct Product {
  file::MatMul8Parameters p;
  const uint8_t *a, *b;
  uint8_t* out;

  // b's columns one after another, less their zero point.
  void Turn(const uint8_t* from, int16_t* to) const {
    const int64_t depth = p.depth, columns = p.columns;
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t k = 0; k < depth; ++k) {
        const uint8_t code = p.turned != 0 ? from[c * depth + k] : from[k * columns + c];
        to[c * depth + k] = static_cast<int16_t>(code - p.zero_b);
      }
    }
  }
  uint8_t Code(int32_t sum) const {
    const float y =
        std::nearbyint(static_cast<float>(sum) * p.multiplier) + static_cast<float>(p.zero_point);
    return static_cast<uint8_t>(
        std::clamp(y, static_cast<float>(p.low), static_cast<float>(p.high)));
  }
  void Row(const int16_t* x, const int16_t* turned, uint8_t* y) const {
    const int64_t depth = p.depth, columns = p.columns;
    int64_t c = 0;
    for (; c + kTogether <= columns; c += kTogether) {
      const int16_t* w = turned + c * depth;
      int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (int64_t k = 0; k < depth; ++k) {
        s0 += x[k] * w[k];
        s1 += x[k] * w[depth + k];
        s2 += x[k] * w[2 * depth + k];
        s3 += x[k] * w[3 * depth + k];
      }
      y[c] = Code(s0);
      y[c + 1] = Code(s1);
      y[c + 2] = Code(s2);
      y[c + 3] = Code(s3);
    }
    for (; c < columns; ++c) {
      int32_t sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += x[k] * turned[c * depth + k];
      y[c] = Code(sum);
    }
  }
  void Run(int64_t unit, int16_t* scratch) const {
    const int64_t rows = p.rows, depth = p.depth, columns = p.columns;
    int16_t* turned = scratch + RoundUp(depth, 32);
    Turn(b + (p.b_repeats != 0 ? 0 : unit * depth * columns), turned);
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t* x = a + (unit * rows + row) * depth;
      for (int64_t k = 0; k < depth; ++k) scratch[k] = static_cast<int16_t>(x[k] - p.zero_a);
      Row(scratch, turned, out + (unit * rows + row) * columns);
    }
  }
};

}  // namespace

Status MakeMatMul8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::MatMul8Parameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(Type::kUint8, Type::kUint8));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->turned));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->b_repeats));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, p->zero_a));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, p->zero_b));
  DS_ENGINE_RETURN_IF_ERROR(CheckCodes(binding, p->zero_point, p->low, p->high));
  // 255 * 255 * depth must fit.
  if (p->depth > static_cast<uint32_t>(kMaxDepth) / 2 ||
      !Holds(binding.input(0), p->batch, p->rows, p->depth) ||
      !Holds(binding.input(1), p->b_repeats ? 1u : p->batch, p->depth, p->columns) ||
      !Holds(binding.output(), p->batch, p->rows, p->columns)) {
    return binding.Error("has tensors of other sizes than its extents");
  }
  const Product product{*p, ReadAs<uint8_t>(binding, 0), ReadAs<uint8_t>(binding, 1),
                        WriteAs<uint8_t>(binding)};
  step = MakeWork(
      p->batch, Elements(binding.input(0)) * int64_t{p->columns},
      [product](Range units, void* scratch) {
        for (int64_t unit = units.begin; unit < units.end; ++unit) {
          product.Run(unit, static_cast<int16_t*>(scratch));
        }
      },
      2 * (RoundUp(int64_t{p->depth}, 32) + int64_t{p->depth} * p->columns));
  return {};
}

Status MakeSoftmax8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::Softmax8Parameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 1));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(Type::kUint8, Type::kUint8));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, p->zero_point));
  SoftmaxArgs args;
  DS_ENGINE_RETURN_IF_ERROR(BindRow(binding, args));
  const void* table = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(0, 256 * 4, table));
  args.exponent = static_cast<const int32_t*>(table);
  for (int i = 0; i < 256; ++i) {
    if (args.exponent[i] < 0 || args.exponent[i] > INT32_MAX / args.columns) {
      return binding.Error("has exponents whose sum could leave 32 bits");
    }
  }
  args.scale_out = p->scale;
  args.zero_out = p->zero_point;
  step = std::make_unique<RowsStep<SoftmaxArgs>>(binding.kernels().softmax8, args,
                                                 Rows(binding.input(0)));
  return {};
}

}  // namespace ds::engine
