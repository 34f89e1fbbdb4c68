#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "federated/strategy/blocks.h"
#include "federated/strategy/robust.h"
#include "federated/strategy/sum.h"
#include "federated/strategy/tail.h"
#include "federated/update/grid.h"

namespace ds::federated {
namespace {

// Exact: integers below 2^16, whose squares are added in 64 bits once a few are in 32.
uint64_t SquaredDistance(const uint16_t* a, const uint16_t* b, int64_t count, int bits) {
  // Squares that fit into 32 bits together.
  const int64_t piece = bits >= 16 ? 1 : std::min<int64_t>(4096, int64_t{1} << (32 - 2 * bits));
  uint64_t total = 0;
  if (piece < 64) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t difference = static_cast<int64_t>(a[i]) - static_cast<int64_t>(b[i]);
      total += static_cast<uint64_t>(difference * difference);
    }
    return total;
  }
  for (int64_t from = 0; from < count; from += piece) {
    const int64_t end = std::min(count, from + piece);
    uint32_t some = 0;
    for (int64_t i = from; i < end; ++i) {
      const int32_t difference = static_cast<int32_t>(a[i]) - static_cast<int32_t>(b[i]);
      some += static_cast<uint32_t>(difference * difference);
    }
    total += some;
  }
  return total;
}

class Krum final : public Strategy {
 public:
  Krum(const StrategyTraits& traits, int64_t byzantine, bool multi)
      : traits_(traits), byzantine_(byzantine), multi_(multi) {}
  const StrategyTraits& traits() const override { return traits_; }
  int64_t least_updates() const override { return 2 * byzantine_ + 3; }

  absl::StatusOr<Published> Combine(const CombineRequest& request) const override {
    DS_RETURN_IF_ERROR(CheckRequest(*this, request));
    DS_ASSIGN_OR_RETURN(const Tail tail, Tail::Read(request));
    DS_ASSIGN_OR_RETURN(const std::vector<uint64_t> distances, Distances(request, tail));
    const std::vector<size_t> chosen = Chosen(request, distances);
    PublishedGroup group = {.base_version = request.version - 1,
                            .divisor = static_cast<int64_t>(chosen.size()),
                            .updates = static_cast<int64_t>(request.updates.size())};
    std::vector<std::shared_ptr<const BlobReader>> blobs;
    for (const size_t u : chosen) blobs.push_back(request.updates[u].packed);
    DS_ASSIGN_OR_RETURN(group.sum, SumPacked(blobs, request.shape->values(), request.update_bits,
                                             SumBits(group.divisor, request.update_bits)));
    // Again, for the metrics are of all updates.
    for (int64_t i = request.shape->coordinates; i < request.shape->values(); ++i)
      group.sum.Set(i, 0);
    tail.Sum([&](absl::Span<const int64_t> /*numbers*/) { return chosen; }, group.sum);
    Published published = {.version = request.version};
    published.groups.push_back(std::move(group));
    return published;
  }

 private:
  // Of updates a and b at a * n + b. Statistics count with their own grid's squares, brought to
  // about the coordinates' unit: nobody may hide in them.
  static absl::StatusOr<std::vector<uint64_t>> Distances(const CombineRequest& request,
                                                         const Tail& tail) {
    const size_t n = request.updates.size();
    std::vector<uint64_t> distances(n * n), of_statistics(n * n);
    DS_RETURN_IF_ERROR(VisitRows(
        request.updates, request.update_bits, 0, request.shape->coordinates,
        [&](int64_t /*first*/, int64_t count, absl::Span<uint16_t* const> rows) {
          for (size_t a = 0; a < n; ++a)
            for (size_t b = a + 1; b < n; ++b)
              distances[a * n + b] += SquaredDistance(rows[a], rows[b], count, request.update_bits);
        }));
    if (const DigitSection* statistics = request.shape->Find(DigitRole::kStatistic)) {
      for (int64_t i = 0; i < statistics->count; ++i) {
        for (size_t a = 0; a < n; ++a) {
          for (size_t b = a + 1; b < n; ++b) {
            const int64_t difference =
                tail.Number(a, *statistics, i) - tail.Number(b, *statistics, i);
            of_statistics[a * n + b] += static_cast<uint64_t>(difference * difference);
          }
        }
      }
    }
    const int shift = StatisticShift(request.update_bits);
    for (size_t a = 0; a < n; ++a) {
      for (size_t b = a + 1; b < n; ++b) {
        distances[a * n + b] += of_statistics[a * n + b] >> shift;
        distances[b * n + a] = distances[a * n + b];
      }
    }
    return distances;
  }

  // log2 of the square of how many statistic steps are a coordinate's.
  static int StatisticShift(int bits) {
    const float ratio = MakeGrid(bits, false).step / StatisticGrid().step;
    int shift = 0;
    while (static_cast<float>(2 << shift) <= ratio) ++shift;
    return 2 * shift;
  }

  // The best ones first, equals by their digests.
  std::vector<size_t> Chosen(const CombineRequest& request,
                             const std::vector<uint64_t>& distances) const {
    const size_t n = request.updates.size();
    const size_t neighbours = n - static_cast<size_t>(byzantine_) - 2;
    std::vector<uint64_t> scores(n);
    for (size_t a = 0; a < n; ++a) {
      std::vector<uint64_t> others;
      for (size_t b = 0; b < n; ++b)
        if (b != a) others.push_back(distances[a * n + b]);
      std::sort(others.begin(), others.end());
      scores[a] = std::accumulate(others.begin(), others.begin() + static_cast<int64_t>(neighbours),
                                  uint64_t{0});
    }
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::tie(scores[a], request.updates[a].digest) <
             std::tie(scores[b], request.updates[b].digest);
    });
    order.resize(multi_ ? neighbours : 1);
    return order;
  }

  const StrategyTraits traits_;
  const int64_t byzantine_;
  const bool multi_;
};

}  // namespace

std::unique_ptr<Strategy> MakeKrum(const StrategyTraits& traits, int64_t byzantine, bool multi) {
  return std::make_unique<Krum>(traits, byzantine, multi);
}

}  // namespace ds::federated
