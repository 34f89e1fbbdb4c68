// The model that all parties hold alike: weights, the server optimiser's state, the public steps of
// the grid. Every party advances it itself by the published integers, element by element in IEEE
// arithmetic without contraction, and has the same bits on every instruction set; digests are
// compared, so nobody can be given another model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "federated/options/options.h"
#include "federated/privacy/accountant.h"
#include "federated/privacy/random_source.h"
#include "federated/update/integers.h"
#include "federated/update/shape.h"

namespace ds::federated {

enum class SlotKind {
  kParameter,
  kStatistic,
  kVariance
};  // statistics are averaged plainly; variances stay >= 0

// Where a tensor lies in the flat vector of floats.
struct ModelSlot {
  std::string name;
  int64_t count = 0;
  SlotKind kind = SlotKind::kParameter;
};

struct ModelLayout {
  std::vector<ModelSlot> slots;
  int64_t size() const;  // floats
};

// What a site tells beside its update; sums of them travel with it, as integers under the same
// masks. `values` are per site; the published ones are sums over the sites that counted.
struct SiteMetrics {
  int64_t samples = 0;         // trained on, < 2^40
  int64_t evaluated = 0;       // test samples, < 2^40
  int64_t correct = 0;         // of them, < 2^40
  double train_loss = 0;       // mean; summed as fixed point of 2^-16, clipped to [0, 2^16)
  double evaluation_loss = 0;  // mean, likewise
};

// One sum of updates that were made for the same model version.
struct PublishedGroup {
  int64_t base_version = 0;  // model version whose steps they were quantised with
  // Of everything but metrics: updates in the sum, or the sum of their integer weights (fedbuff,
  // 1/16 each); strategies that choose among updates: those that were kept.
  int64_t divisor = 0;
  int64_t updates = 0;  // whose metrics are in the sum
  IntegerVector sum;    // modulo 2^sum.bits(), GlobalModel::values() of them
};

// What a round publishes: all that is needed to get from one version to the next.
struct Published {
  int64_t version = 0;                 // that it makes; its base is the one before
  std::vector<PublishedGroup> groups;  // by base_version, ascending; one, but for fedbuff
  std::string Encode() const;          // bit-packed
  // DataLoss.
  static absl::StatusOr<Published> Decode(absl::string_view bytes);
};

// Not thread-safe; what is const may be called from several threads once digest() was.
class GlobalModel {
 public:
  // Version 0. weights.size() == layout.size(). `maximum_sites`: the most updates that one sum may
  // hold; modulus_bits() follows. `samples_reference` > 0.
  static absl::StatusOr<std::unique_ptr<GlobalModel>> Create(ModelLayout layout,
                                                             std::vector<float> weights,
                                                             const RunOptions& options,
                                                             int64_t maximum_sites,
                                                             int64_t samples_reference);
  virtual ~GlobalModel() = default;

  virtual const ModelLayout& layout() const = 0;
  virtual int64_t version() const = 0;
  virtual absl::Span<const float> weights() const = 0;
  virtual absl::Span<const float> control()
      const = 0;  // scaffold: the server's control variate; else empty
  // Of everything that the next version depends on. Cached.
  virtual const std::string& digest() const = 0;

  virtual int64_t values()
      const = 0;  // integers of an update: the rotated, padded floats, then the sections of shape()
  virtual const UpdateShape& shape() const = 0;  // which of them is what
  // Of one update's values: as options.update.bits says, or modulus_bits() where sites add noise.
  virtual int update_bits() const = 0;
  // Of a sum: the bits of maximum_sites times the greatest value (fedbuff: of its buffer), and
  // noise's.
  virtual int modulus_bits() const = 0;

  // A site's update. `delta`: trained minus weights() (scaffold: then the control variates' change,
  // twice as long). `residual` (error feedback, same length or empty for zero) is added before and
  // `*new_residual` is what the integers left over: to be kept only once the update has counted.
  // May be the residual itself. Null: it is not wanted. `noise_key` names the stochastic rounding's
  // stream (used without error feedback). The weight is metrics.samples over samples_reference, at
  // most 1. `random`: what the site's share of the noise is drawn from, needed where
  // options.privacy says so. InvalidArgument for NaN or Inf, with the slot's name.
  virtual absl::StatusOr<IntegerVector> Encode(absl::Span<const float> delta,
                                               const SiteMetrics& metrics,
                                               absl::Span<const float> residual, uint64_t noise_key,
                                               std::vector<float>* new_residual,
                                               const RandomSource& random = {}) const = 0;

  // Mechanism central: adds all the noise to the group's sum, which is published so and never
  // without. FailedPrecondition with another mechanism.
  virtual absl::Status AddNoise(Published& published, const RandomSource& random) const = 0;
  // What publishing a noisy sum of `updates` updates costs, for the ledger. FailedPrecondition
  // without privacy.
  virtual absl::StatusOr<Release> ReleaseOf(int64_t updates) const = 0;

  // The server's step. `sums` (may be null): the metrics that the groups held. DataLoss where the
  // published values cannot be: another version, wrong length, divisor < 1; nothing changes then.
  virtual absl::Status Advance(const Published& published, SiteMetrics* sums, int64_t* sites) = 0;

  // All of it, for a late joiner or a restart; Load checks the digest.
  virtual absl::Status Save(const std::string& path) const = 0;
  static absl::StatusOr<std::unique_ptr<GlobalModel>> Load(const std::string& path,
                                                           const RunOptions& options);
};

}  // namespace ds::federated
