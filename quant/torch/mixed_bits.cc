#include "quant/torch/mixed_bits.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "quant/torch/quantizer.h"

namespace ds {
namespace {

// Halvings of the interval of sizes: down to its 128th part.
constexpr int kTrials = 7;

std::vector<std::vector<BitChoice>> Choices(const std::vector<LayerSensitivity>& layers) {
  std::vector<std::vector<BitChoice>> choices;
  for (const LayerSensitivity& layer : layers) choices.push_back(layer.widths);
  return choices;
}

// Bytes with every layer's smallest, or largest, width.
int64_t ExtremeBytes(const std::vector<LayerSensitivity>& layers, bool largest) {
  int64_t bytes = 0;
  for (const LayerSensitivity& layer : layers) {
    const auto smaller = [](const BitChoice& a, const BitChoice& b) { return a.bytes < b.bytes; };
    const auto ends = std::minmax_element(layer.widths.begin(), layer.widths.end(), smaller);
    bytes += largest ? ends.second->bytes : ends.first->bytes;
  }
  return bytes;
}

// Fills in `result` for a budget of bytes.
absl::Status Assign(int64_t budget, MixedBits& result) {
  DS_ASSIGN_OR_RETURN(const BitAssignment assignment, SearchBits(Choices(result.layers), budget));
  for (size_t i = 0; i < result.layers.size(); ++i)
    result.bits[result.layers[i].weight] = assignment.bits[i];
  result.bytes = assignment.bytes;
  result.error = assignment.error;
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMixedBits(const MixedBitsOptions& options) {
  const auto refuse = [](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat(what...));
  };
  if (!(options.size_budget >= 0 && options.size_budget <= 1)) {
    return refuse("size_budget is ", options.size_budget,
                  "; it must be a share of the fp32 weights' bytes, in (0, 1], or 0 for none");
  }
  if (!(options.accuracy_budget >= 0 && options.accuracy_budget <= 100)) {
    return refuse("accuracy_budget is ", options.accuracy_budget,
                  "; it must be in points, in (0, 100], or 0 for none");
  }
  if (options.size_budget > 0 && options.accuracy_budget > 0)
    return refuse("size_budget and accuracy_budget are both given; give one");
  if (options.accuracy_budget > 0 && !options.drop)
    return refuse("accuracy_budget is given without `drop`, which measures the accuracy");
  if (options.samples < 1)
    return refuse("mixed_bits.samples is ", options.samples, "; it must be at least 1");
  return absl::OkStatus();
}

absl::StatusOr<MixedBits> ChooseBits(
    std::vector<LayerSensitivity> layers, int64_t float_bytes, const MixedBitsOptions& options,
    const std::function<absl::StatusOr<QuantizedModel>(const std::map<std::string, int>&)>&
        convert) {
  MixedBits result;
  result.layers = std::move(layers);
  result.float_bytes = float_bytes;
  if (options.size_budget > 0) {
    const auto budget =
        static_cast<int64_t>(std::floor(options.size_budget * static_cast<double>(float_bytes)));
    const absl::Status status = Assign(budget, result);
    if (!status.ok())
      return Annotate(
          status, absl::StrCat("size_budget ", options.size_budget, " of ", float_bytes, " bytes"));
    return result;
  }
  const auto drop = [&](MixedBits& tried, int64_t budget) -> absl::StatusOr<double> {
    DS_RETURN_IF_ERROR(Assign(budget, tried));
    DS_ASSIGN_OR_RETURN(const QuantizedModel model, convert(tried.bits));
    DS_ASSIGN_OR_RETURN(const double points, options.drop(model));
    result.trials.push_back({tried.bytes, points});
    return points;
  };
  int64_t low = ExtremeBytes(result.layers, false), high = ExtremeBytes(result.layers, true);
  MixedBits best = result;
  DS_ASSIGN_OR_RETURN(const double least, drop(best, high));
  if (least > options.accuracy_budget) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the accuracy budget of %g points is not kept by the largest widths "
                        "either: they lose %.2f points on the held-out samples; "
                        "allow more, or give activations more bits",
                        options.accuracy_budget, least));
  }
  // `high` keeps the budget. `low - 1` is taken not to: the smallest widths themselves are tried
  // too.
  --low;
  for (int i = 0; i < kTrials && high - low > 1; ++i) {
    const int64_t middle = i == 0 ? low + 1 : low + (high - low) / 2;
    MixedBits tried = result;
    tried.trials.clear();
    DS_ASSIGN_OR_RETURN(const double points, drop(tried, middle));
    if (points <= options.accuracy_budget) {
      best = std::move(tried);
      high = middle;
    } else {
      low = middle;
    }
  }
  best.trials = result.trials;
  return best;
}

}  // namespace ds
