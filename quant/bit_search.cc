#include "quant/bit_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace ds {
namespace {

using Layers = absl::Span<const std::vector<BitChoice>>;

// Sums of doubles taken in another order differ in their last bits: a bound must not cut off for
// that.
constexpr double kSlack = 1e-12;

absl::Status Check(Layers layers, int64_t budget) {
  if (layers.empty()) return absl::InvalidArgumentError("there are no layers to give bits to");
  int64_t least = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].empty())
      return absl::InvalidArgumentError(absl::StrCat("layer ", i, " has no width to choose from"));
    int64_t smallest = std::numeric_limits<int64_t>::max();
    for (const BitChoice& choice : layers[i]) {
      if (choice.bytes < 0 || !std::isfinite(choice.error) || choice.error < 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "layer ", i, " at ", choice.bits, " bits: ", choice.bytes, " bytes and an error of ",
            choice.error, "; both must be at least 0, and finite"));
      }
      smallest = std::min(smallest, choice.bytes);
    }
    least += smallest;
  }
  if (least <= budget) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the layers' smallest widths take ", least,
                                                    " bytes, but the budget is ", budget,
                                                    "; allow that much"));
}

// One choice for each of the first layers.
struct State {
  int64_t bytes = 0;
  double error = 0;
  int32_t before = -1;  // the state it extends, in the layer before
  int32_t choice = -1;
};

// Leaves, smallest first, those that no other state beats in both bytes and error.
void KeepUnbeaten(std::vector<State>& states) {
  std::sort(states.begin(), states.end(), [](const State& a, const State& b) {
    return std::pair(a.bytes, a.error) < std::pair(b.bytes, b.error);
  });
  double least = std::numeric_limits<double>::infinity();
  std::erase_if(states, [&least](const State& state) {
    if (state.error >= least) return true;
    least = state.error;
    return false;
  });
}

// The relaxation in which a byte costs `price` and the budget is gone: each layer chooses alone.
struct Relaxed {
  std::vector<int> choices;
  int64_t bytes = 0;
  double error = 0;
};

Relaxed Relax(Layers layers, double price) {
  Relaxed relaxed;
  for (const std::vector<BitChoice>& choices : layers) {
    size_t best = 0;
    const auto key = [price](const BitChoice& c) {
      return std::pair(c.error + price * static_cast<double>(c.bytes), c.bytes);
    };
    for (size_t c = 1; c < choices.size(); ++c) {
      if (key(choices[c]) < key(choices[best])) best = c;
    }
    relaxed.choices.push_back(static_cast<int>(best));
    relaxed.bytes += choices[best].bytes;
    relaxed.error += choices[best].error;
  }
  return relaxed;
}

// Spends what a feasible assignment leaves of the budget on whatever single change lowers the error
// most.
void Fill(Layers layers, int64_t budget, Relaxed& filled) {
  while (true) {
    size_t at = layers.size();
    int to = -1;
    double gain = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const BitChoice& now = layers[i][static_cast<size_t>(filled.choices[i])];
      for (size_t c = 0; c < layers[i].size(); ++c) {
        const BitChoice& other = layers[i][c];
        if (filled.bytes - now.bytes + other.bytes > budget || now.error - other.error <= gain)
          continue;
        gain = now.error - other.error;
        at = i;
        to = static_cast<int>(c);
      }
    }
    if (to < 0) return;
    filled.bytes += layers[at][static_cast<size_t>(to)].bytes -
                    layers[at][static_cast<size_t>(filled.choices[at])].bytes;
    filled.choices[at] = to;
    filled.error = 0;
    for (size_t i = 0; i < layers.size(); ++i)
      filled.error += layers[i][static_cast<size_t>(filled.choices[i])].error;
  }
}

// The search proper. `price_` is the multiplier of the budget: any price >= 0 gives a lower bound
// of what remains.
class Search {
 public:
  Search(Layers layers, int64_t budget, int64_t most_states)
      : layers_(layers), budget_(budget), most_states_(most_states) {
    FindPrice();
    Fill(layers_, budget_, incumbent_);
    // What the layers from i on cost at least, bytes included at their price; and the bytes they
    // need at least.
    priced_.assign(layers.size() + 1, 0);
    needed_.assign(layers.size() + 1, 0);
    for (size_t i = layers.size(); i-- > 0;) {
      double cheapest = std::numeric_limits<double>::infinity();
      int64_t smallest = std::numeric_limits<int64_t>::max();
      for (const BitChoice& c : layers[i]) {
        cheapest = std::min(cheapest, c.error + price_ * static_cast<double>(c.bytes));
        smallest = std::min(smallest, c.bytes);
      }
      priced_[i] = priced_[i + 1] + cheapest;
      needed_[i] = needed_[i + 1] + smallest;
    }
  }

  BitAssignment Run() {
    std::vector<std::vector<State>> table = {{State{}}};
    int64_t total = 1;
    for (size_t i = 0; i < layers_.size(); ++i) {
      table.push_back(Extend(table.back(), i));
      total += static_cast<int64_t>(table.back().size());
      if (total > most_states_) return Result(incumbent_, std::max(0.0, Bound(State{}, 0)));
    }
    if (table.back().empty()) return Result(incumbent_, incumbent_.error);  // nothing is better
    // The last layer's states: errors fall as bytes rise.
    Relaxed best = Trace(table);
    if (best.error >= incumbent_.error) best = incumbent_;
    return Result(best, best.error);
  }

 private:
  // The least price at which the relaxation keeps the budget, by bisection.
  void FindPrice() {
    incumbent_ = Relax(layers_, 0);
    if (incumbent_.bytes <= budget_) return;
    double low = 0, high = 1e-12;
    while (Relax(layers_, high).bytes > budget_ && high < 1e300) high *= 16;
    constexpr int kHalvings = 100;
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (Relax(layers_, middle).bytes > budget_ ? low : high) = middle;
    }
    price_ = high;
    incumbent_ = Relax(layers_, high);
  }

  // No completion of the state by layers from `next` on has a smaller error.
  double Bound(const State& state, size_t next) const {
    return state.error + priced_[next] - price_ * static_cast<double>(budget_ - state.bytes);
  }

  std::vector<State> Extend(const std::vector<State>& states, size_t layer) const {
    std::vector<State> extended;
    for (size_t s = 0; s < states.size(); ++s) {
      for (size_t c = 0; c < layers_[layer].size(); ++c) {
        const BitChoice& choice = layers_[layer][c];
        const State state = {states[s].bytes + choice.bytes, states[s].error + choice.error,
                             static_cast<int32_t>(s), static_cast<int32_t>(c)};
        if (state.bytes + needed_[layer + 1] > budget_) continue;
        if (Bound(state, layer + 1) > incumbent_.error * (1 + kSlack)) continue;
        extended.push_back(state);
      }
    }
    KeepUnbeaten(extended);
    return extended;
  }

  Relaxed Trace(const std::vector<std::vector<State>>& table) const {
    Relaxed traced;
    traced.choices.resize(layers_.size());
    traced.bytes = table.back().back().bytes;
    traced.error = table.back().back().error;
    int32_t at = static_cast<int32_t>(table.back().size()) - 1;
    for (size_t i = layers_.size(); i > 0; --i) {
      const State& state = table[i][static_cast<size_t>(at)];
      traced.choices[i - 1] = state.choice;
      at = state.before;
    }
    return traced;
  }

  BitAssignment Result(const Relaxed& found, double least) const {
    BitAssignment result = {.bits = {},
                            .bytes = found.bytes,
                            .error = found.error,
                            .least_error = std::min(least, found.error)};
    for (size_t i = 0; i < layers_.size(); ++i) {
      result.bits.push_back(layers_[i][static_cast<size_t>(found.choices[i])].bits);
    }
    return result;
  }

  const Layers layers_;
  const int64_t budget_, most_states_;
  double price_ = 0;
  Relaxed incumbent_;
  std::vector<double> priced_;
  std::vector<int64_t> needed_;
};

}  // namespace

int64_t QuantizedBytes(int64_t weights, int bits, int64_t scales, CodeStorage storage) {
  DS_CHECK(bits >= 2 && bits <= 8) << bits << " bits";
  constexpr int kScaleBytes = 4, kByte = 8;
  const int stored = bits == 2 ? 2 : bits <= 4 ? 4 : kByte;
  const int64_t total = weights * (storage == CodeStorage::kTight ? bits : stored);
  return (total + kByte - 1) / kByte + kScaleBytes * scales;
}

absl::StatusOr<BitAssignment> SearchBits(Layers layers, int64_t budget_bytes, int64_t most_states) {
  DS_RETURN_IF_ERROR(Check(layers, budget_bytes));
  return Search(layers, budget_bytes, most_states).Run();
}

}  // namespace ds
