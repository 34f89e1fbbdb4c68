// Rows of floats by vectors (see conv_f32_inl.h): softmax, layer norm and the activations that need
// an exponential. Also of Vector: Subtract(), Multiply(), Divide(), Round() and PowerOfTwo().
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/activate_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"

namespace ds::engine {
namespace {

template <typename Vector>
struct Floats {
  using Register = typename Vector::Register;
  static constexpr int32_t kWidth = Vector::kWidth;

  // exp(x) = 2^n exp(r), |r| <= log(2) / 2, by the Taylor series to r^7: its rest is below 2^-25.
  // x is held within what gives a normal number.
  [[gnu::always_inline]] static Register Exp(Register x) {
    x = Vector::Min(Vector::Max(x, Vector::Every(-87.0f)), Vector::Every(88.0f));
    const Register n = Vector::Round(Vector::Multiply(x, Vector::Every(0x1.715476p0f)));
    // log(2) in two parts, the first of few enough bits that its products are exact.
    Register r = Vector::MultiplyAdd(n, Vector::Every(-0x1.62e4p-1f), x);
    r = Vector::MultiplyAdd(n, Vector::Every(-0x1.7f7d1cp-20f), r);
    Register sum = Vector::Every(1.0f / 5040);
    for (float factor : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
      sum = Vector::MultiplyAdd(sum, r, Vector::Every(factor));
    return Vector::PowerOfTwo(sum, n);
  }

  [[gnu::always_inline]] static Register Sigmoid(Register x) {
    const Register one = Vector::Every(1.0f);
    const Register e = Exp(Vector::Subtract(Vector::Every(0.0f), x));
    return Vector::Divide(one, Vector::Add(one, e));
  }

  static float Total(Register sums) {
    float lanes[kWidth], total = 0;
    Vector::StoreSome(lanes, kWidth, sums);
    for (float lane : lanes) total += lane;
    return total;
  }

  static float Sum(const float* in, int32_t count) {
    Register sums = Vector::Every(0.0f);
    int32_t c = 0;
    for (; c + kWidth <= count; c += kWidth) sums = Vector::Add(sums, Vector::Load(in + c));
    float total = Total(sums);
    for (; c < count; ++c) total += in[c];
    return total;
  }

  // out[c] = function(in[c]); returns the sum of what was stored.
  template <typename Function>
  [[gnu::always_inline]] static float MapSum(const float* in, int32_t count, float* out,
                                             Function function) {
    Register sums = Vector::Every(0.0f);
    int32_t c = 0;
    for (; c + kWidth <= count; c += kWidth) {
      const Register value = function(Vector::Load(in + c));
      sums = Vector::Add(sums, value);
      Vector::StoreSome(out + c, kWidth, value);
    }
    float total = Total(sums);
    if (c < count) {
      Vector::StoreSome(out + c, count - c, function(Vector::LoadSome(in + c, count - c)));
      for (; c < count; ++c) total += out[c];
    }
    return total;
  }

  static void Softmax(const SoftmaxArgs& args, Range rows) {
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      const float* in = RowAt<float>(args.input, row);
      float* out = RowAt<float>(args.output, row);
      Register most = Vector::Every(in[0]);
      int32_t c = 0;
      for (; c + kWidth <= args.columns; c += kWidth)
        most = Vector::Max(Vector::Load(in + c), most);
      float lanes[kWidth];
      Vector::StoreSome(lanes, kWidth, most);
      float greatest = *std::max_element(lanes, lanes + kWidth);
      for (; c < args.columns; ++c) greatest = std::max(greatest, in[c]);
      const Register shift = Vector::Every(greatest);
      const float sum = MapSum(
          in, args.columns, out, [&](Register x) __attribute__((always_inline)) {
            return Exp(Vector::Subtract(x, shift));
          });
      const Register factor = Vector::Every(1.0f / sum);
      MapSum(out, args.columns, out, [&](Register x) { return Vector::Multiply(x, factor); });
    }
  }

  static void LayerNorm(const LayerNormArgs& args, Range rows) {
    const float count = static_cast<float>(args.columns);
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      const float* in = RowAt<float>(args.input, row);
      float* out = RowAt<float>(args.output, row);
      const float mean = Sum(in, args.columns) / count;
      const Register middle = Vector::Every(mean);
      Register squares = Vector::Every(0.0f);
      int32_t c = 0;
      for (; c + kWidth <= args.columns; c += kWidth) {
        const Register x = Vector::Subtract(Vector::Load(in + c), middle);
        squares = Vector::MultiplyAdd(x, x, squares);
      }
      float total = Total(squares);
      for (; c < args.columns; ++c) total += (in[c] - mean) * (in[c] - mean);
      const Register factor = Vector::Every(1.0f / std::sqrt(total / count + args.epsilon));
      for (c = 0; c < args.columns; c += kWidth) {
        const int32_t left = std::min(kWidth, args.columns - c);
        Register x = Vector::Subtract(Vector::LoadSome(in + c, left), middle);
        x = Vector::Multiply(x, factor);
        if (args.scale) x = Vector::Multiply(x, Vector::LoadSome(args.scale + c, left));
        if (args.shift) x = Vector::Add(x, Vector::LoadSome(args.shift + c, left));
        Vector::StoreSome(out + c, left, x);
      }
    }
  }

  static void Activate(const ActivateF32Args& args, Range rows) {
    const Activation kind = args.activate.kind;
    if (kind != Activation::kSigmoid && kind != Activation::kSilu)
      return PlainActivateF32(args, rows);
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      const float* in = RowAt<float>(args.input, row);
      float* out = RowAt<float>(args.output, row);
      if (kind == Activation::kSigmoid) {
        MapSum(in, args.columns, out, [](Register x) { return Sigmoid(x); });
      } else {
        MapSum(in, args.columns, out, [](Register x) { return Vector::Multiply(x, Sigmoid(x)); });
      }
    }
  }
};

}  // namespace
}  // namespace ds::engine
