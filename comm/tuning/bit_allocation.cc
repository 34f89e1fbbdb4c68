#include "comm/tuning/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// What is limited, in whole steps, and what is to be least.
struct Item {
  int64_t weight;
  double cost;
};

constexpr double kImpossible = std::numeric_limits<double>::infinity();

// best[w]: the least cost of the layers so far within weight w. Layer by layer; the choices made
// are kept to walk back.
absl::StatusOr<std::vector<int>> Knapsack(const std::vector<std::vector<Item>>& layers,
                                          int64_t capacity) {
  const size_t weights = static_cast<size_t>(capacity) + 1;
  std::vector<double> best(weights, 0.0);
  std::vector<std::vector<int16_t>> chosen;
  for (const std::vector<Item>& items : layers) {
    std::vector<double> next(weights, kImpossible);
    std::vector<int16_t>& choice = chosen.emplace_back(weights, int16_t{-1});
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].weight > capacity) continue;
      for (size_t w = static_cast<size_t>(items[i].weight); w < weights; ++w) {
        const double cost = best[w - static_cast<size_t>(items[i].weight)] + items[i].cost;
        if (cost < next[w]) {
          next[w] = cost;
          choice[w] = static_cast<int16_t>(i);
        }
      }
    }
    best.swap(next);
  }
  if (best.back() == kImpossible) return absl::NotFoundError("no choice of bits keeps the budget");
  std::vector<int> result(layers.size());
  size_t w = weights - 1;
  for (size_t layer = layers.size(); layer-- > 0;) {
    result[layer] = chosen[layer][w];
    w -= static_cast<size_t>(layers[layer][static_cast<size_t>(result[layer])].weight);
  }
  return result;
}

absl::Status Check(absl::Span<const LayerChoices> layers) {
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const LayerChoices& choices = layers[layer];
    const bool valid = std::all_of(choices.begin(), choices.end(), [](const LayerChoice& choice) {
      return choice.bytes >= 0 && std::isfinite(choice.error) && choice.error >= 0;
    });
    if (choices.empty() || choices.size() > std::numeric_limits<int16_t>::max() || !valid) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer ", layer, " has no choices, or one with impossible bytes or error"));
    }
  }
  return absl::OkStatus();
}

// In steps of 1/kBudgetSteps of the budget, rounded up; more than fits for what exceeds the budget.
int64_t ErrorSteps(double error, double budget) {
  if (error == 0) return 0;
  if (!(error <= budget)) return kBudgetSteps + 1;
  return static_cast<int64_t>(std::ceil(error / budget * kBudgetSteps));
}

}  // namespace

absl::StatusOr<std::vector<int>> FewestBytes(absl::Span<const LayerChoices> layers,
                                             double error_budget) {
  DS_RETURN_IF_ERROR(Check(layers));
  if (!std::isfinite(error_budget) || error_budget < 0)
    return absl::InvalidArgumentError("the error budget is no number >= 0");
  std::vector<std::vector<Item>> items;
  for (const LayerChoices& choices : layers) {
    std::vector<Item>& layer = items.emplace_back();
    for (const LayerChoice& choice : choices) {
      layer.push_back({ErrorSteps(choice.error, error_budget), static_cast<double>(choice.bytes)});
    }
  }
  return Knapsack(items, kBudgetSteps);
}

absl::StatusOr<std::vector<int>> LeastError(absl::Span<const LayerChoices> layers,
                                            int64_t byte_budget) {
  DS_RETURN_IF_ERROR(Check(layers));
  if (byte_budget < 0) return absl::InvalidArgumentError("the byte budget is negative");
  const int64_t step = byte_budget / kBudgetSteps + 1;  // bytes; 1 (exact) for small budgets
  std::vector<std::vector<Item>> items;
  for (const LayerChoices& choices : layers) {
    std::vector<Item>& layer = items.emplace_back();
    for (const LayerChoice& choice : choices)
      layer.push_back({(choice.bytes + step - 1) / step, choice.error});
  }
  return Knapsack(items, byte_budget / step);
}

}  // namespace ds
