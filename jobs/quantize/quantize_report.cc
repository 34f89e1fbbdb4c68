#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "jobs/quantize/quantize_job.h"
#include "report/json.h"
#include "report/table.h"

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
      {"float_accuracy", summary.float_accuracy},
      {"quantized_accuracy", summary.quantized_accuracy},
      {"drop_points", 100 * (summary.float_accuracy - summary.quantized_accuracy)},
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
  TextTable totals(
      {{""}, {"accuracy", Align::kRight}, {"bytes", Align::kRight}, {"of float", Align::kRight}});
  const auto row = [&](const std::string& name, double accuracy, int64_t bytes) {
    totals.AddRow({name, absl::StrFormat("%.2f %%", 100 * accuracy), absl::StrCat(bytes),
                   absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(bytes) /
                                                  static_cast<double>(summary.float_bytes))});
  };
  row("float", summary.float_accuracy, summary.float_bytes);
  row(WidthsName(summary), summary.quantized_accuracy, summary.quantized_bytes);
  std::string text =
      absl::StrCat(LayerTable(summary.layers), "\n", ActivationTable(summary.activations), "\n",
                   LearntLine(summary.units));
  for (const std::string& warning : summary.warnings)
    absl::StrAppend(&text, "warning: ", warning, "\n");
  return absl::StrCat(text, summary.warnings.empty() ? "" : "\n", totals.ToString());
}

}  // namespace ds
