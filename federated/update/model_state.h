// What the next version of a model depends on, and how it is written down and digested.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor/safetensors.h"
#include "federated/options/options.h"
#include "federated/update/global_model.h"
#include "federated/update/plan.h"
#include "federated/update/server_step.h"

namespace ds::federated {

constexpr double kWeightUnit = 0x1p-20;  // of a site's weight in its digits
constexpr double kScaleUnit = 0x1p-16;   // of a mean square in its digits
constexpr double kLossUnit = 0x1p-16;

// Beyond any run; keeps products within 64 bits.
constexpr int64_t kMostSitesOfASum = int64_t{1} << 32;
constexpr int64_t kMostVersions = int64_t{1} << 48;

struct ModelState {
  ModelLayout layout;
  RunOptions options;
  int64_t maximum_sites = 0;
  int64_t samples_reference = 0;
  int64_t version = 0;
  std::vector<float> weights;
  std::vector<float> control;        // scaffold: as long as weights
  std::vector<float> first, second;  // the server optimiser's moments, as far as it has any
  // Of the last versions, this one's last; UpdatePlan::scales each.
  std::deque<std::vector<float>> scales;

  const std::vector<float>* ScalesOf(int64_t of_version) const;  // null: not kept
};

// The options that a version depends on, as text: two parties whose texts differ would drift apart.
std::string OptionsText(const RunOptions& options);
// SHA-256 over all of it.
std::string DigestOf(const ModelState& state);
absl::Status CheckLayout(const ModelLayout& layout, int64_t weights);

absl::Status SaveState(const ModelState& state, const std::string& digest, const std::string& path);
// `origin` stands for the file in messages. Everything is checked, the digest last.
absl::StatusOr<ModelState> StateFrom(const TensorMap& tensors, const StringMap& metadata,
                                     const RunOptions& options, absl::string_view origin);

// Scales of version 0.
std::vector<float> FirstScales(const ModelLayout& layout, absl::Span<const float> weights,
                               const RunOptions& options, const UpdatePlan& plan);
// The scales that follow from the groups' mean squares. `published` is sound.
std::vector<float> NextScales(const ModelState& state, const UpdatePlan& plan,
                              const Published& published);

// GlobalModel::Encode and Advance. CheckPublished says whether the groups can be what they claim.
absl::StatusOr<IntegerVector> EncodeUpdate(const ModelState& state, const UpdatePlan& plan,
                                           absl::Span<const float> delta,
                                           const SiteMetrics& metrics,
                                           absl::Span<const float> residual, uint64_t noise_key,
                                           std::vector<float>* new_residual,
                                           const RandomSource& random);
// GlobalModel::AddNoise; `sum` has modulus_bits afterwards.
absl::Status AddSumNoise(const UpdatePlan& plan, const RandomSource& random, IntegerVector& sum);
absl::Status CheckPublished(const ModelState& state, const UpdatePlan& plan,
                            const Published& published);
void ApplyPublished(const UpdatePlan& plan, const ServerStep& step, const Published& published,
                    ModelState& state);
void ReadMetrics(const UpdatePlan& plan, const Published& published, SiteMetrics* sums,
                 int64_t* sites);

}  // namespace ds::federated
