#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "trainer/quantize_job.h"
#include "trainer/report/table.h"

namespace ds {
namespace {

std::string LayerTable(const std::vector<LayerReport>& layers) {
  TextTable table({{"layer"}, {"op"}, {"weights", Align::kRight}, {"bits", Align::kRight}, {"SNR dB", Align::kRight},
                   {"normal: dB", Align::kRight}});
  for (const LayerReport& layer : layers) {
    table.AddRow({layer.node, layer.op, absl::StrCat(layer.weights), absl::StrCat(layer.weight_bits),
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

}  // namespace

std::string QuantizeSummaryJson(const QuantizeSummary& summary) {
  nlohmann::ordered_json json = {{"model", summary.model},
                                 {"output", summary.output},
                                 {"bits", summary.bits},
                                 {"activation_bits", summary.activation_bits},
                                 {"float_accuracy", summary.float_accuracy},
                                 {"quantized_accuracy", summary.quantized_accuracy},
                                 {"float_bytes", summary.float_bytes},
                                 {"quantized_bytes", summary.quantized_bytes}};
  for (const LayerReport& layer : summary.layers) {
    json["layers"].push_back({{"node", layer.node},
                              {"op", layer.op},
                              {"weight", layer.weight},
                              {"bits", layer.weight_bits},
                              {"weights", layer.weights},
                              {"snr_db", layer.weight_snr_db},
                              {"gaussian_snr_db", layer.gaussian_snr_db}});
  }
  for (const ActivationReport& activation : summary.activations) {
    json["activations"].push_back({{"value", activation.value},
                                   {"bits", activation.bits},
                                   {"method", activation.method},
                                   {"low", activation.low},
                                   {"high", activation.high},
                                   {"seen_low", activation.seen_low},
                                   {"seen_high", activation.seen_high},
                                   {"clipped_share", activation.clipped_share},
                                   {"snr_db", activation.snr_db}});
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
  row(absl::StrCat("W", summary.bits, "A", summary.activation_bits), summary.quantized_accuracy, summary.quantized_bytes);
  std::string text = absl::StrCat(LayerTable(summary.layers), "\n", ActivationTable(summary.activations), "\n");
  for (const std::string& warning : summary.warnings) absl::StrAppend(&text, "warning: ", warning, "\n");
  return absl::StrCat(text, summary.warnings.empty() ? "" : "\n", totals.ToString());
}

}  // namespace ds
