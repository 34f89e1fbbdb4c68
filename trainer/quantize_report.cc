#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "trainer/quantize_job.h"
#include "trainer/report/table.h"

namespace ds {
namespace {

std::string LayerTable(const std::vector<LayerReport>& layers) {
  TextTable table({{"layer"}, {"op"}, {"weights", Align::kRight}, {"bits", Align::kRight}, {"bytes", Align::kRight}, {"SNR dB", Align::kRight},
                   {"normal: dB", Align::kRight}});
  for (const LayerReport& layer : layers) {
    table.AddRow({layer.node, layer.op, absl::StrCat(layer.weights), absl::StrCat(layer.weight_bits), absl::StrCat(layer.bytes),
                  absl::StrFormat("%.1f", layer.weight_snr_db), absl::StrFormat("%.1f", layer.gaussian_snr_db)});
  }
  return table.ToString();
}

std::string ActivationTable(const std::vector<ActivationReport>& activations) {
  TextTable table({{"activation"}, {"bits", Align::kRight}, {"method"}, {"range", Align::kRight}, {"seen", Align::kRight},
                   {"clipped", Align::kRight}, {"SNR dB", Align::kRight}});
  for (const ActivationReport& activation : activations) {
    table.AddRow({activation.value, absl::StrCat(activation.bits), activation.method,
                  absl::StrFormat("%.4g .. %.4g", activation.low, activation.high),
                  absl::StrFormat("%.4g .. %.4g", activation.seen_low, activation.seen_high),
                  absl::StrFormat("%.3f %%", 100 * activation.clipped_share), absl::StrFormat("%.1f", activation.snr_db)});
  }
  return table.ToString();
}

nlohmann::ordered_json MixedBitsJson(const MixedBits& mixed) {
  nlohmann::ordered_json json = {{"bytes", mixed.bytes}, {"float_bytes", mixed.float_bytes}, {"error", mixed.error}};
  for (const LayerSensitivity& layer : mixed.layers) {
    nlohmann::ordered_json widths;
    for (const BitChoice& width : layer.widths) widths.push_back({{"bits", width.bits}, {"bytes", width.bytes}, {"error", width.error}});
    json["sensitivity"].push_back({{"weight", layer.weight}, {"widths", widths}});
  }
  for (const BitTrial& trial : mixed.trials) json["trials"].push_back({{"bytes", trial.bytes}, {"drop_points", trial.drop}});
  return json;
}

}  // namespace

std::string WidthsName(const QuantizeSummary& summary) {
  if (summary.mixed_bits.bits.empty()) return absl::StrCat("W", summary.bits, "A", summary.activation_bits);
  double bits = 0, weights = 0;
  for (const LayerReport& layer : summary.layers) {
    bits += static_cast<double>(layer.weight_bits) * static_cast<double>(layer.weights);
    weights += static_cast<double>(layer.weights);
  }
  return absl::StrFormat("W%.2fA%d", bits / weights, summary.activation_bits);
}

std::string QuantizeSummaryJson(const QuantizeSummary& summary) {
  nlohmann::ordered_json json = {{"model", summary.model},
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
    json["bits"] = "auto";
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
  json["warnings"] = summary.warnings;
  return json.dump(2) + "\n";
}

std::string QuantizeSummaryTable(const QuantizeSummary& summary) {
  TextTable totals({{""}, {"accuracy", Align::kRight}, {"bytes", Align::kRight}, {"of float", Align::kRight}});
  const auto row = [&](const std::string& name, double accuracy, int64_t bytes) {
    totals.AddRow({name, absl::StrFormat("%.2f %%", 100 * accuracy), absl::StrCat(bytes),
                   absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(bytes) / static_cast<double>(summary.float_bytes))});
  };
  row("float", summary.float_accuracy, summary.float_bytes);
  row(WidthsName(summary), summary.quantized_accuracy, summary.quantized_bytes);
  std::string text = absl::StrCat(LayerTable(summary.layers), "\n", ActivationTable(summary.activations), "\n");
  for (const std::string& warning : summary.warnings) absl::StrAppend(&text, "warning: ", warning, "\n");
  return absl::StrCat(text, summary.warnings.empty() ? "" : "\n", totals.ToString());
}

}  // namespace ds
