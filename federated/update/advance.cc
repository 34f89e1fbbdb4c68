// The server's step, block by block: integers of a sum to the mean update, and to the next version.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "federated/update/model_state.h"

namespace ds::federated {
namespace {

constexpr int64_t kChunk = kRotationBlock;

absl::Status Impossible(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("a published sum ", what, ": it is not of this run's model, or was changed"));
}

template <typename T>
uint32_t Greatest(const std::byte* bytes, int64_t count) {
  const T* values = reinterpret_cast<const T*>(bytes);
  T greatest = 0;
  for (int64_t i = 0; i < count; ++i) greatest = values[i] > greatest ? values[i] : greatest;
  return greatest;
}

uint32_t GreatestOf(const IntegerVector& values, int64_t first, int64_t end) {
  const std::byte* from = values.bytes().data() + first * values.width();
  const int64_t count = end - first;
  return values.width() == 1   ? Greatest<uint8_t>(from, count)
         : values.width() == 2 ? Greatest<uint16_t>(from, count)
                               : Greatest<uint32_t>(from, count);
}

// What the mean update is divided by: updates, or the sum of their weights.
double TotalWeight(const UpdatePlan& plan, const Published& published) {
  double total = 0;
  for (const PublishedGroup& group : published.groups) {
    const DigitSection* weight = plan.shape.Find(DigitRole::kWeight);
    total += weight == nullptr
                 ? static_cast<double>(group.divisor)
                 : static_cast<double>(ReadNumber(group.sum, plan.shape, *weight, 0)) * kWeightUnit;
  }
  return total;
}

// (sum of levels - divisor * centre), which is a whole number and perhaps a half. Sums with noise
// are from -bound on, modulo 2^bits.
struct Centre {
  uint32_t bound, mask, whole;
  float half;
  Centre(const UpdatePlan& plan, const PublishedGroup& group)
      : bound(static_cast<uint32_t>(plan.noise.plan.bound)),
        mask(group.sum.mask()),
        whole(static_cast<uint32_t>(group.divisor * plan.grid.twice_centre() / 2)),
        half(group.divisor * plan.grid.twice_centre() % 2 == 0 ? 0.0f : -0.5f) {}
};

template <typename T>
void Centred(const std::byte* bytes, int64_t count, const Centre& centre, float* out) {
  const T* sums = reinterpret_cast<const T*>(bytes);
  const uint32_t from = centre.bound + centre.whole;
  for (int64_t i = 0; i < count; ++i)
    out[i] =
        static_cast<float>(static_cast<int32_t>(((sums[i] + centre.bound) & centre.mask) - from)) +
        centre.half;
}

void CentredSums(const IntegerVector& sum, int64_t first, int64_t count, const Centre& centre,
                 float* out) {
  const std::byte* from = sum.bytes().data() + first * sum.width();
  if (sum.width() == 1) return Centred<uint8_t>(from, count, centre, out);
  if (sum.width() == 2) return Centred<uint16_t>(from, count, centre, out);
  Centred<uint32_t>(from, count, centre, out);
}

class Advancer {
 public:
  Advancer(const UpdatePlan& plan, const ServerStep& step, const Published& published,
           ModelState& state)
      : plan_(plan),
        step_(step),
        published_(published),
        state_(state),
        inverse_weight_(1.0 / TotalWeight(plan, published)) {}

  void Coordinates() {
    std::vector<Rotation> rotations;
    for (const PublishedGroup& group : published_.groups)
      rotations.emplace_back(state_.options.seed, group.base_version, plan_.block);
    const int64_t chunk = plan_.block > 1 ? plan_.block : kChunk;
    std::vector<RunCursor> cursors(published_.groups.size() + 1, RunCursor(plan_.coordinates));
    alignas(64) float mean[kChunk], one[kChunk];
    for (int64_t first = 0; first < plan_.shape.coordinates; first += chunk) {
      const int64_t count = std::min(chunk, plan_.shape.coordinates - first);
      for (size_t g = 0; g < published_.groups.size(); ++g) {
        const PublishedGroup& group = published_.groups[g];
        CentredSums(group.sum, first, count, Centre(plan_, group), one);
        rotations[g].Back(absl::MakeSpan(one, static_cast<size_t>(count)), first);
        cursors[g].ForPieces(
            first, count, [&](const Run& run, int64_t /*from*/, int64_t offset, int64_t n) {
              AddScaled(run, group, plan_.grid, one + offset, n, g == 0, mean + offset);
            });
      }
      cursors.back().ForPieces(first, count,
                               [&](const Run& run, int64_t from, int64_t offset, int64_t n) {
                                 Apply(run, from, n, mean + offset);
                               });
    }
  }

  void Statistics() {
    const DigitSection* section = plan_.shape.Find(DigitRole::kStatistic);
    if (section == nullptr) return;
    RunCursor cursor(plan_.statistics);
    float mean[kChunk], one[kChunk];
    for (int64_t first = 0; first < section->count; first += kChunk) {
      const int64_t count = std::min(kChunk, section->count - first);
      cursor.ForPieces(first, count, [&](const Run& run, int64_t from, int64_t offset, int64_t n) {
        for (size_t g = 0; g < published_.groups.size(); ++g) {
          const PublishedGroup& group = published_.groups[g];
          const int64_t twice = group.divisor * plan_.statistic_grid.twice_centre();
          for (int64_t i = 0; i < n; ++i) {
            const int64_t sum = ReadNumber(group.sum, plan_.shape, *section, first + offset + i);
            one[i] = 0.5f * static_cast<float>(2 * sum - twice);
          }
          AddScaled(run, group, plan_.statistic_grid, one, n, g == 0, mean);
        }
        Apply(run, from, n, mean);
      });
    }
  }

 private:
  // mean (+)= one in units of the model, divided by what the run's mean is divided by.
  void AddScaled(const Run& run, const PublishedGroup& group, const Grid& grid, const float* one,
                 int64_t count, bool is_first, float* mean) const {
    const float scale = (*state_.ScalesOf(group.base_version))[static_cast<size_t>(run.scale)];
    // The server's control variate is the mean over all sites, also those that said nothing.
    const double share =
        run.control ? 1.0 / static_cast<double>(state_.maximum_sites) : inverse_weight_;
    const float unit =
        static_cast<float>(static_cast<double>(scale) * static_cast<double>(grid.step) * share);
    if (is_first) {
      for (int64_t i = 0; i < count; ++i) mean[i] = one[i] * unit;
    } else {
      for (int64_t i = 0; i < count; ++i) mean[i] += one[i] * unit;
    }
  }

  void Apply(const Run& run, int64_t from, int64_t count, const float* mean) const {
    float* weights = state_.weights.data() + from;
    if (run.control) {
      float* control = state_.control.data() + (from - static_cast<int64_t>(state_.weights.size()));
      for (int64_t i = 0; i < count; ++i) control[i] += mean[i];
    } else if (run.kind == SlotKind::kParameter) {
      float* first = step_.moments() > 0 ? state_.first.data() + from : nullptr;
      float* second = step_.moments() > 1 ? state_.second.data() + from : nullptr;
      step_.Apply(mean, count, weights, first, second);
    } else {
      for (int64_t i = 0; i < count; ++i) weights[i] += mean[i];
      if (run.kind != SlotKind::kVariance) return;
      for (int64_t i = 0; i < count; ++i) weights[i] = weights[i] > 0 ? weights[i] : 0.0f;
    }
  }

  const UpdatePlan& plan_;
  const ServerStep& step_;
  const Published& published_;
  ModelState& state_;
  const double inverse_weight_;
};

absl::Status CheckGroup(const ModelState& state, const UpdatePlan& plan,
                        const PublishedGroup& group) {
  if (state.ScalesOf(group.base_version) == nullptr) {
    return Impossible(absl::StrCat("is of updates for version ", group.base_version,
                                   ", and the model is at ", state.version));
  }
  if (group.divisor < 1 || group.divisor > plan.most || group.updates < 1 ||
      group.updates > plan.most) {
    return Impossible(absl::StrCat("of ", group.updates, " updates is divided by ", group.divisor,
                                   ", where both are at least 1 and at most ", plan.most));
  }
  if (group.sum.size() != plan.shape.values() || group.sum.bits() > plan.modulus_bits) {
    return Impossible(absl::StrCat("has ", group.sum.size(), " values of ", group.sum.bits(),
                                   " bits, where the model's has ", plan.shape.values(), " of ",
                                   plan.modulus_bits));
  }
  if (plan.noise.any() && group.sum.bits() != plan.modulus_bits)
    return Impossible(absl::StrCat("has ", group.sum.bits(), " bits, too few for its noise"));
  // Metrics are summed over all updates, whatever the rest is divided by.
  const DigitSection* metrics = plan.shape.Find(DigitRole::kMetric);
  const int64_t split = metrics != nullptr ? metrics->first : plan.shape.values();
  const int64_t top = plan.grid.top();
  // Noise takes coordinates anywhere.
  const int64_t first = plan.noise.any() ? plan.shape.coordinates : 0;
  if (GreatestOf(group.sum, first, split) > top * group.divisor ||
      GreatestOf(group.sum, split, plan.shape.values()) > top * group.updates) {
    return Impossible(absl::StrCat("has a value that ", group.divisor, " updates cannot reach"));
  }
  const DigitSection* weight = plan.shape.Find(DigitRole::kWeight);
  if (weight != nullptr && ReadNumber(group.sum, plan.shape, *weight, 0) < 1)
    return Impossible("has no weight");
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPublished(const ModelState& state, const UpdatePlan& plan,
                            const Published& published) {
  if (published.version != state.version + 1) {
    return Impossible(
        absl::StrCat("makes version ", published.version, ", and the model is at ", state.version));
  }
  if (published.groups.empty() || static_cast<int64_t>(published.groups.size()) > plan.versions) {
    return Impossible(absl::StrCat("comes in ", published.groups.size(),
                                   " groups, where there are 1 to ", plan.versions));
  }
  for (size_t g = 0; g < published.groups.size(); ++g) {
    const PublishedGroup& group = published.groups[g];
    if (g > 0 && group.base_version <= published.groups[g - 1].base_version)
      return Impossible("has groups that are not in the order of their versions");
    if (absl::Status status = CheckGroup(state, plan, group); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void ApplyPublished(const UpdatePlan& plan, const ServerStep& step, const Published& published,
                    ModelState& state) {
  Advancer advancer(plan, step, published, state);
  advancer.Coordinates();
  advancer.Statistics();
  std::vector<float> next = NextScales(state, plan, published);
  state.scales.push_back(std::move(next));
  while (static_cast<int64_t>(state.scales.size()) > plan.versions) state.scales.pop_front();
  ++state.version;
}

void ReadMetrics(const UpdatePlan& plan, const Published& published, SiteMetrics* sums,
                 int64_t* sites) {
  SiteMetrics all;
  int64_t updates = 0;
  // Whoever publishes may claim any number: sums of them wrap.
  const auto add = [](int64_t& total, int64_t number) {
    total = static_cast<int64_t>(static_cast<uint64_t>(total) + static_cast<uint64_t>(number));
  };
  const DigitSection* section = plan.shape.Find(DigitRole::kMetric);
  for (const PublishedGroup& group : published.groups) {
    add(updates, group.updates);
    if (section == nullptr) continue;
    const auto number = [&](int64_t index) {
      return ReadNumber(group.sum, plan.shape, *section, index);
    };
    add(all.samples, number(0));
    add(all.evaluated, number(1));
    add(all.correct, number(2));
    all.train_loss += static_cast<double>(number(3)) * kLossUnit;
    all.evaluation_loss += static_cast<double>(number(4)) * kLossUnit;
  }
  if (sums != nullptr) *sums = all;
  if (sites != nullptr) *sites = updates;
}

}  // namespace ds::federated
