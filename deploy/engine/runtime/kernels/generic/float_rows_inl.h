// Rows of floats by vectors (see conv_f32_inl.h): softmax, layer norm, activations and arithmetic.
// Where a row is written over, as it often is, no compiler makes vectors of a plain loop. Also of
// Vector: Subtract(), Multiply(), Divide(), Round() and PowerOfTwo().
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

  [[gnu::always_inline]] static Register HardSigmoid(Register x) {
    const Register line =
        Vector::Add(Vector::Multiply(x, Vector::Every(1.0f / 6)), Vector::Every(0.5f));
    return Vector::Min(Vector::Max(line, Vector::Every(0.0f)), Vector::Every(1.0f));
  }

  // 2 sigmoid(2 x) - 1.
  [[gnu::always_inline]] static Register Tanh(Register x) {
    const Register two = Vector::Every(2.0f);
    return Vector::MultiplyAdd(two, Sigmoid(Vector::Multiply(two, x)), Vector::Every(-1.0f));
  }

  // x (1 + erf(x / sqrt 2)) / 2 = (x + |x| erf(|x| / sqrt 2)) / 2, with erf(a) as 1 - polynomial(t)
  // exp(-a^2), t = 1 / (1 + 0.3275911 a): Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most.
  [[gnu::always_inline]] static Register Gelu(Register x) {
    const Register zero = Vector::Every(0.0f), one = Vector::Every(1.0f);
    const Register magnitude = Vector::Max(Vector::Subtract(zero, x), x);
    const Register a = Vector::Multiply(magnitude, Vector::Every(0x1.6a09e6p-1f));
    const Register t = Vector::Divide(one, Vector::MultiplyAdd(a, Vector::Every(0.3275911f), one));
    Register sum = Vector::Every(1.061405429f);
    for (float factor : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f, 0.0f})
      sum = Vector::MultiplyAdd(sum, t, Vector::Every(factor));
    const Register tail =
        Vector::Multiply(sum, Exp(Vector::Subtract(zero, Vector::Multiply(a, a))));
    const Register erf = Vector::Subtract(one, tail);
    return Vector::Multiply(Vector::Every(0.5f), Vector::MultiplyAdd(magnitude, erf, x));
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

  static void ActivateRow(const ds::engine::Activate& how, const float* in, int32_t count,
                          float* out) {
    switch (how.kind) {
      case Activation::kSigmoid:
        MapSum(in, count, out, [](Register x) { return Sigmoid(x); });
        return;
      case Activation::kSilu:
        MapSum(in, count, out, [](Register x) { return Vector::Multiply(x, Sigmoid(x)); });
        return;
      case Activation::kTanh:
        MapSum(in, count, out, [](Register x) { return Tanh(x); });
        return;
      case Activation::kGelu:
        MapSum(in, count, out, [](Register x) { return Gelu(x); });
        return;
      case Activation::kHardSigmoid:
        MapSum(in, count, out, [](Register x) { return HardSigmoid(x); });
        return;
      case Activation::kHardSwish:
        MapSum(in, count, out, [](Register x) { return Vector::Multiply(x, HardSigmoid(x)); });
        return;
      case Activation::kClamp:
        MapSum(in, count, out,
               [low = Vector::Every(how.low), high = Vector::Every(how.high)](Register x) {
                 return Vector::Min(Vector::Max(x, low), high);
               });
        return;
      case Activation::kLeakyRelu:
        MapSum(in, count, out, [slope = Vector::Every(how.low)](Register x) {
          const Register zero = Vector::Every(0.0f);
          return Vector::MultiplyAdd(slope, Vector::Min(zero, x),
                                     Vector::Max(zero, x));  // NaN stays
        });
        return;
      case Activation::kNone:
        MapSum(in, count, out, [](Register x) { return x; });
    }
  }

  template <typename Function>
  [[gnu::always_inline]] static void Zip(const float* a, const float* b, int32_t count, float* out,
                                         Function function) {
    int32_t c = 0;
    for (; c + kWidth <= count; c += kWidth)
      Vector::StoreSome(out + c, kWidth, function(Vector::Load(a + c), Vector::Load(b + c)));
    if (const int32_t left = count - c; left > 0) {
      Vector::StoreSome(out + c, left,
                        function(Vector::LoadSome(a + c, left), Vector::LoadSome(b + c, left)));
    }
  }

  static void BinaryRow(ds::engine::Binary kind, const float* a, const float* b, int32_t count,
                        float* out) {
    switch (kind) {
      case ds::engine::Binary::kAdd:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Add(x, y); });
      case ds::engine::Binary::kSubtract:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Subtract(x, y); });
      case ds::engine::Binary::kMultiply:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Multiply(x, y); });
      case ds::engine::Binary::kDivide:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Divide(x, y); });
      case ds::engine::Binary::kMaximum:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Max(x, y); });
      case ds::engine::Binary::kMinimum:
        return Zip(a, b, count, out, [](Register x, Register y) { return Vector::Min(x, y); });
    }
  }

  static void Binary(const BinaryF32Args& args, Range rows) {
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      float* out = RowAt<float>(args.output, row);
      BinaryRow(args.kind, RowAt<float>(args.a, row), RowAt<float>(args.b, row), args.columns, out);
      if (args.activate.kind != Activation::kNone)
        ActivateRow(args.activate, out, args.columns, out);
    }
  }

  // kRows rows of a matrix from `first` on, times the vector: what is read of it serves all.
  template <int kRows>
  static void AddSomeDots(const AddDotsF32Args& args, int32_t first) {
    const float* matrix = args.matrix + first * args.stride;
    Register sums[kRows];
    for (Register& sum : sums) sum = Vector::Every(0.0f);
    for (int32_t c = 0; c < args.columns; c += kWidth) {
      const int32_t left = std::min(kWidth, args.columns - c);
      const Register x = Vector::LoadSome(args.vector + c, left);
      for (int r = 0; r < kRows; ++r)
        sums[r] =
            Vector::MultiplyAdd(Vector::LoadSome(matrix + r * args.stride + c, left), x, sums[r]);
    }
    for (int r = 0; r < kRows; ++r) args.output[first + r] += Total(sums[r]);
  }

  static void AddDots(const AddDotsF32Args& args, Range rows) {
    constexpr int32_t kTogether = 8;
    int32_t row = rows.begin;
    for (; row + kTogether <= rows.end; row += kTogether) AddSomeDots<kTogether>(args, row);
    for (; row < rows.end; ++row) AddSomeDots<1>(args, row);
  }

  static void Activate(const ActivateF32Args& args, Range rows) {
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      ActivateRow(args.activate, RowAt<float>(args.input, row), args.columns,
                  RowAt<float>(args.output, row));
    }
  }
};

}  // namespace
}  // namespace ds::engine
