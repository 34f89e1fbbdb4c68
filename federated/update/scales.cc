// The public scales of the slots: what a value of a slot is divided by before it is put on the
// grid. Version 0's follow from the weights, each later one's from what the sites said of theirs.
#include <algorithm>
#include <cmath>

#include "federated/update/model_state.h"

namespace ds::federated {
namespace {

// A first guess errs on the small side: too small a scale cuts an update short, which error
// feedback makes up for a round later; too large a one would add noise of its size.
constexpr double kFirstShare = 0x1p-4;  // of the weights' root mean square
// Of an update: control variates are updates over the distance that the site's steps go, often a
// hundred. Far too large a scale would send them as noise, which that distance makes large again.
constexpr double kFirstControlShare = 0x1p-8;
constexpr double kFirstStatisticShare = 0.25;  // their grid reaches 16 scales and is fine
constexpr double kLeastRootMeanSquare = 0x1p-4;
// From one version to the next.
constexpr double kLeastFactor = 0x1p-4, kGreatestFactor = 0x1p8;
constexpr double kLeast = 0x1p-30, kGreatest = 0x1p40;

// In a fixed order: every party must have the same bits.
double RootMeanSquare(absl::Span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

float Kept(double scale) { return static_cast<float>(std::clamp(scale, kLeast, kGreatest)); }

}  // namespace

std::vector<float> FirstScales(const ModelLayout& layout, absl::Span<const float> weights,
                               const RunOptions& options, const UpdatePlan& plan) {
  if (plan.public_scales) {
    // A clipped update spread evenly over all coordinates.
    const double even = options.update.clip_norm /
                        std::sqrt(static_cast<double>(std::max<int64_t>(1, plan.used())));
    return std::vector<float>(static_cast<size_t>(plan.scales), Kept(even));
  }
  const double whole = RootMeanSquare(weights);
  std::vector<float> scales;
  size_t at = 0;
  for (const ModelSlot& slot : layout.slots) {
    const size_t count = static_cast<size_t>(slot.count);
    double root = RootMeanSquare(weights.subspan(at, count));
    at += count;
    if (slot.kind == SlotKind::kParameter) {
      // Biases begin as zeros.
      root = std::max({root, whole / 8, 0x1p-10});
      scales.push_back(Kept(root * kFirstShare));
    } else {
      scales.push_back(Kept(std::max(root, kLeastRootMeanSquare) * kFirstStatisticShare));
    }
  }
  const std::vector<float> of_slots = scales;
  while (static_cast<int64_t>(scales.size()) < plan.scales)
    scales.push_back(
        Kept(static_cast<double>(of_slots[scales.size() - of_slots.size()]) * kFirstControlShare));
  return scales;
}

std::vector<float> NextScales(const ModelState& state, const UpdatePlan& plan,
                              const Published& published) {
  std::vector<float> next = state.scales.back();
  const DigitSection* section = plan.shape.Find(DigitRole::kScale);
  if (section == nullptr) return next;
  for (size_t s = 0; s < next.size(); ++s) {
    double squares = 0, divisor = 0;
    for (const PublishedGroup& group : published.groups) {
      const double scale = static_cast<double>((*state.ScalesOf(group.base_version))[s]);
      const int64_t number = std::max<int64_t>(
          0, ReadNumber(group.sum, plan.shape, *section, static_cast<int64_t>(s)));
      squares += static_cast<double>(number) * kScaleUnit * (scale * scale);
      divisor += static_cast<double>(group.divisor);
    }
    const double now = static_cast<double>(next[s]), wanted = std::sqrt(squares / divisor);
    next[s] = Kept(std::clamp(wanted, now * kLeastFactor, now * kGreatestFactor));
  }
  return next;
}

}  // namespace ds::federated
