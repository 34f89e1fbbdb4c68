#include "federated/update/plan.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr int kStatisticBits = 16, kWeightBits = 21, kScaleBits = 32;
// Of SiteMetrics, in order: three counts and two losses.
// A sum of 256 sites' counts fits too: strategies that choose among updates write sums as numbers.
constexpr int kMetricBits = 48;
constexpr int64_t kMetrics = 5;

std::vector<Run> Runs(const ModelLayout& layout, int64_t first, bool control, bool parameters,
                      bool statistics) {
  std::vector<Run> runs;
  const int64_t slots = static_cast<int64_t>(layout.slots.size());
  for (int64_t slot = 0; slot < slots; ++slot) {
    const ModelSlot& one = layout.slots[static_cast<size_t>(slot)];
    if (one.kind == SlotKind::kParameter ? parameters : statistics) {
      runs.push_back({.from = first,
                      .count = one.count,
                      .scale = control ? slots + slot : slot,
                      .kind = one.kind,
                      .control = control});
    }
    first += one.count;
  }
  return runs;
}

int64_t Total(const std::vector<Run>& runs) {
  int64_t total = 0;
  for (const Run& run : runs) total += run.count;
  return total;
}

// What travels behind the coordinates.
void AppendSections(const RunOptions& options, UpdatePlan& plan) {
  UpdateShape& shape = plan.shape;
  shape.Append(DigitRole::kStatistic, Total(plan.statistics), kStatisticBits);
  if (plan.weighted) shape.Append(DigitRole::kWeight, 1, kWeightBits);
  if (!plan.public_scales) shape.Append(DigitRole::kScale, plan.scales, kScaleBits);
  if (!plan.public_scales || options.privacy.declare_metrics)
    shape.Append(DigitRole::kMetric, kMetrics, kMetricBits);
}

// Strategies that look at single updates trust no site's word for its weight.
bool WeighsAlike(const RunOptions& options) {
  const std::string& name = options.strategy.name;
  return options.update.weighting == "equal" || name == "trimmed_mean" || name == "median" ||
         name == "krum" || name == "multi_krum";
}

}  // namespace

int64_t UpdatePlan::used() const { return Total(coordinates); }

absl::StatusOr<UpdatePlan> MakePlan(const ModelLayout& layout, const RunOptions& options,
                                    int64_t maximum_sites) {
  const bool noise = options.privacy.mechanism != "none";
  const bool control = options.strategy.name == "scaffold";
  const bool asynchronous = options.strategy.name == "fedbuff";
  UpdatePlan plan;
  plan.coordinates = Runs(layout, 0, false, /*parameters=*/true, /*statistics=*/noise);
  if (!noise) plan.statistics = Runs(layout, 0, false, false, true);
  plan.delta_size = layout.size();
  plan.scales = static_cast<int64_t>(layout.slots.size());
  if (control) {
    for (const Run& run : Runs(layout, layout.size(), true, true, false))
      plan.coordinates.push_back(run);
    plan.delta_size *= 2;
    plan.scales *= 2;
  }
  plan.public_scales = noise;
  plan.weighted = !WeighsAlike(options);
  plan.versions = asynchronous ? options.strategy.max_staleness + 1 : 1;
  plan.most = asynchronous ? kFullWeight * options.strategy.buffer : maximum_sites;
  plan.grid = MakeGrid(options.update.bits, /*zero_is_a_level=*/noise);
  plan.statistic_grid = StatisticGrid();
  plan.block = RotationBlockFor(plan.used(), options.update.rotate);
  plan.shape.bits = options.update.bits;
  plan.shape.coordinates = (plan.used() + plan.block - 1) / plan.block * plan.block;
  AppendSections(options, plan);
  DS_ASSIGN_OR_RETURN(plan.noise, MakeSumNoise(options, plan.grid, plan.used(),
                                               plan.shape.coordinates, maximum_sites));
  const int64_t largest = plan.most * plan.grid.top();
  plan.modulus_bits = plan.noise.any() ? NoisyModulusBits(largest, plan.noise.plan.bound)
                                       : std::bit_width(static_cast<uint64_t>(largest));
  plan.update_bits = plan.noise.on_sites ? plan.modulus_bits : plan.shape.bits;
  if (plan.modulus_bits > kMostBits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a sum of ", plan.most, " updates of ", options.update.bits, " bits needs ",
        plan.modulus_bits, " bits a value, more than ", kMostBits, ": lower update.bits",
        plan.noise.any() ? " or privacy.noise_multiplier" : ""));
  }
  return plan;
}

}  // namespace ds::federated
