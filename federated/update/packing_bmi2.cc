// Packing by BMI2's pext and pdep: a word each.
#include <immintrin.h>

#include "federated/update/packing_inl.h"

namespace ds::federated {
namespace {

struct Bmi2 {
  template <int kField, int kLane>
  static uint64_t Squeeze(uint64_t x) {
    return _pext_u64(x, FieldMask(kField, kLane));
  }
  template <int kField, int kLane>
  static uint64_t Spread(uint64_t x) {
    return _pdep_u64(x, FieldMask(kField, kLane));
  }
};

constexpr PackingKernels kKernels = MakeKernels<Bmi2>();

}  // namespace

const PackingKernels& Bmi2Packing() { return kKernels; }

}  // namespace ds::federated
