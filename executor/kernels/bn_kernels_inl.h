// The kernels of bn_kernels.h on vectors of DS_BN_LANES floats. Included by one source file for
// each instruction set; everything is local to that file, since code made for one set must not be
// linked into another's callers.
#include <cstdint>
#include <cstring>

#include "executor/kernels/bn_kernels.h"

namespace ds::executor {
namespace {

// Rows in flight: hides the latency of the additions.
constexpr int kUnroll = 4;

template <int kLanes>
struct Vector {
  typedef float Float __attribute__((vector_size(kLanes * 4)));
  typedef uint32_t Word __attribute__((vector_size(kLanes * 4)));
  typedef uint16_t Half __attribute__((vector_size(kLanes * 2)));
};
template <int kLanes>
using Float = typename Vector<kLanes>::Float;

template <int kLanes>
inline Float<kLanes> Load(const float* from) {
  Float<kLanes> out;
  std::memcpy(&out, from, sizeof(out));
  return out;
}

template <int kLanes>
inline void Store(float* to, Float<kLanes> value) {
  std::memcpy(to, &value, sizeof(value));
}

template <int kLanes>
inline Float<kLanes> Load(const uint16_t* from) {
  typename Vector<kLanes>::Half half;
  std::memcpy(&half, from, sizeof(half));
  const auto word = __builtin_convertvector(half, typename Vector<kLanes>::Word) << 16;
  Float<kLanes> out;
  std::memcpy(&out, &word, sizeof(out));
  return out;
}

// Round to nearest even; a NaN stays one.
template <int kLanes>
inline void Store(uint16_t* to, Float<kLanes> value) {
  typename Vector<kLanes>::Word word;
  std::memcpy(&word, &value, sizeof(word));
  const auto rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const auto chosen = value == value ? rounded : ((word >> 16) | 0x40u);
  const auto half = __builtin_convertvector(chosen, typename Vector<kLanes>::Half);
  std::memcpy(to, &half, sizeof(half));
}

template <int kLanes>
inline Float<kLanes> Masked(Float<kLanes> gradient, Float<kLanes> y, float low, float high) {
  const Float<kLanes> zero = {};
  return ((y > low) & (y < high)) ? gradient : zero;
}

// Each pass handles channels [c, c + kLanes) of all rows.
template <int kLanes, typename T>
void StatisticsBlock(const T* x, int64_t rows, int64_t channels, int64_t c, const float* shift,
                     float* sum, float* square) {
  using F = Float<kLanes>;
  const F s = Load<kLanes>(shift + c);
  F sums[kUnroll] = {};
  F squares[kUnroll] = {};
  int64_t r = 0;
  for (; r + kUnroll <= rows; r += kUnroll) {
    for (int u = 0; u < kUnroll; ++u) {
      const F d = Load<kLanes>(x + (r + u) * channels + c) - s;
      sums[u] += d;
      squares[u] += d * d;
    }
  }
  for (; r < rows; ++r) {
    const F d = Load<kLanes>(x + r * channels + c) - s;
    sums[0] += d;
    squares[0] += d * d;
  }
  Store<kLanes>(sum + c, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  Store<kLanes>(square + c, (squares[0] + squares[1]) + (squares[2] + squares[3]));
}

template <int kLanes, typename T>
void ApplyBlock(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, int64_t c,
                const BnAffine& affine) {
  using F = Float<kLanes>;
  const F mean = Load<kLanes>(affine.mean + c);
  const F scale = Load<kLanes>(affine.scale + c);
  const F bias = Load<kLanes>(affine.bias + c);
  const F low = affine.low - F{};
  const F high = affine.high - F{};
  const auto row = [&](int64_t at, F extra) {
    F v = (Load<kLanes>(x + at) - mean) * scale + bias + extra;
    // A NaN passes, as it does in LibTorch.
    v = v < low ? low : v;
    Store<kLanes>(y + at, v > high ? high : v);
  };
  if (residual == nullptr) {
    for (int64_t at = c; at < rows * channels; at += channels) row(at, F{});
  } else {
    for (int64_t at = c; at < rows * channels; at += channels) row(at, Load<kLanes>(residual + at));
  }
}

template <int kLanes, typename T>
struct ReduceBlock {
  using F = Float<kLanes>;
  const T* gradient;
  const T* y;
  const T* x;
  T* masked;
  float low;
  float high;
  F mean;

  inline void Row(int64_t at, F& sum, F& product) const {
    F g = Load<kLanes>(gradient + at);
    if (y != nullptr) g = Masked<kLanes>(g, Load<kLanes>(y + at), low, high);
    if (masked != nullptr) Store<kLanes>(masked + at, g);
    sum += g;
    product += g * (Load<kLanes>(x + at) - mean);
  }

  void Run(int64_t rows, int64_t channels, int64_t c, float* sum, float* product) const {
    F sums[kUnroll] = {};
    F products[kUnroll] = {};
    int64_t r = 0;
    for (; r + kUnroll <= rows; r += kUnroll) {
      for (int u = 0; u < kUnroll; ++u) Row((r + u) * channels + c, sums[u], products[u]);
    }
    for (; r < rows; ++r) Row(r * channels + c, sums[0], products[0]);
    Store<kLanes>(sum + c, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    Store<kLanes>(product + c, (products[0] + products[1]) + (products[2] + products[3]));
  }
};

template <int kLanes, typename T>
void InputGradientBlock(const T* gradient, const T* y, const T* x, T* dx, int64_t rows,
                        int64_t channels, int64_t c, const BnInputGradient& k) {
  using F = Float<kLanes>;
  const F mean = Load<kLanes>(k.mean + c);
  const F scale = Load<kLanes>(k.scale + c);
  const F slope = Load<kLanes>(k.slope + c);
  const F offset = Load<kLanes>(k.offset + c);
  const auto row = [&](int64_t at, F g) {
    Store<kLanes>(dx + at, g * scale + ((Load<kLanes>(x + at) - mean) * slope + offset));
  };
  if (y == nullptr) {
    for (int64_t at = c; at < rows * channels; at += channels) row(at, Load<kLanes>(gradient + at));
  } else {
    for (int64_t at = c; at < rows * channels; at += channels) {
      row(at, Masked<kLanes>(Load<kLanes>(gradient + at), Load<kLanes>(y + at), k.low, k.high));
    }
  }
}

// Calls body.operator()<lanes>(c) over all channels: the widest vectors first, halves for what is
// left.
template <int kLanes, typename Body>
void OverChannels(int64_t c, int64_t channels, const Body& body) {
  for (; c + kLanes <= channels; c += kLanes) body.template operator()<kLanes>(c);
  if constexpr (kLanes > 1) OverChannels<kLanes / 2>(c, channels, body);
}

template <typename T>
void Statistics(const void* x, int64_t rows, int64_t channels, const float* shift, float* sum,
                float* square) {
  OverChannels<DS_BN_LANES>(0, channels, [&]<int kLanes>(int64_t c) {
    StatisticsBlock<kLanes>(static_cast<const T*>(x), rows, channels, c, shift, sum, square);
  });
}

template <typename T>
void Apply(const void* x, const void* residual, void* y, int64_t rows, int64_t channels,
           const BnAffine& affine) {
  OverChannels<DS_BN_LANES>(0, channels, [&]<int kLanes>(int64_t c) {
    ApplyBlock<kLanes>(static_cast<const T*>(x), static_cast<const T*>(residual),
                       static_cast<T*>(y), rows, channels, c, affine);
  });
}

template <typename T>
void Reduce(const void* gradient, const void* y, const void* x, void* masked, int64_t rows,
            int64_t channels, const float* mean, float low, float high, float* sum,
            float* product) {
  OverChannels<DS_BN_LANES>(0, channels, [&]<int kLanes>(int64_t c) {
    const ReduceBlock<kLanes, T> block{static_cast<const T*>(gradient),
                                       static_cast<const T*>(y),
                                       static_cast<const T*>(x),
                                       static_cast<T*>(masked),
                                       low,
                                       high,
                                       Load<kLanes>(mean + c)};
    block.Run(rows, channels, c, sum, product);
  });
}

template <typename T>
void InputGradient(const void* gradient, const void* y, const void* x, void* dx, int64_t rows,
                   int64_t channels, const BnInputGradient& coefficients) {
  OverChannels<DS_BN_LANES>(0, channels, [&]<int kLanes>(int64_t c) {
    InputGradientBlock<kLanes>(static_cast<const T*>(gradient), static_cast<const T*>(y),
                               static_cast<const T*>(x), static_cast<T*>(dx), rows, channels, c,
                               coefficients);
  });
}

const BnKernels& LocalTable(bool bf16) {
  static constexpr BnKernels kFloat = {Statistics<float>, Apply<float>, Reduce<float>,
                                       InputGradient<float>};
  static constexpr BnKernels kBFloat16 = {Statistics<uint16_t>, Apply<uint16_t>, Reduce<uint16_t>,
                                          InputGradient<uint16_t>};
  return bf16 ? kBFloat16 : kFloat;
}

}  // namespace
}  // namespace ds::executor
