// What the tests of updates share: a small model of several slots, made-up updates, sums of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "federated/update/global_model.h"

namespace ds::federated {

constexpr uint64_t kSiteSeed = 20260402;

inline RunOptions Options(int bits) {
  RunOptions options;
  options.update.bits = bits;
  return options;
}

inline ModelLayout SmallLayout() {
  return {{{.name = "conv.weight", .count = 1500},
           {.name = "conv.bias", .count = 7},
           {.name = "bn.mean", .count = 7, .kind = SlotKind::kStatistic},
           {.name = "bn.variance", .count = 7, .kind = SlotKind::kVariance},
           {.name = "fc.weight", .count = 2000}}};
}

// Nearly normal.
inline std::vector<float> Noise(size_t count, float scale, uint64_t stream) {
  CounterRandom random(kSiteSeed, stream);
  std::vector<float> values(count);
  for (float& value : values)
    value =
        scale *
        (random.NextFloat() + random.NextFloat() + random.NextFloat() + random.NextFloat() - 2) *
        1.732f;
  return values;
}

inline std::unique_ptr<GlobalModel> Made(const RunOptions& options, int64_t maximum_sites,
                                         int64_t samples_reference = 1,
                                         const ModelLayout& layout = SmallLayout()) {
  std::vector<float> weights = Noise(static_cast<size_t>(layout.size()), 0.1f, 1000);
  size_t at = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (int64_t i = 0; i < slot.count; ++i, ++at)
      if (slot.kind == SlotKind::kVariance) weights[at] = 1;
  }
  auto model =
      GlobalModel::Create(layout, std::move(weights), options, maximum_sites, samples_reference);
  DS_CHECK(model.ok()) << model.status();
  return *std::move(model);
}

// What the aggregator publishes of these updates when it only adds.
inline Published Summed(const GlobalModel& model, const std::vector<IntegerVector>& updates) {
  Published published = {.version = model.version() + 1};
  const int64_t count = static_cast<int64_t>(updates.size());
  IntegerVector sum(model.modulus_bits(), model.values());
  for (const IntegerVector& update : updates) sum.Add(update.Widen(model.modulus_bits()));
  published.groups.push_back(
      {.base_version = model.version(), .divisor = count, .updates = count, .sum = std::move(sum)});
  return published;
}

}  // namespace ds::federated
