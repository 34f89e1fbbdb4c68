#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "jobs/quantize/quantize_job.h"
#include "report/json.h"
#include "report/summary.h"
#include "report/table.h"
#include "trainer/optim/metric_names.h"

namespace ds {
namespace {

std::string LayerTable(const std::vector<LayerReport>& layers) {
  TextTable table({{"layer"},
                   {"op"},
                   {"weights", Align::kRight},
                   {"bits", Align::kRight},
                   {"bytes", Align::kRight},
                   {"SNR dB", Align::kRight},
                   {"normal: dB", Align::kRight}});
  for (const LayerReport& layer : layers) {
    table.AddRow({layer.node, layer.op, absl::StrCat(layer.weights),
                  absl::StrCat(layer.weight_bits), absl::StrCat(layer.bytes),
                  absl::StrFormat("%.1f", layer.weight_snr_db),
                  absl::StrFormat("%.1f", layer.gaussian_snr_db)});
  }
  return table.ToString();
}

std::string ActivationTable(const std::vector<ActivationReport>& activations) {
  TextTable table({{"activation"},
                   {"bits", Align::kRight},
                   {"method"},
                   {"range", Align::kRight},
                   {"seen", Align::kRight},
                   {"clipped", Align::kRight},
                   {"SNR dB", Align::kRight}});
  for (const ActivationReport& activation : activations) {
    table.AddRow({activation.value, absl::StrCat(activation.bits), activation.method,
                  absl::StrFormat("%.4g .. %.4g", activation.low, activation.high),
                  absl::StrFormat("%.4g .. %.4g", activation.seen_low, activation.seen_high),
                  absl::StrFormat("%.3f %%", 100 * activation.clipped_share),
                  absl::StrFormat("%.1f", activation.snr_db)});
  }
  return table.ToString();
}

nlohmann::ordered_json MixedBitsJson(const MixedBits& mixed) {
  nlohmann::ordered_json json = {
      {"bytes", mixed.bytes}, {"float_bytes", mixed.float_bytes}, {"error", mixed.error}};
  for (const LayerSensitivity& layer : mixed.layers) {
    nlohmann::ordered_json widths;
    for (const BitChoice& width : layer.widths)
      widths.push_back({{"bits", width.bits}, {"bytes", width.bytes}, {"error", width.error}});
    json["sensitivity"].push_back(
        {{layer.activation ? "activation" : "weight", layer.weight}, {"widths", widths}});
  }
  for (const BitTrial& trial : mixed.trials) {
    json["trials"].push_back(
        {{"bytes", trial.bytes}, {"drop_points", trial.drop}, {"learnt", trial.learnt}});
  }
  return json;
}

// "-" where there is nothing to say.
std::string Or(double value, const std::string& text) { return std::isnan(value) ? "-" : text; }

std::string OutputTable(const std::vector<OutputAgreement>& outputs) {
  TextTable table({{"output"}, {"SNR dB", Align::kRight}, {"same highest", Align::kRight}});
  for (const OutputAgreement& output : outputs) {
    table.AddRow({output.output, Or(output.snr_db, absl::StrFormat("%.1f", output.snr_db)),
                  Or(output.same_share, absl::StrFormat("%.2f %%", 100 * output.same_share))});
  }
  return table.ToString();
}

// One line an output, or why there is none; nothing where nobody asked.
std::string RuntimeLines(const RuntimeCheck& check) {
  if (!check.absent.empty())
    return absl::StrCat("not verified in ONNX Runtime: ", check.absent, "\n\n");
  if (check.version.empty()) return "";
  std::string lines;
  for (const RuntimeOutput& output : check.outputs) {
    absl::StrAppendFormat(&lines,
                          "ONNX Runtime %s, output '%s': %.1f dB from the float model (our "
                          "executor %.1f), %.1f dB between the two\n",
                          check.version, output.output, output.runtime_db, output.ours_db,
                          output.between_db);
  }
  return lines + "\n";
}

nlohmann::ordered_json MetricsJson(const QuantizeSummary& summary) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (size_t i = 0; i < summary.float_metrics.size(); ++i) {
    json[summary.float_metrics[i].name] = {{"float", summary.float_metrics[i].value},
                                           {"quantized", summary.quantized_metrics[i].value}};
  }
  return json;
}

nlohmann::ordered_json RuntimeJson(const RuntimeCheck& check) {
  if (check.version.empty() && check.absent.empty()) return nullptr;
  nlohmann::ordered_json json = {{"version", check.version}, {"absent", check.absent}};
  for (const RuntimeOutput& output : check.outputs) {
    json["outputs"].push_back({{"output", output.output},
                               {"ours_db", output.ours_db},
                               {"runtime_db", output.runtime_db},
                               {"between_db", output.between_db}});
  }
  return json;
}

// One line, or nothing where no rounding was learnt.
std::string LearntLine(const std::vector<UnitReconstruction>& units) {
  if (units.empty()) return "";
  int64_t weights = 0, flipped = 0;
  for (const UnitReconstruction& unit : units) {
    weights += unit.weights;
    flipped += unit.flipped;
  }
  return absl::StrFormat(
      "roundings learnt: %d units, %.1f %% of the codes are not the nearest\n\n", units.size(),
      100.0 * static_cast<double>(flipped) / static_cast<double>(std::max<int64_t>(1, weights)));
}

}  // namespace

std::string WidthsName(const QuantizeSummary& summary) {
  const auto chosen = [&](const std::string& name) {
    return summary.mixed_bits.bits.contains(name);
  };
  double weight_bits = 0, weights = 0, activation_bits = 0, elements = 0;
  for (const LayerReport& layer : summary.layers) {
    weight_bits += static_cast<double>(layer.weight_bits) * static_cast<double>(layer.weights);
    weights += static_cast<double>(layer.weights);
  }
  for (const ActivationReport& activation : summary.activations) {
    activation_bits +=
        static_cast<double>(activation.bits) * static_cast<double>(activation.elements);
    elements += static_cast<double>(activation.elements);
  }
  const bool mixed_weights = std::ranges::any_of(summary.layers, chosen, &LayerReport::weight);
  const bool mixed_activations =
      std::ranges::any_of(summary.activations, chosen, &ActivationReport::value);
  return absl::StrCat(
      "W",
      mixed_weights ? absl::StrFormat("%.2f", weight_bits / weights) : absl::StrCat(summary.bits),
      "A",
      mixed_activations ? absl::StrFormat("%.2f", activation_bits / elements)
                        : absl::StrCat(summary.activation_bits));
}

std::string QuantizeSummaryJson(const QuantizeSummary& summary) {
  nlohmann::ordered_json json = {
      {"model", summary.model},
      {"output", summary.output},
      {"widths", WidthsName(summary)},
      {"bits", summary.bits},
      {"activation_bits", summary.activation_bits},
      {"samples", summary.samples},
      {"metric", summary.float_metrics.empty() ? nlohmann::ordered_json()
                                               : nlohmann::ordered_json(summary.metric)},
      {"float_" + summary.metric, summary.float_accuracy},
      {"quantized_" + summary.metric, summary.quantized_accuracy},
      {"drop_points", HigherIsBetter(summary.metric)
                          ? 100 * (summary.float_accuracy - summary.quantized_accuracy)
                          : std::numeric_limits<double>::quiet_NaN()},
      {"float_bytes", summary.float_bytes},
      {"quantized_bytes", summary.quantized_bytes}};
  if (summary.mixed_bits.bits.empty()) {
    json["mixed_bits"] = nullptr;
  } else {
    for (const LayerSensitivity& layer : summary.mixed_bits.layers)
      json[layer.activation ? "activation_bits" : "bits"] = "auto";
    json["mixed_bits"] = MixedBitsJson(summary.mixed_bits);
  }
  for (const LayerReport& layer : summary.layers) {
    json["layers"].push_back({{"node", layer.node},
                              {"op", layer.op},
                              {"weight", layer.weight},
                              {"bits", layer.weight_bits},
                              {"weights", layer.weights},
                              {"bytes", layer.bytes},
                              {"least_scale", layer.least_scale},
                              {"greatest_scale", layer.greatest_scale},
                              {"snr_db", layer.weight_snr_db},
                              {"gaussian_snr_db", layer.gaussian_snr_db}});
  }
  for (const ActivationReport& activation : summary.activations) {
    json["activations"].push_back({{"value", activation.value},
                                   {"bits", activation.bits},
                                   {"method", activation.method},
                                   {"scale", activation.scale},
                                   {"zero_point", activation.zero_point},
                                   {"low", activation.low},
                                   {"high", activation.high},
                                   {"seen_low", activation.seen_low},
                                   {"seen_high", activation.seen_high},
                                   {"clipped_share", activation.clipped_share},
                                   {"snr_db", activation.snr_db}});
  }
  for (const OutputAgreement& output : summary.outputs) {
    json["outputs"].push_back(
        {{"output", output.output}, {"snr_db", output.snr_db}, {"same_share", output.same_share}});
  }
  json["metrics"] = MetricsJson(summary);
  json["runtime"] = RuntimeJson(summary.runtime);
  for (const ValueDrift& value : summary.drift) {
    json["drift"].push_back({{"value", value.value},
                             {"stability_index", value.drift.stability_index},
                             {"outside_share", value.drift.outside_share}});
  }
  for (const UnitReconstruction& unit : summary.units) {
    json["units"].push_back({{"first", unit.first},
                             {"last", unit.last},
                             {"weights", unit.weights},
                             {"flipped", unit.flipped},
                             {"nearest_error", unit.nearest_error},
                             {"error", unit.error}});
  }
  json["warnings"] = summary.warnings;
  return JsonText(json) + "\n";
}

std::string QuantizeSummaryTable(const QuantizeSummary& summary) {
  std::vector<TextTable::Column> columns = {{""}};
  for (const MetricValue& metric : summary.float_metrics)
    columns.push_back({metric.name, Align::kRight});
  columns.push_back({"bytes", Align::kRight});
  columns.push_back({"of float", Align::kRight});
  TextTable totals(columns);
  const auto row = [&](const std::string& name, const std::vector<MetricValue>& metrics,
                       int64_t bytes) {
    std::vector<std::string> cells = {name};
    for (const MetricValue& metric : metrics)
      cells.push_back(MetricText(metric.name, metric.value));
    cells.push_back(absl::StrCat(bytes));
    cells.push_back(absl::StrFormat(
        "%.1f %%", 100.0 * static_cast<double>(bytes) / static_cast<double>(summary.float_bytes)));
    totals.AddRow(cells);
  };
  row("float", summary.float_metrics, summary.float_bytes);
  row(WidthsName(summary), summary.quantized_metrics, summary.quantized_bytes);
  std::string text =
      absl::StrCat(LayerTable(summary.layers), "\n", ActivationTable(summary.activations), "\n",
                   LearntLine(summary.units));
  for (const std::string& warning : summary.warnings)
    absl::StrAppend(&text, "warning: ", warning, "\n");
  return absl::StrCat(text, summary.warnings.empty() ? "" : "\n", summary.samples,
                      summary.samples.empty() ? "" : "\n\n", OutputTable(summary.outputs), "\n",
                      RuntimeLines(summary.runtime), totals.ToString());
}

}  // namespace ds
