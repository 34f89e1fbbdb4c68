#include "base/knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

using Groups = absl::Span<const std::vector<KnapsackItem>>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Sums of doubles taken in another order differ in their last bits: a bound must not cut off for
// that.
constexpr double kSlack = 1e-12;

bool InRange(double number) { return std::isfinite(number) && number >= 0; }

absl::Status Check(Groups groups, double capacity) {
  if (!InRange(capacity))
    return absl::InvalidArgumentError(
        absl::StrCat("a knapsack's capacity of ", capacity, " is no finite number >= 0"));
  double lightest = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].empty())
      return absl::InvalidArgumentError(absl::StrCat("group ", g, " has no item to choose"));
    double least = kInfinity;
    for (size_t i = 0; i < groups[g].size(); ++i) {
      const KnapsackItem& item = groups[g][i];
      if (!InRange(item.weight) || !InRange(item.cost)) {
        return absl::InvalidArgumentError(absl::StrCat("item ", i, " of group ", g, " weighs ",
                                                       item.weight, " and costs ", item.cost,
                                                       "; both must be at least 0, and finite"));
      }
      least = std::min(least, item.weight);
    }
    lightest += least;
  }
  if (lightest <= capacity) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("the lightest items weigh ", lightest, " together, the capacity is ", capacity));
}

// One item of each of the first groups.
struct State {
  double weight = 0;
  double cost = 0;
  int32_t before = -1;  // the state it extends, in the group before
  int32_t item = -1;
};

// Leaves, lightest first, those that no other state beats in both weight and cost.
void KeepUnbeaten(std::vector<State>& states) {
  std::sort(states.begin(), states.end(), [](const State& a, const State& b) {
    return std::tie(a.weight, a.cost, a.before, a.item) <
           std::tie(b.weight, b.cost, b.before, b.item);
  });
  double least = kInfinity;
  std::erase_if(states, [&least](const State& state) {
    if (state.cost >= least) return true;
    least = state.cost;
    return false;
  });
}

// `price_` is the multiplier of the capacity: any price >= 0 gives a lower bound of what remains.
class Search {
 public:
  Search(Groups groups, double capacity, int64_t most_states)
      : groups_(groups), capacity_(capacity), most_states_(most_states) {
    FindPrice();
    Improve(incumbent_);
    // What the groups from g on cost at least, weights included at their price; and what they weigh
    // at least.
    priced_.assign(groups.size() + 1, 0);
    lightest_.assign(groups.size() + 1, 0);
    for (size_t g = groups.size(); g-- > 0;) {
      double cheapest = kInfinity, lightest = kInfinity;
      for (const KnapsackItem& item : groups[g]) {
        cheapest = std::min(cheapest, item.cost + price_ * item.weight);
        lightest = std::min(lightest, item.weight);
      }
      priced_[g] = priced_[g + 1] + cheapest;
      lightest_[g] = lightest_[g + 1] + lightest;
    }
  }

  Packing Run() {
    std::vector<std::vector<State>> table = {{State{}}};
    int64_t total = 1;
    for (size_t g = 0; g < groups_.size(); ++g) {
      table.push_back(Extend(table.back(), g));
      total += static_cast<int64_t>(table.back().size());
      if (total > most_states_) {
        incumbent_.least_cost = std::min(std::max(0.0, Bound(State{}, 0)), incumbent_.cost);
        return incumbent_;
      }
    }
    // The slack let too heavy ones through; of the rest costs fall as weights rise.
    std::erase_if(table.back(), [this](const State& state) { return state.weight > capacity_; });
    if (!table.back().empty() && table.back().back().cost < incumbent_.cost)
      incumbent_ = Chosen(Trace(table));
    incumbent_.least_cost = incumbent_.cost;
    return incumbent_;
  }

 private:
  // What the choice weighs and costs, added up as the header says.
  Packing Chosen(std::vector<int> chosen) const {
    Packing packing = {.chosen = std::move(chosen)};
    for (size_t g = 0; g < groups_.size(); ++g) {
      const KnapsackItem& item = groups_[g][static_cast<size_t>(packing.chosen[g])];
      packing.weight += item.weight;
      packing.cost += item.cost;
    }
    return packing;
  }

  // The relaxation in which weight costs `price` and the capacity is gone: each group chooses
  // alone. An infinite price: the lightest.
  Packing Relax(double price) const {
    std::vector<int> chosen;
    for (const std::vector<KnapsackItem>& items : groups_) {
      const auto key = [price](const KnapsackItem& item) {
        return std::isinf(price) ? std::pair(item.weight, item.cost)
                                 : std::pair(item.cost + price * item.weight, item.weight);
      };
      const auto best = std::min_element(
          items.begin(), items.end(),
          [&key](const KnapsackItem& a, const KnapsackItem& b) { return key(a) < key(b); });
      chosen.push_back(static_cast<int>(best - items.begin()));
    }
    return Chosen(std::move(chosen));
  }

  // The least price at which the relaxation keeps the capacity, by bisection.
  void FindPrice() {
    incumbent_ = Relax(0);
    if (incumbent_.weight <= capacity_) return;
    double low = 0, high = 1e-12;
    while (Relax(high).weight > capacity_ && high < 1e300) high *= 16;
    constexpr int kHalvings = 100;
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (Relax(middle).weight > capacity_ ? low : high) = middle;
    }
    price_ = high;
    incumbent_ = Relax(high);
    if (incumbent_.weight > capacity_) incumbent_ = Relax(kInfinity);
  }

  // Spends what a packing leaves of the capacity on whatever single change lowers the cost most.
  void Improve(Packing& packing) const {
    while (true) {
      size_t at = groups_.size();
      int to = -1;
      double gain = 0;
      for (size_t g = 0; g < groups_.size(); ++g) {
        const KnapsackItem& now = groups_[g][static_cast<size_t>(packing.chosen[g])];
        for (size_t i = 0; i < groups_[g].size(); ++i) {
          const KnapsackItem& other = groups_[g][i];
          if (packing.weight - now.weight + other.weight > capacity_ ||
              now.cost - other.cost <= gain)
            continue;
          gain = now.cost - other.cost;
          at = g;
          to = static_cast<int>(i);
        }
      }
      if (to < 0) return;
      std::vector<int> chosen = packing.chosen;
      chosen[at] = to;
      Packing changed = Chosen(std::move(chosen));
      // Rounding may have hidden that it does not fit, or gains nothing.
      if (changed.weight > capacity_ || changed.cost >= packing.cost) return;
      packing = std::move(changed);
    }
  }

  // No completion of the state by the groups from `next` on costs less.
  double Bound(const State& state, size_t next) const {
    return state.cost + priced_[next] - price_ * (capacity_ - state.weight);
  }

  std::vector<State> Extend(const std::vector<State>& states, size_t group) const {
    std::vector<State> extended;
    for (size_t s = 0; s < states.size(); ++s) {
      for (size_t i = 0; i < groups_[group].size(); ++i) {
        const KnapsackItem& item = groups_[group][i];
        const State state = {states[s].weight + item.weight, states[s].cost + item.cost,
                             static_cast<int32_t>(s), static_cast<int32_t>(i)};
        if (state.weight + lightest_[group + 1] > capacity_ * (1 + kSlack)) continue;
        if (Bound(state, group + 1) > incumbent_.cost * (1 + kSlack)) continue;
        extended.push_back(state);
      }
    }
    KeepUnbeaten(extended);
    return extended;
  }

  std::vector<int> Trace(const std::vector<std::vector<State>>& table) const {
    std::vector<int> chosen(groups_.size());
    int32_t at = static_cast<int32_t>(table.back().size()) - 1;
    for (size_t g = groups_.size(); g > 0; --g) {
      const State& state = table[g][static_cast<size_t>(at)];
      chosen[g - 1] = state.item;
      at = state.before;
    }
    return chosen;
  }

  const Groups groups_;
  const double capacity_;
  const int64_t most_states_;
  double price_ = 0;
  Packing incumbent_;
  std::vector<double> priced_, lightest_;
};

}  // namespace

absl::StatusOr<Packing> SolveKnapsack(Groups groups, double capacity, int64_t most_states) {
  DS_RETURN_IF_ERROR(Check(groups, capacity));
  return Search(groups, capacity, most_states).Run();
}

}  // namespace ds
