#include "federated/strategy/sum.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/status.h"
#include "federated/strategy/blocks.h"
#include "federated/update/plan.h"

namespace ds::federated {
namespace {

absl::Status AddBlob(const BlobReader& packed, int bits, uint32_t weight, IntegerVector& sum) {
  std::vector<std::byte> bytes;
  for (int64_t first = 0; first < sum.size(); first += kBlockValues) {
    const int64_t count = std::min(kBlockValues, sum.size() - first);
    DS_RETURN_IF_ERROR(ReadPacked(packed, bits, first, count, bytes));
    sum.AddPacked(bytes, bits, first, count, weight);
  }
  return absl::OkStatus();
}

// Metrics are never weighted: takes out what the weight added of them beyond once.
absl::Status CountMetricsOnce(const UpdateShape& shape, const BlobReader& packed, uint32_t weight,
                              IntegerVector& sum) {
  const DigitSection* metrics = shape.Find(DigitRole::kMetric);
  if (metrics == nullptr || weight == 1) return absl::OkStatus();
  const int64_t first = metrics->first / 8 * 8, count = metrics->end() - first;
  std::vector<std::byte> bytes;
  DS_RETURN_IF_ERROR(ReadPacked(packed, shape.bits, first, count, bytes));
  IntegerVector values(shape.bits, count);
  UnpackValues(bytes, shape.bits, count, values.bytes().data());
  for (int64_t i = metrics->first; i < metrics->end(); ++i)
    sum.Set(i, sum.Get(i) - (weight - 1) * values.Get(i - first));
  return absl::OkStatus();
}

class Sum final : public Strategy {
 public:
  explicit Sum(const StrategyTraits& traits) : traits_(traits) {}
  const StrategyTraits& traits() const override { return traits_; }

  absl::StatusOr<Published> Combine(const CombineRequest& request) const override {
    DS_RETURN_IF_ERROR(CheckRequest(*this, request));
    const int64_t count = static_cast<int64_t>(request.updates.size());
    // Values with noise of the sites' own are modulo 2^modulus_bits already.
    const int bits = request.update_bits == request.shape->bits
                         ? SumBits(count, request.update_bits)
                         : request.modulus_bits;
    std::vector<std::shared_ptr<const BlobReader>> blobs;
    for (const UpdateBlob& update : request.updates) blobs.push_back(update.packed);
    DS_ASSIGN_OR_RETURN(IntegerVector sum,
                        SumPacked(blobs, request.shape->values(), request.update_bits, bits));
    Published published = {.version = request.version};
    published.groups.push_back({.base_version = request.version - 1,
                                .divisor = count,
                                .updates = count,
                                .sum = std::move(sum)});
    return published;
  }

 private:
  const StrategyTraits traits_;
};

class Buffered final : public Strategy {
 public:
  explicit Buffered(const StrategyTraits& traits) : traits_(traits) {}
  const StrategyTraits& traits() const override { return traits_; }

  absl::StatusOr<Published> Combine(const CombineRequest& request) const override {
    DS_RETURN_IF_ERROR(CheckRequest(*this, request));
    std::map<int64_t, std::vector<const BlobReader*>> by_version;
    for (const UpdateBlob& update : request.updates)
      by_version[update.base_version].push_back(update.packed.get());
    Published published = {.version = request.version};
    for (const auto& [version, blobs] : by_version) {
      const int64_t weight = StalenessWeight(request.version - 1 - version);
      const int64_t count = static_cast<int64_t>(blobs.size());
      PublishedGroup group = {.base_version = version, .divisor = count * weight, .updates = count};
      group.sum =
          IntegerVector(SumBits(group.divisor, request.update_bits), request.shape->values());
      for (const BlobReader* blob : blobs) {
        const uint32_t times = static_cast<uint32_t>(weight);
        DS_RETURN_IF_ERROR(AddBlob(*blob, request.update_bits, times, group.sum));
        DS_RETURN_IF_ERROR(CountMetricsOnce(*request.shape, *blob, times, group.sum));
      }
      published.groups.push_back(std::move(group));
    }
    return published;
  }

 private:
  const StrategyTraits traits_;
};

}  // namespace

int64_t StalenessWeight(int64_t versions) {
  const double weight = static_cast<double>(kFullWeight) /
                        std::sqrt(1 + static_cast<double>(std::max<int64_t>(0, versions)));
  return std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(weight)));
}

absl::StatusOr<IntegerVector> SumPacked(absl::Span<const std::shared_ptr<const BlobReader>> packed,
                                        int64_t values, int bits, int sum_bits) {
  IntegerVector sum(sum_bits, values);
  for (const auto& blob : packed) DS_RETURN_IF_ERROR(AddBlob(*blob, bits, 1, sum));
  return sum;
}

std::unique_ptr<Strategy> MakeSum(const StrategyTraits& traits) {
  return std::make_unique<Sum>(traits);
}
std::unique_ptr<Strategy> MakeBuffered(const StrategyTraits& traits) {
  return std::make_unique<Buffered>(traits);
}

}  // namespace ds::federated
