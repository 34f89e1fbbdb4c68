#include "quant/torch/reconstruction/random_drop.h"

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"

namespace ds {
namespace {

// A mask is a stretch of the pool that starts anywhere in its first kStarts elements.
constexpr int64_t kStarts = 1 << 16;

}  // namespace

RandomDrop::RandomDrop(double share, uint64_t seed)
    : share_(share), generator_(at::detail::createCPUGenerator(seed)) {}

at::Tensor RandomDrop::Mix(const at::Tensor& rounded, const at::Tensor& exact) {
  if (!active()) return rounded;
  const int64_t count = rounded.numel();
  if (!pool_.defined() || pool_.numel() < count + kStarts) {
    pool_ =
        at::empty({count + kStarts}, at::TensorOptions(at::kBool)).bernoulli_(share_, generator_);
  }
  const int64_t start =
      at::randint(kStarts, {1}, generator_, at::TensorOptions(at::kLong)).item<int64_t>();
  const at::Tensor stretch = pool_.narrow(0, start, count);
  // In the order of the tensor's memory, so that all three are read in step.
  const at::Tensor mask = rounded.is_non_overlapping_and_dense()
                              ? stretch.as_strided(rounded.sizes(), rounded.strides(), start)
                              : stretch.view(rounded.sizes());
  return at::where(mask, exact, rounded);
}

}  // namespace ds
