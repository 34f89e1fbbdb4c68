#include "executor/dropout.h"

#include "ATen/Parallel.h"

namespace ds::executor {

namespace {

// Finaliser of a 64-bit mix (odd multipliers and shifts, a bijection): one bit changed in flips
// half the bits out.
uint64_t Mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93u;
  x ^= x >> 32;
  return x;
}

constexpr uint64_t kWeyl = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio

}  // namespace

uint64_t DropoutNode(absl::string_view name) {
  uint64_t hash = 0;
  for (const char c : name) hash = Mix(hash + kWeyl + static_cast<unsigned char>(c));
  return hash;
}

at::Tensor DropoutMask(const DropoutKey& key, uint64_t node, double ratio, at::IntArrayRef sizes,
                       at::ScalarType type) {
  uint64_t stream = 0;
  for (const uint64_t part : {key.seed, key.step, key.rank, node}) {
    stream = Mix(stream + kWeyl + part);
  }
  at::Tensor mask = at::empty(sizes, at::TensorOptions(at::kFloat));
  float* out = mask.mutable_data_ptr<float>();
  const float keep = static_cast<float>(1.0 / (1.0 - ratio));
  // 32 random bits against a threshold: the ratio is met within 2^-32.
  const uint64_t threshold = static_cast<uint64_t>(ratio * 4294967296.0);
  at::parallel_for(0, mask.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t random = Mix(stream + kWeyl * static_cast<uint64_t>(i)) >> 32;
      out[i] = random < threshold ? 0.0f : keep;
    }
  });
  return mask.to(type);
}

}  // namespace ds::executor
