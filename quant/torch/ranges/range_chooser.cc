#include "quant/torch/ranges/range_chooser.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "quant/affine.h"
#include "quant/tie_concatenations.h"
#include "quant/torch/ranges/share_ranges.h"

namespace ds {
namespace {

// How many times clipping may count beside rounding where ranges are chosen by measure. A layer's
// squared error knows them as equals, but what is clipped is missing in all that follows, where
// rounding averages out; the last is for no clipping at all.
constexpr double kCautions[] = {1, 8, 64, 1e9};

}  // namespace

RangeChooser::RangeChooser(const Graph& graph, const QuantSelection& selection,
                           const Widths& widths, const QuantizerOptions& options)
    : graph_(graph), selection_(selection), widths_(widths), options_(options) {}

void RangeChooser::Forget() {
  trials_.clear();
  caution_ = 0;
}

bool RangeChooser::TriesCautions() const {
  return options_.method == "auto" && !options_.for_training && !options_.weights_only;
}

absl::Status RangeChooser::ChooseCaution(const QuantPlan& weights, const Calibration& data) {
  if (!TriesCautions() || caution_ != 0) return absl::OkStatus();
  QuantizedModel model;
  model.plan = weights;
  DS_ASSIGN_OR_RETURN(const OutputNoise noise, OutputNoise::Create(graph_, data.samples));
  double least = std::numeric_limits<double>::infinity(), best = kCautions[0];
  for (const double caution : kCautions) {
    caution_ = caution;
    DS_RETURN_IF_ERROR(Choose({}, data, model));
    DS_ASSIGN_OR_RETURN(const std::vector<double> errors, noise.Of(graph_, model.plan));
    const double error = std::accumulate(errors.begin(), errors.end(), 0.0);
    if (error < least) std::tie(least, best) = std::pair(error, caution);
  }
  caution_ = best;
  return absl::OkStatus();
}

absl::StatusOr<ChosenRange> RangeChooser::Of(const ActivationSite& site, const QuantType& type,
                                             const Calibration& data) {
  const std::pair key(site.value, type.bits);
  if (!trials_.contains(key)) {
    DS_ASSIGN_OR_RETURN(trials_[key], TryRanges(graph_, site, data.collector, type, options_.method,
                                                options_.calibration));
  }
  return LeastError(trials_.at(key), std::max(1.0, caution_));
}

absl::Status RangeChooser::Choose(const std::map<std::string, int>& bits, const Calibration& data,
                                  QuantizedModel& model) {
  for (const ActivationSite& site : selection_.activations) {
    const std::string& name = graph_.value(site.value).name;
    const QuantType type = {.bits = widths_.Of(site, bits),
                            .is_signed = options_.symmetric_activations};
    DS_ASSIGN_OR_RETURN(ChosenRange chosen, Of(site, type, data));
    if (site.unit_range) {
      std::tie(chosen.range.low, chosen.range.high) = std::pair(0.0f, 1.0f);
      chosen.range.clipped_share = chosen.range.lost_share = 0;
    }
    DS_ASSIGN_OR_RETURN(QuantParams params,
                        ParamsForRange(type, chosen.range.low, chosen.range.high));
    AddReport(site, params, chosen, data.collector, model);
    model.plan.activations[name] = std::move(params);
  }
  for (const ValueId id : selection_.constants) {
    const auto values = graph_.Constant(id)->span<float>();
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    DS_ASSIGN_OR_RETURN(model.plan.constants[graph_.value(id).name],
                        ParamsForRange({.bits = 8, .is_signed = false}, *least, *most));
  }
  HandOn(model.plan);
  DS_ASSIGN_OR_RETURN(const auto widened,
                      WidenedShares(graph_, selection_, model.plan, data.samples));
  for (const auto& [name, params] : widened) {
    model.plan.activations[name] = params;
    const auto report = std::ranges::find(model.activations, name, &ActivationReport::value);
    report->scale = params.scales[0];
    report->high = params.scales[0] * static_cast<float>(params.type.max() - params.zero_points[0]);
  }
  HandOn(model.plan);
  TieConcatenations(graph_, selection_, model.plan);
  return absl::OkStatus();
}

// What only moves numbers has the integers of where they come from.
void RangeChooser::HandOn(QuantPlan& plan) const {
  for (const SharedSite& shared : selection_.shared) {
    const auto source = plan.activations.find(graph_.value(shared.source).name);
    if (source != plan.activations.end())
      plan.activations[graph_.value(shared.value).name] = source->second;
  }
}

void RangeChooser::AddReport(const ActivationSite& site, const QuantParams& params,
                             const ChosenRange& chosen, const Collector& collector,
                             QuantizedModel& model) const {
  const std::string& name = graph_.value(site.value).name;
  const ActivationStatistics& statistics = collector.at(site.value).statistics;
  ActivationReport report;
  report.value = name;
  report.bits = params.type.bits;
  report.elements = collector.ElementsOfASample(site.value);
  report.scale = params.scales[0];
  report.zero_point = params.zero_points[0];
  report.method = std::string(Name(chosen.method));
  report.seen_low = statistics.histogram().min();
  report.seen_high = statistics.histogram().max();
  report.low = chosen.range.low;
  report.high = chosen.range.high;
  report.clipped_share = chosen.range.clipped_share;
  const double noise = chosen.range.squared_error, power = statistics.MeanSquare();
  report.snr_db = noise > 0 && power > 0 ? 10 * std::log10(power / noise) : 0;
  if (chosen.range.lost_share > options_.most_clipped) {
    model.warnings.push_back(
        absl::StrFormat("value \"%s\": calibration clips %.2f %% of its values to [%g, %g]; they "
                        "reach from %g to %g",
                        name, 100 * chosen.range.lost_share, report.low, report.high,
                        report.seen_low, report.seen_high));
  }
  model.histograms.emplace(name, statistics.histogram());
  model.activations.push_back(std::move(report));
}

}  // namespace ds
