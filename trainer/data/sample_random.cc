#include "trainer/data/sample_random.h"

#include "base/check.h"

namespace ds {
namespace {

// From the paper's table 2 and section 3.2 (Weyl constants: golden ratio, sqrt(3) - 1).
constexpr uint64_t kMultiplier0 = 0xD2511F53;
constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

constexpr int kPurposeShift = 24;  // within the counter's second word

}  // namespace

PhiloxBlock Philox(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

SampleRandom::SampleRandom(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {
  DS_CHECK(a >> 32 == 0 && b >> 40 == 0) << a << " " << b;
  // Word 0 counts blocks; the high byte of word 1 is the purpose, its low byte the top of b.
  counter_ = {0, static_cast<uint32_t>(purpose) << kPurposeShift | static_cast<uint32_t>(b >> 32),
              static_cast<uint32_t>(b), static_cast<uint32_t>(a)};
}

void SampleRandom::Refill() {
  block_ = Philox(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

}  // namespace ds
