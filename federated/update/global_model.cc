#include "federated/update/global_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/update/model_state.h"

namespace ds::federated {
namespace {

class Model final : public GlobalModel {
 public:
  // `digest`: of `state`, where it is known.
  Model(ModelState state, UpdatePlan plan, std::string digest = "")
      : state_(std::move(state)),
        plan_(std::move(plan)),
        step_(state_.options.strategy),
        digest_(std::move(digest)) {}

  const ModelLayout& layout() const override { return state_.layout; }
  int64_t version() const override { return state_.version; }
  absl::Span<const float> weights() const override { return state_.weights; }
  absl::Span<const float> control() const override { return state_.control; }
  const std::string& digest() const override {
    if (digest_.empty()) digest_ = DigestOf(state_);
    return digest_;
  }
  const UpdateShape& shape() const override { return plan_.shape; }
  int64_t values() const override { return plan_.shape.values(); }
  int update_bits() const override { return plan_.update_bits; }
  int modulus_bits() const override { return plan_.modulus_bits; }

  absl::StatusOr<IntegerVector> Encode(absl::Span<const float> delta, const SiteMetrics& metrics,
                                       absl::Span<const float> residual, uint64_t noise_key,
                                       std::vector<float>* new_residual,
                                       const RandomSource& random) const override {
    return EncodeUpdate(state_, plan_, delta, metrics, residual, noise_key, new_residual, random);
  }

  absl::Status AddNoise(Published& published, const RandomSource& random) const override {
    if (!plan_.noise.in_sum || published.groups.size() != 1) {
      return absl::FailedPreconditionError(
          absl::StrCat("privacy.mechanism '", state_.options.privacy.mechanism,
                       "' adds no noise to a sum of ", published.groups.size(), " groups"));
    }
    return AddSumNoise(plan_, random, published.groups[0].sum);
  }

  absl::StatusOr<Release> ReleaseOf(int64_t updates) const override {
    if (!plan_.noise.any())
      return absl::FailedPreconditionError("a run without a privacy.mechanism charges nothing");
    const int64_t colluders =
        state_.options.secure.mode == "off" ? 0 : state_.options.secure.colluders;
    const int64_t sharers = plan_.noise.in_sum ? 1 : std::max<int64_t>(1, updates - colluders);
    return Release{.mechanism = state_.options.privacy.mechanism,
                   .sensitivity = plan_.noise.sensitivity,
                   .variance = plan_.noise.plan.variance * static_cast<double>(sharers),
                   .sharers = sharers,
                   .dimension = plan_.shape.coordinates};
  }

  absl::Status Advance(const Published& published, SiteMetrics* sums, int64_t* sites) override {
    DS_RETURN_IF_ERROR(CheckPublished(state_, plan_, published));
    ReadMetrics(plan_, published, sums, sites);
    digest_.clear();
    ApplyPublished(plan_, step_, published, state_);
    return absl::OkStatus();
  }

  absl::Status Save(const std::string& path) const override {
    return SaveState(state_, digest(), path);
  }

 private:
  ModelState state_;
  const UpdatePlan plan_;
  const ServerStep step_;
  mutable std::string digest_;  // empty: not known
};

absl::Status CheckCreation(absl::Span<const float> weights, const RunOptions& options,
                           int64_t maximum_sites, int64_t samples_reference) {
  const UpdateOptions& update = options.update;
  if (update.bits < 1 || update.bits > kMostLevelBits) {
    return absl::InvalidArgumentError(
        absl::StrCat("update.bits is ", update.bits, ", not 1 to ", kMostLevelBits));
  }
  if (maximum_sites < 1 || maximum_sites > kMostSitesOfASum || samples_reference < 1 ||
      options.strategy.buffer < 1 || options.strategy.max_staleness < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a model needs sites and samples, and not too many: at most ", maximum_sites, " sites, ",
        samples_reference, " samples weigh 1, fedbuff's buffer is ", options.strategy.buffer));
  }
  if (options.privacy.mechanism != "none" && !(update.clip_norm > 0)) {
    return absl::InvalidArgumentError(
        "privacy needs update.clip_norm above 0: it is what bounds a site's influence");
  }
  for (const float weight : weights) {
    if (!std::isfinite(weight))
      return absl::InvalidArgumentError("the first model holds a NaN or an infinity");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GlobalModel>> GlobalModel::Create(ModelLayout layout,
                                                                 std::vector<float> weights,
                                                                 const RunOptions& options,
                                                                 int64_t maximum_sites,
                                                                 int64_t samples_reference) {
  DS_RETURN_IF_ERROR(CheckLayout(layout, static_cast<int64_t>(weights.size())));
  DS_RETURN_IF_ERROR(CheckCreation(weights, options, maximum_sites, samples_reference));
  DS_ASSIGN_OR_RETURN(UpdatePlan plan, MakePlan(layout, options, maximum_sites));
  const ServerStep step(options.strategy);
  ModelState state;
  state.options = options;
  state.maximum_sites = maximum_sites;
  state.samples_reference = samples_reference;
  state.scales.push_back(FirstScales(layout, weights, options, plan));
  if (options.strategy.name == "scaffold") state.control.resize(weights.size());
  if (step.moments() > 0) state.first.resize(weights.size());
  if (step.moments() > 1) state.second.assign(weights.size(), step.second_moment_start());
  state.layout = std::move(layout);
  state.weights = std::move(weights);
  return std::make_unique<Model>(std::move(state), std::move(plan));
}

absl::StatusOr<std::unique_ptr<GlobalModel>> GlobalModel::Load(const std::string& path,
                                                               const RunOptions& options) {
  StringMap metadata;
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(path, &metadata));
  DS_ASSIGN_OR_RETURN(ModelState state, StateFrom(tensors, metadata, options, path));
  DS_ASSIGN_OR_RETURN(UpdatePlan plan, MakePlan(state.layout, options, state.maximum_sites));
  // StateFrom has held it against the state.
  return std::make_unique<Model>(std::move(state), std::move(plan), metadata.at("digest"));
}

}  // namespace ds::federated
