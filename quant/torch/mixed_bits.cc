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

// The search under an accuracy budget.
class LeastSize {
 public:
  LeastSize(MixedBits start, const MixedBitsOptions& options, const ConvertBits& convert,
            const ConvertBits& learn)
      : start_(std::move(start)), options_(options), convert_(convert), learn_(learn) {}

  absl::StatusOr<QuantizedModel> Run() {
    int64_t low = ExtremeBytes(start_.layers, false), high = ExtremeBytes(start_.layers, true);
    MixedBits best = start_;
    DS_ASSIGN_OR_RETURN(const double least, Try(high, best));
    if (least > options_.accuracy_budget) return Largest(best, least);
    // `high` keeps the budget. `low - 1` is taken not to: the smallest widths themselves are tried
    // too.
    --low;
    for (int i = 0; i < kTrials && high - low > 1; ++i) {
      const int64_t middle = i == 0 ? low + 1 : low + (high - low) / 2;
      MixedBits tried = start_;
      DS_ASSIGN_OR_RETURN(const double points, Try(middle, tried));
      if (points <= options_.accuracy_budget) {
        best = std::move(tried);
        high = middle;
      } else {
        low = middle;
      }
    }
    return Learnt(best);
  }

 private:
  // Fills in `tried` for a budget of bytes; the points that its model loses.
  absl::StatusOr<double> Try(int64_t budget, MixedBits& tried) {
    DS_RETURN_IF_ERROR(Assign(budget, tried));
    DS_ASSIGN_OR_RETURN(const QuantizedModel model, convert_(tried.bits));
    return Drop(model, tried.bytes, false);
  }

  absl::StatusOr<double> Drop(const QuantizedModel& model, int64_t bytes, bool learnt) {
    DS_ASSIGN_OR_RETURN(const double points, options_.drop(model));
    trials_.push_back({bytes, points, learnt});
    return points;
  }

  QuantizedModel Finish(QuantizedModel model, MixedBits bits) {
    bits.trials = std::move(trials_);
    model.mixed_bits = std::move(bits);
    return model;
  }

  // What nearest rounding cannot keep, learnt rounding may.
  absl::StatusOr<QuantizedModel> Largest(const MixedBits& largest, double least) {
    if (learn_) {
      DS_ASSIGN_OR_RETURN(QuantizedModel model, learn_(largest.bits));
      if (!model.units.empty()) {
        DS_ASSIGN_OR_RETURN(const double points, Drop(model, largest.bytes, true));
        if (points <= options_.accuracy_budget) return Finish(std::move(model), largest);
        least = std::min(least, points);
      }
    }
    return absl::FailedPreconditionError(
        absl::StrFormat("the accuracy budget of %g points is not kept by the largest widths "
                        "either: they lose %.2f points on the held-out samples; "
                        "allow more, or give activations more bits",
                        options_.accuracy_budget, least));
  }

  absl::StatusOr<QuantizedModel> Learnt(const MixedBits& best) {
    std::string missed;
    if (learn_) {
      DS_ASSIGN_OR_RETURN(QuantizedModel model, learn_(best.bits));
      if (model.units.empty()) return Finish(std::move(model), best);
      DS_ASSIGN_OR_RETURN(const double points, Drop(model, best.bytes, true));
      if (points <= options_.accuracy_budget) return Finish(std::move(model), best);
      missed = absl::StrFormat(
          "with learnt rounding the model loses %.2f points on the held-out samples, more than the "
          "accuracy budget of %g, which nearest rounding keeps: roundings are not learnt",
          points, options_.accuracy_budget);
    }
    DS_ASSIGN_OR_RETURN(QuantizedModel model, convert_(best.bits));
    if (!missed.empty()) model.warnings.push_back(std::move(missed));
    return Finish(std::move(model), best);
  }

  const MixedBits start_;
  const MixedBitsOptions& options_;
  const ConvertBits &convert_, &learn_;
  std::vector<BitTrial> trials_;
};

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
  if (options.wanted() && !options.weights && !options.activations)
    return refuse("mixed_bits has neither weights nor activations to choose bits for");
  if (options.size_budget > 0 && options.activations)
    return refuse("size_budget is of the weights; bits of activations need an accuracy_budget");
  if (options.samples < 1)
    return refuse("mixed_bits.samples is ", options.samples, "; it must be at least 1");
  return absl::OkStatus();
}

absl::StatusOr<QuantizedModel> ChooseBits(std::vector<LayerSensitivity> layers, int64_t float_bytes,
                                          const MixedBitsOptions& options,
                                          const ConvertBits& convert, const ConvertBits& learn) {
  MixedBits result;
  result.layers = std::move(layers);
  result.float_bytes = float_bytes;
  if (options.accuracy_budget > 0)
    return LeastSize(std::move(result), options, convert, learn).Run();
  const auto budget =
      static_cast<int64_t>(std::floor(options.size_budget * static_cast<double>(float_bytes)));
  const absl::Status status = Assign(budget, result);
  if (!status.ok())
    return Annotate(
        status, absl::StrCat("size_budget ", options.size_budget, " of ", float_bytes, " bytes"));
  DS_ASSIGN_OR_RETURN(QuantizedModel model, (learn ? learn : convert)(result.bits));
  model.mixed_bits = std::move(result);
  return model;
}

}  // namespace ds
