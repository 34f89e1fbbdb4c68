#include "data/sample_random.h"

#include "base/check.h"

namespace ds {
namespace {

constexpr int kPurposeShift = 24;  // within the counter's second word

}  // namespace

SampleRandom::SampleRandom(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {
  DS_CHECK(a >> 32 == 0 && b >> 40 == 0) << a << " " << b;
  // Word 0 counts blocks; the high byte of word 1 is the purpose, its low byte the top of b.
  counter_ = {0, static_cast<uint32_t>(purpose) << kPurposeShift | static_cast<uint32_t>(b >> 32),
              static_cast<uint32_t>(b), static_cast<uint32_t>(a)};
}

void SampleRandom::Refill() {
  block_ = Philox4x32(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

}  // namespace ds
