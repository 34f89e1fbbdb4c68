#include "report/summary.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file/file.h"
#include "report/exports.h"
#include "report/json.h"
#include "report/progress.h"
#include "report/table.h"

namespace ds {
namespace {

using Json = nlohmann::ordered_json;

// Terminal columns of a result: with the names before it a line of the table stays below 80.
constexpr int kResultWidth = 44;

Json StepTimesJson(const StepTimes& times) {
  return {{"data", times.data},
          {"forward", times.forward},
          {"backward", times.backward},
          {"exchange", times.exchange},
          {"exchange_exposed", times.exchange_exposed},
          {"optimiser", times.optimiser},
          {"total", times.total}};
}

// "12.34 ms   40 %"
std::string Milliseconds(double ms, double total_ms) {
  const std::string text = absl::StrFormat("%.2f ms", ms);
  return total_ms > 0 ? absl::StrFormat("%s  %3.0f%%", text, 100 * ms / total_ms) : text;
}

std::string Accuracy(const RunSummary& summary) {
  if (std::isnan(summary.test_accuracy)) return "not tested";
  return absl::StrCat(MetricText(summary.metric, summary.test_accuracy), " (epoch ",
                      summary.best_epoch, ")");
}

// With local steps, what they and compression save together.
void AddCompression(const RunSummary& summary, TextTable& table) {
  table.AddRow({"compression", summary.compression});
  if ((summary.compression == "none" && summary.local_steps == 1) ||
      summary.wire_bytes_per_step == 0)
    return;
  table.AddRow({"  fewer bytes",
                absl::StrFormat("%.1fx", static_cast<double>(summary.raw_bytes_per_step) /
                                             static_cast<double>(summary.wire_bytes_per_step))});
  if (std::isnan(summary.compression_error)) return;
  table.AddRow({summary.local_steps > 1 ? "  error of the change" : "  error of the gradient",
                absl::StrFormat("%.1f%%", 100 * summary.compression_error)});
}

void AddGates(const RunSummary& summary, TextTable& table) {
  table.AddRow(
      {"gates",
       absl::StrFormat("%.1f%% zero; %.1f%% always, %.1f%% never", 100 * summary.zero_gate_share,
                       100 * summary.always_shut_share, 100 * summary.never_shut_share)});
  table.AddRow(
      {"  multiply-accumulates needed",
       absl::StrFormat("%.2f of %.2f million an image (%.1f%%)", 1e-6 * summary.macs_needed,
                       1e-6 * summary.macs, 100 * summary.macs_needed / summary.macs)});
  table.AddRow({"  computed by stock runtimes", "all: no gain of time there"});
}

}  // namespace

Json ExportsJson(const std::vector<QuantizedExport>& exports, const std::string& metric) {
  Json list = Json::array();
  for (const QuantizedExport& one : exports) {
    list.push_back({{"file", one.file},
                    {"bits", one.bits},
                    {"activation_bits", one.activation_bits},
                    {metric, one.accuracy},
                    {"bytes", one.bytes}});
  }
  return list;
}

std::string MetricText(const std::string& name, double value) {
  if (name == "mae" || name == "rmse" || name == "perplexity")
    return absl::StrFormat("%.5g", value);
  return absl::StrFormat("%.2f%%", 100 * value);
}

std::string SummaryJson(const RunSummary& summary) {
  Json versions = Json::object();
  for (const auto& [name, version] : summary.versions) versions[name] = version;
  Json metrics = Json::object();
  for (const auto& [name, value] : summary.final_test_metrics) metrics[name] = value;
  const Json json = {{"name", summary.name},
                     {"model", summary.model},
                     {"parameters", summary.parameters},
                     {"seed", summary.seed},
                     {"metric", summary.metric},
                     {"test_" + summary.metric, summary.test_accuracy},
                     {"test_loss", summary.test_loss},
                     {"best_epoch", summary.best_epoch},
                     {"final_test_" + summary.metric, summary.final_test_accuracy},
                     {"final_test_metrics", metrics},
                     {"train_images_per_second", summary.train_images_per_second},
                     {"precision", summary.precision},
                     {"world_size", summary.world_size},
                     {"epochs", summary.epochs},
                     {"local_steps", summary.local_steps},
                     {"wire_bytes_per_step", summary.wire_bytes_per_step},
                     {"raw_bytes_per_step", summary.raw_bytes_per_step},
                     {"compression", summary.compression},
                     {"compression_reason", summary.compression_reason},
                     {"compression_error", summary.compression_error},
                     {"step_ms", StepTimesJson(summary.step_ms)},
                     {"predicted_step_ms", summary.predicted_step_ms},
                     {"median_step_ms", summary.median_step_ms},
                     {"skipped_steps", summary.skipped_steps},
                     {"loss_scale", summary.loss_scale},
                     {"quantization", summary.quantization},
                     {"float_" + summary.metric, summary.float_accuracy},
                     {"exports", ExportsJson(summary.exports, summary.metric)},
                     {"pruning", summary.pruning},
                     {"pruned_share", summary.pruned_share},
                     {"gating", summary.gating},
                     {"zero_gate_share", summary.zero_gate_share},
                     {"always_shut_share", summary.always_shut_share},
                     {"never_shut_share", summary.never_shut_share},
                     {"macs", summary.macs},
                     {"macs_needed", summary.macs_needed},
                     {"wall_seconds", summary.wall_seconds},
                     {"versions", versions}};
  return JsonText(json) + "\n";
}

absl::Status WriteSummary(const std::string& path, const RunSummary& summary) {
  return WriteFileAtomically(path, SummaryJson(summary));
}

std::string SummaryTable(const RunSummary& summary) {
  TextTable table({{"result"}, {summary.name, Align::kRight, kResultWidth}});
  const StepTimes& step = summary.step_ms;
  table.AddRow({"model", absl::StrCat(summary.model, ", ", summary.parameters, " parameters")});
  if (summary.pruning != "none") {
    table.AddRow(
        {"pruned", absl::StrFormat("%s, %.1f%%", summary.pruning, 100 * summary.pruned_share)});
  }
  table.AddRow({"test " + summary.metric, Accuracy(summary)});
  if (!std::isnan(summary.final_test_accuracy)) {
    table.AddRow(
        {"  after the last epoch", MetricText(summary.metric, summary.final_test_accuracy)});
  }
  if (!std::isnan(summary.float_accuracy))
    table.AddRow({"float model", MetricText(summary.metric, summary.float_accuracy)});
  if (!std::isnan(summary.macs_needed)) AddGates(summary, table);
  for (const QuantizedExport& one : summary.exports) {
    table.AddRow({one.file, absl::StrCat(MetricText(summary.metric, one.accuracy), ", ", one.bytes,
                                         " bytes")});
  }
  table.AddRow(
      {"training speed", absl::StrFormat("%.0f images/s", summary.train_images_per_second)});
  table.AddRow({"precision", summary.precision});
  table.AddRow({"ranks", absl::StrCat(summary.world_size)});
  table.AddRow({"epochs", absl::StrCat(summary.epochs)});
  if (summary.local_steps > 1) table.AddRow({"local steps", absl::StrCat(summary.local_steps)});
  table.AddRow({"wall time", FormatDuration(summary.wall_seconds)});
  table.AddRow({"a step", Milliseconds(step.total, step.total)});
  table.AddRow({"  data", Milliseconds(step.data, step.total)});
  table.AddRow({"  forward", Milliseconds(step.forward, step.total)});
  table.AddRow({"  backward", Milliseconds(step.backward, step.total)});
  table.AddRow({"  optimiser", Milliseconds(step.optimiser, step.total)});
  if (!std::isnan(summary.predicted_step_ms)) {
    table.AddRow(
        {"  predicted, median measured",
         absl::StrFormat("%.2f ms, %.2f ms", summary.predicted_step_ms, summary.median_step_ms)});
  }
  if (summary.world_size > 1) {
    table.AddRow({"  exchange", Milliseconds(step.exchange, step.total)});
    table.AddRow({"  exchange, not hidden", Milliseconds(step.exchange_exposed, step.total)});
    table.AddRow({"  sent by a rank",
                  absl::StrFormat("%.3f MiB",
                                  static_cast<double>(summary.wire_bytes_per_step) / (1 << 20))});
    AddCompression(summary, table);
  }
  if (!std::isnan(summary.loss_scale)) {
    table.AddRow({"loss scale", absl::StrFormat("%.6g", summary.loss_scale)});
  }
  if (summary.skipped_steps > 0)
    table.AddRow({"skipped steps", absl::StrCat(summary.skipped_steps)});
  return table.ToString();
}

}  // namespace ds
