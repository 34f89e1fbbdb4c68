#include "base/cpu/cpu_features.h"
#include "federated/update/packing_inl.h"

namespace ds::federated {
namespace {

struct Portable {
  // Fields of kField bits in lanes of kLane bits join to one field: neighbours to pairs, pairs to
  // fours.
  template <int kField, int kLane>
  static uint64_t Squeeze(uint64_t x) {
    if constexpr (kLane == 64 || kField == kLane) {
      return x;
    } else {
      constexpr uint64_t kLower = FieldMask(kField, 2 * kLane);
      return Squeeze<2 * kField, 2 * kLane>((x & kLower) |
                                            ((x >> (kLane - kField)) & (kLower << kField)));
    }
  }

  // The way back; what lies above the fields is ignored.
  template <int kField, int kLane>
  static uint64_t Spread(uint64_t x) {
    if constexpr (kLane == 64 || kField == kLane) {
      return x;
    } else {
      x = Spread<2 * kField, 2 * kLane>(x);
      constexpr uint64_t kLower = FieldMask(kField, 2 * kLane);
      return (x & kLower) | ((x << (kLane - kField)) & (kLower << kLane));
    }
  }
};

constexpr PackingKernels kKernels = MakeKernels<Portable>();

}  // namespace

const PackingKernels& PortablePacking() { return kKernels; }

#if defined(__x86_64__)

// Some processors with AVX2 have pext in microcode, at hundreds of cycles; none with AVX-512.
bool HasFastBmi2() { return Cpu().avx512; }
const PackingKernels& BestPacking() { return HasFastBmi2() ? Bmi2Packing() : PortablePacking(); }

#else

bool HasFastBmi2() { return false; }
const PackingKernels& BestPacking() { return PortablePacking(); }

#endif

}  // namespace ds::federated
