#include "quant/bit_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/knapsack.h"
#include "base/status.h"

namespace ds {
namespace {

using Layers = absl::Span<const std::vector<BitChoice>>;

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
  std::vector<std::vector<KnapsackItem>> groups;
  for (const std::vector<BitChoice>& choices : layers) {
    std::vector<KnapsackItem>& items = groups.emplace_back();
    for (const BitChoice& choice : choices)
      items.push_back({static_cast<double>(choice.bytes), choice.error});
  }
  DS_ASSIGN_OR_RETURN(const Packing packing,
                      SolveKnapsack(groups, static_cast<double>(budget_bytes), most_states));
  BitAssignment found = {.error = packing.cost, .least_error = packing.least_cost};
  for (size_t i = 0; i < layers.size(); ++i) {
    const BitChoice& choice = layers[i][static_cast<size_t>(packing.chosen[i])];
    found.bits.push_back(choice.bits);
    found.bytes += choice.bytes;
  }
  return found;
}

}  // namespace ds
