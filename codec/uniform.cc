// Uniform quantisation of 1..8 bits (QSGD, Alistarh et al. 2017), optionally of the rotated bucket
// (Suresh et al. 2017).
#include <bit>
#include <cstring>

#include "codec/internal.h"

namespace ds::lowbit {
namespace {

class UniformCodec final : public BucketCodec {
 public:
  using BucketCodec::BucketCodec;

 protected:
  int64_t BucketBytes(int64_t count) const override {
    return HeaderBytes() + CodeBytes(count, options().bits);
  }

  void EncodeBucket(const float* values, int64_t count, const Streams& streams, uint64_t element,
                    uint8_t* out) const override {
    float rotated[kGreatestBucket];
    if (options().rotate) {
      std::memcpy(rotated, values, static_cast<size_t>(count) * sizeof(float));
      Rotate(rotated, count, streams.rotation, element);
      values = rotated;
    }
    const UniformGrid grid = GridOf(values, count);
    PutFloat(grid.step, out);
    if (!max_norm()) PutFloat(grid.origin, out + sizeof(float));
    EncodeCodes(values, count, grid, streams, element, out + HeaderBytes());
  }

  absl::Status DecodeBucket(const uint8_t* in, const Streams& streams, uint64_t element, Into into,
                            float* values, int64_t count) const override {
    const UniformGrid grid = {max_norm() ? 0.0f : GetFloat(in + sizeof(float)), GetFloat(in)};
    if (!IsFinite(grid.step) || !IsFinite(grid.origin)) {
      Fill(FromBits(kNanBits), into, values, count);
    } else if (grid.step == 0 && (grid.origin == 0 || !options().rotate)) {
      Fill(grid.origin, into, values, count);
    } else if (!options().rotate) {
      DecodeCodes(in + HeaderBytes(), grid, into, values, count);
    } else {
      float rotated[kGreatestBucket];
      DecodeCodes(in + HeaderBytes(), grid, Into::kStore, rotated, count);
      RotateBack(rotated, count, streams.rotation, element);
      if (into == Into::kAdd) {
        kernels().add_float32(reinterpret_cast<const uint8_t*>(rotated), count, values);
      } else {
        std::memcpy(values, rotated, static_cast<size_t>(count) * sizeof(float));
      }
    }
    return absl::OkStatus();
  }

 private:
  bool max_norm() const { return options().scale == CodecScale::kMaxNorm; }
  int64_t HeaderBytes() const {
    return static_cast<int64_t>(max_norm() ? sizeof(float) : 2 * sizeof(float));
  }
  // At max-norm a single bit is a sign.
  bool codes_are_signs() const { return max_norm() && options().bits == 1; }

  UniformGrid GridOf(const float* values, int64_t count) const {
    if (max_norm()) return MaxNormGrid(options().bits, kernels().magnitude(values, count));
    int32_t low = 0, high = 0;
    kernels().range(values, count, &low, &high);
    return MinMaxGrid(options().bits, low, high);
  }

  void EncodeCodes(const float* values, int64_t count, const UniformGrid& grid,
                   const Streams& streams, uint64_t element, uint8_t* out) const {
    const int bits = options().bits;
    if (!(grid.step > 0)) {  // poisoned, or all of it is the origin
      std::memset(out, 0, static_cast<size_t>(CodeBytes(count, bits)));
    } else if (options().rounding == CodecRounding::kStochastic) {
      const UniformEncoding encoding = EncodingOf(grid, bits, max_norm(), /*stochastic=*/true);
      kernels().encode_stochastic[bits - 1](values, count, encoding, streams.rounding, element,
                                            out);
    } else if (codes_are_signs()) {
      kernels().encode_signs(values, count, out);
    } else {
      const UniformEncoding encoding = EncodingOf(grid, bits, max_norm(), /*stochastic=*/false);
      kernels().encode_nearest[bits - 1](values, count, encoding, out);
    }
  }

  void DecodeCodes(const uint8_t* in, const UniformGrid& grid, Into into, float* values,
                   int64_t count) const {
    const int way = static_cast<int>(into), bits = options().bits;
    if (codes_are_signs()) {
      kernels().decode_signs[way](in, count, grid.step, values);
    } else {
      const uint32_t bias = max_norm() ? static_cast<uint32_t>(MaxNormSteps(bits)) : 0;
      kernels().decode[way][bits - 1](in, count, grid, bias, values);
    }
  }

  // A short bucket is no power of two: it is rotated in pieces that are, the greatest first.
  template <typename Piece>
  static void OverPieces(int64_t count, const Piece& piece) {
    for (int64_t at = 0; at < count;) {
      const int64_t size = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count - at)));
      piece(at, size, RotationScale(std::countr_zero(static_cast<uint64_t>(size))));
      at += size;
    }
  }

  void Rotate(float* values, int64_t count, const NoiseStream& noise, uint64_t element) const {
    OverPieces(count, [&](int64_t at, int64_t size, float scale) {
      kernels().flip(values + at, size, scale, noise, element + static_cast<uint64_t>(at));
      kernels().hadamard(values + at, size);
    });
  }

  void RotateBack(float* values, int64_t count, const NoiseStream& noise, uint64_t element) const {
    OverPieces(count, [&](int64_t at, int64_t size, float scale) {
      kernels().hadamard(values + at, size);
      kernels().flip(values + at, size, scale, noise, element + static_cast<uint64_t>(at));
    });
  }
};

}  // namespace

std::unique_ptr<Codec> MakeUniformCodec(const CodecOptions& options, const CodecKernels& kernels) {
  return std::make_unique<UniformCodec>(options, kernels);
}

}  // namespace ds::lowbit
