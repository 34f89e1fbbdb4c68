#include "quant/torch/ranges/drift_monitor.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "quant/selection.h"

namespace ds {

absl::StatusOr<DriftMonitor> DriftMonitor::Create(const QuantizedModel& model) {
  DriftMonitor monitor;
  const QuantSelection selection =
      SelectForQuantization(model.calibrated, !model.plan.constants.empty());
  DS_ASSIGN_OR_RETURN(monitor.collector_, Collector::Create(model.calibrated, selection));
  monitor.calibrated_ = model.histograms;
  for (const ActivationSite& site : selection.activations) {
    const std::string& name = model.calibrated.value(site.value).name;
    if (model.histograms.contains(name)) monitor.values_.emplace_back(site.value, name);
  }
  return monitor;
}

std::vector<ValueDrift> DriftMonitor::Report() const {
  std::vector<ValueDrift> report;
  for (const auto& [id, name] : values_) {
    report.push_back(
        {name, MeasureDrift(calibrated_.at(name), collector_->at(id).statistics.histogram())});
  }
  return report;
}

std::vector<std::string> DriftWarnings(const std::vector<ValueDrift>& report,
                                       const DriftOptions& options) {
  std::vector<std::string> warnings;
  for (const auto& [value, drift] : report) {
    if (drift.stability_index <= options.most_index && drift.outside_share <= options.most_outside)
      continue;
    warnings.push_back(
        absl::StrFormat("value \"%s\": the evaluation data has drifted from the calibration data "
                        "(population stability index %.2f, "
                        "%.2f %% of its values beyond all calibrated ones); calibrate with data "
                        "like what the model will see",
                        value, drift.stability_index, 100 * drift.outside_share));
  }
  return warnings;
}

}  // namespace ds
