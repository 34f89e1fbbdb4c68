// What the tests of kernels share: one test an instruction set, values to try, and ways to split a
// range.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "gtest/gtest.h"

namespace ds::engine {

inline constexpr uint64_t kSeed = 20261129;
inline constexpr uint8_t kCanary = 0xa5;

class KernelsTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    kernels_ = KernelsFor(GetParam());
    if (!kernels_) GTEST_SKIP() << "this processor has no " << IsaName(GetParam());
  }
  const Kernels* kernels_ = nullptr;
};

// The sets that this architecture may have.
#if defined(__aarch64__)
inline constexpr Isa kSets[] = {Isa::kScalar, Isa::kNeon, Isa::kNeonDot, Isa::kNeonI8mm};
#else
inline constexpr Isa kSets[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512Vnni};
#endif
inline auto AllSets() { return testing::ValuesIn(kSets); }
inline std::string SetName(const testing::TestParamInfo<Isa>& info) { return IsaName(info.param); }

// Memory that begins at a multiple of `alignment` and ends, but for less than that, where a page
// begins that nobody may touch: what reads or writes behind it stops the test.
class Guarded {
 public:
  explicit Guarded(int64_t bytes, int64_t alignment = 64) {
    const int64_t page = sysconf(_SC_PAGESIZE), used = RoundUp(bytes, alignment);
    mapped_ = static_cast<size_t>(RoundUp(used, page) + page);
    memory_ = static_cast<uint8_t*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(static_cast<void*>(memory_), MAP_FAILED);
    uint8_t* end = memory_ + mapped_ - page;
    EXPECT_EQ(mprotect(end, static_cast<size_t>(page), PROT_NONE), 0);
    begin_ = end - used;
    std::fill(begin_, end, uint8_t{0xee});
  }
  template <typename T>
  explicit Guarded(const std::vector<T>& values)
      : Guarded(static_cast<int64_t>(values.size() * sizeof(T)), sizeof(T)) {
    std::copy(values.begin(), values.end(), reinterpret_cast<T*>(begin_));
  }
  ~Guarded() { munmap(memory_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  uint8_t* get() const { return begin_; }

 private:
  uint8_t *memory_, *begin_;
  size_t mapped_;
};

inline std::vector<uint8_t> RandomBytes(int64_t count, CounterRandom& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count + kReadSlack));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.NextUint32());
  return bytes;
}

// In [-width, width).
inline std::vector<float> RandomFloats(int64_t count, float width, CounterRandom& random) {
  std::vector<float> values(static_cast<size_t>(count + kReadSlack / 4));
  for (float& value : values) value = (2 * random.NextFloat() - 1) * width;
  return values;
}

// Calls run(range) for parts of [0, end) of random sizes, the last part first.
template <typename Run>
void RunSplit(int32_t end, CounterRandom& random, Run run) {
  std::vector<Range> parts;
  for (int32_t begin = 0; begin < end;) {
    const int32_t size = 1 + static_cast<int32_t>(random.NextBelow(static_cast<uint32_t>(end)));
    parts.push_back({begin, std::min(end, begin + size)});
    begin = parts.back().end;
  }
  std::reverse(parts.begin(), parts.end());
  for (Range part : parts) run(part);
}

// clamp(round half to even(value) + zero, low, high), rounded in double, where every float is.
inline uint8_t OracleByte(double value, int32_t zero, int32_t low = 0, int32_t high = 255) {
  const double rounded = std::nearbyint(value) + zero;
  return static_cast<uint8_t>(std::min<double>(std::max<double>(rounded, low), high));
}

// Elements of rows to try: 0, 1, primes, and around the width of vectors.
inline constexpr int32_t kWidths[] = {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 257};

}  // namespace ds::engine
