// Trimmed mean and median: the middle of the values in order.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "federated/strategy/blocks.h"
#include "federated/strategy/robust.h"
#include "federated/strategy/tail.h"

namespace ds::federated {
namespace {

// Of n values in order, [first, end) are kept.
struct Middle {
  size_t first, end;
};

// Sorts every column of the rows: an odd-even transposition network, whose exchanges are vector
// minima and maxima. `count` values a row.
void SortColumns(absl::Span<uint16_t* const> rows, int64_t count) {
  // A piece of all rows stays in the first-level cache over all exchanges.
  constexpr int64_t kPiece = 256;
  for (int64_t from = 0; from < count; from += kPiece) {
    const int64_t n = std::min(kPiece, count - from);
    for (size_t pass = 0; pass < rows.size(); ++pass) {
      for (size_t r = pass % 2; r + 1 < rows.size(); r += 2) {
        uint16_t* low = rows[r] + from;
        uint16_t* high = rows[r + 1] + from;
        for (int64_t i = 0; i < n; ++i) {
          const uint16_t a = low[i], b = high[i];
          low[i] = a < b ? a : b;
          high[i] = a < b ? b : a;
        }
      }
    }
  }
}

void SumRows(absl::Span<uint16_t* const> rows, const Middle& middle, int64_t count, int64_t first,
             IntegerVector& sum) {
  std::vector<uint32_t> totals(static_cast<size_t>(count));
  for (size_t r = middle.first; r < middle.end; ++r)
    for (int64_t i = 0; i < count; ++i) totals[static_cast<size_t>(i)] += rows[r][i];
  for (int64_t i = 0; i < count; ++i) sum.Set(first + i, totals[static_cast<size_t>(i)]);
}

class OrderStrategy : public Strategy {
 public:
  explicit OrderStrategy(const StrategyTraits& traits) : traits_(traits) {}
  const StrategyTraits& traits() const override { return traits_; }

  absl::StatusOr<Published> Combine(const CombineRequest& request) const override {
    DS_RETURN_IF_ERROR(CheckRequest(*this, request));
    const Middle middle = MiddleOf(request.updates.size());
    PublishedGroup group = {.base_version = request.version - 1,
                            .divisor = static_cast<int64_t>(middle.end - middle.first),
                            .updates = static_cast<int64_t>(request.updates.size())};
    group.sum = IntegerVector(SumBits(group.divisor, request.update_bits), request.shape->values());
    DS_RETURN_IF_ERROR(
        VisitRows(request.updates, request.update_bits, 0, request.shape->coordinates,
                  [&](int64_t first, int64_t count, absl::Span<uint16_t* const> rows) {
                    SortColumns(rows, count);
                    SumRows(rows, middle, count, first, group.sum);
                  }));
    DS_ASSIGN_OR_RETURN(const Tail tail, Tail::Read(request));
    tail.Sum(
        [&](absl::Span<const int64_t> numbers) {
          std::vector<size_t> order(numbers.size());
          std::iota(order.begin(), order.end(), size_t{0});
          std::sort(order.begin(), order.end(),
                    [&](size_t a, size_t b) { return numbers[a] < numbers[b]; });
          return std::vector<size_t>(order.begin() + static_cast<int64_t>(middle.first),
                                     order.begin() + static_cast<int64_t>(middle.end));
        },
        group.sum);
    Published published = {.version = request.version};
    published.groups.push_back(std::move(group));
    return published;
  }

 protected:
  virtual Middle MiddleOf(size_t count) const = 0;

 private:
  const StrategyTraits traits_;
};

class TrimmedMean final : public OrderStrategy {
 public:
  TrimmedMean(const StrategyTraits& traits, double trim) : OrderStrategy(traits), trim_(trim) {}

 protected:
  Middle MiddleOf(size_t count) const override {
    const size_t cut = static_cast<size_t>(trim_ * static_cast<double>(count));
    return {cut, count - cut};
  }

 private:
  const double trim_;
};

class Median final : public OrderStrategy {
 public:
  using OrderStrategy::OrderStrategy;

 protected:
  Middle MiddleOf(size_t count) const override { return {(count - 1) / 2, count / 2 + 1}; }
};

}  // namespace

std::unique_ptr<Strategy> MakeTrimmedMean(const StrategyTraits& traits, double trim) {
  return std::make_unique<TrimmedMean>(traits, trim);
}
std::unique_ptr<Strategy> MakeMedian(const StrategyTraits& traits) {
  return std::make_unique<Median>(traits);
}

}  // namespace ds::federated
