#include "report/summary.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "report/json_text.h"
#include "report/progress.h"
#include "report/table.h"

namespace ds {
namespace {

std::string StepTimesJson(const StepTimes& times) {
  JsonObject json;
  json.Add("data", times.data);
  json.Add("forward", times.forward);
  json.Add("backward", times.backward);
  json.Add("exchange", times.exchange);
  json.Add("exchange_exposed", times.exchange_exposed);
  json.Add("optimiser", times.optimiser);
  json.Add("total", times.total);
  return json.ToString();
}

// "12.34 ms   40 %"
std::string Milliseconds(double ms, double total_ms) {
  const std::string text = absl::StrFormat("%.2f ms", ms);
  return total_ms > 0 ? absl::StrFormat("%s  %3.0f%%", text, 100 * ms / total_ms) : text;
}

std::string Accuracy(const RunSummary& summary) {
  if (std::isnan(summary.test_accuracy)) return "not tested";
  return absl::StrFormat("%.2f%% (epoch %d)", 100 * summary.test_accuracy, summary.best_epoch);
}

// "uniform, 4 bit: 7.8x fewer bytes, error 9.1% of the gradient"; with local steps theirs and the
// compression's together
std::string Compression(const RunSummary& summary) {
  if ((summary.compression == "none" && summary.local_steps == 1) ||
      summary.wire_bytes_per_step == 0)
    return summary.compression;
  std::string text = absl::StrFormat("%s: %.1fx fewer bytes", summary.compression,
                                     static_cast<double>(summary.raw_bytes_per_step) /
                                         static_cast<double>(summary.wire_bytes_per_step));
  if (!std::isnan(summary.compression_error)) {
    absl::StrAppendFormat(&text, ", error %.1f%% of the %s", 100 * summary.compression_error,
                          summary.local_steps > 1 ? "change" : "gradient");
  }
  return text;
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

std::string ExportsJson(const std::vector<QuantizedExport>& exports) {
  std::string json = "[";
  for (const QuantizedExport& one : exports) {
    JsonObject entry;
    entry.Add("file", one.file);
    entry.Add("bits", static_cast<int64_t>(one.bits));
    entry.Add("activation_bits", static_cast<int64_t>(one.activation_bits));
    entry.Add("accuracy", one.accuracy);
    entry.Add("bytes", one.bytes);
    absl::StrAppend(&json, json.size() > 1 ? ", " : "", entry.ToString());
  }
  return json + "]";
}

}  // namespace

std::string SummaryJson(const RunSummary& summary) {
  JsonObject json(2), versions;
  json.Add("name", summary.name);
  json.Add("model", summary.model);
  json.Add("parameters", summary.parameters);
  json.Add("seed", summary.seed);
  json.Add("test_accuracy", summary.test_accuracy);
  json.Add("test_loss", summary.test_loss);
  json.Add("best_epoch", summary.best_epoch);
  json.Add("final_test_accuracy", summary.final_test_accuracy);
  json.Add("train_images_per_second", summary.train_images_per_second);
  json.Add("precision", summary.precision);
  json.Add("world_size", summary.world_size);
  json.Add("epochs", summary.epochs);
  json.Add("local_steps", summary.local_steps);
  json.Add("wire_bytes_per_step", summary.wire_bytes_per_step);
  json.Add("raw_bytes_per_step", summary.raw_bytes_per_step);
  json.Add("compression", summary.compression);
  json.Add("compression_reason", summary.compression_reason);
  json.Add("compression_error", summary.compression_error);
  json.AddJson("step_ms", StepTimesJson(summary.step_ms));
  json.Add("predicted_step_ms", summary.predicted_step_ms);
  json.Add("median_step_ms", summary.median_step_ms);
  json.Add("skipped_steps", summary.skipped_steps);
  json.Add("loss_scale", summary.loss_scale);
  json.Add("quantization", summary.quantization);
  json.Add("float_accuracy", summary.float_accuracy);
  json.AddJson("exports", ExportsJson(summary.exports));
  json.Add("pruning", summary.pruning);
  json.Add("pruned_share", summary.pruned_share);
  json.Add("gating", summary.gating);
  json.Add("zero_gate_share", summary.zero_gate_share);
  json.Add("always_shut_share", summary.always_shut_share);
  json.Add("never_shut_share", summary.never_shut_share);
  json.Add("macs", summary.macs);
  json.Add("macs_needed", summary.macs_needed);
  json.Add("wall_seconds", summary.wall_seconds);
  for (const auto& [name, version] : summary.versions) versions.Add(name, version);
  json.AddJson("versions", versions.ToString());
  return json.ToString() + "\n";
}

absl::Status WriteSummary(const std::string& path, const RunSummary& summary) {
  return WriteFileAtomically(path, SummaryJson(summary));
}

std::string SummaryTable(const RunSummary& summary) {
  TextTable table({{"result"}, {summary.name, Align::kRight}});
  const StepTimes& step = summary.step_ms;
  table.AddRow({"model", absl::StrCat(summary.model, ", ", summary.parameters, " parameters")});
  if (summary.pruning != "none") {
    table.AddRow(
        {"pruned", absl::StrFormat("%s, %.1f%%", summary.pruning, 100 * summary.pruned_share)});
  }
  table.AddRow({"test accuracy", Accuracy(summary)});
  if (!std::isnan(summary.final_test_accuracy)) {
    table.AddRow(
        {"  after the last epoch", absl::StrFormat("%.2f%%", 100 * summary.final_test_accuracy)});
  }
  if (!std::isnan(summary.float_accuracy))
    table.AddRow({"float model", absl::StrFormat("%.2f%%", 100 * summary.float_accuracy)});
  if (!std::isnan(summary.macs_needed)) AddGates(summary, table);
  for (const QuantizedExport& one : summary.exports) {
    table.AddRow({one.file, absl::StrFormat("%.2f%%, %d bytes", 100 * one.accuracy, one.bytes)});
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
    table.AddRow({"compression", Compression(summary)});
  }
  if (!std::isnan(summary.loss_scale)) {
    table.AddRow({"loss scale", absl::StrFormat("%.6g", summary.loss_scale)});
  }
  if (summary.skipped_steps > 0)
    table.AddRow({"skipped steps", absl::StrCat(summary.skipped_steps)});
  return table.ToString();
}

}  // namespace ds
