// The results of a demonstration: read from the aggregator's folder, written and shown.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file/file.h"
#include "base/median.h"
#include "base/status.h"
#include "federated/demo/demo.h"
#include "nlohmann/json.hpp"
#include "report/json.h"
#include "report/table.h"

namespace ds::federated {
namespace {

DemoSummary FromJson(const nlohmann::json& json) {
  const auto number = [](const nlohmann::json& value) {
    return value.is_null() ? RunSummary::kNone : value.get<double>();
  };
  DemoSummary summary;
  summary.test_accuracy = number(json.at("test_accuracy"));
  summary.rounds = json.at("rounds").get<int64_t>();
  summary.round_seconds = json.at("round_seconds").get<std::vector<double>>();
  summary.upload_bytes_per_parameter = number(json.at("upload_bytes_per_parameter"));
  summary.download_bytes_per_parameter = number(json.at("download_bytes_per_parameter"));
  summary.aggregator_peak_rss_mib = number(json.at("aggregator_peak_rss_mib"));
  summary.secure = json.at("secure").get<bool>();
  summary.bits = json.at("bits").get<int>();
  for (const nlohmann::json& file : json.at("exports")) {
    summary.exports.push_back({.file = file.at("file").get<std::string>(),
                               .bits = file.at("bits").get<int>(),
                               .activation_bits = file.at("activation_bits").get<int>(),
                               .accuracy = number(file.at("accuracy")),
                               .bytes = file.at("bytes").get<int64_t>()});
  }
  return summary;
}

}  // namespace

absl::StatusOr<DemoSummary> ReadDemoSummary(const std::string& path) {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  try {
    return FromJson(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(path, " is not what ds_aggregator writes: ", error.what()));
  }
}

std::string DemoSummaryJson(const DemoSummary& summary) {
  return JsonText({{"test_accuracy", summary.test_accuracy},
                   {"rounds", summary.rounds},
                   {"round_seconds", summary.round_seconds},
                   {"upload_bytes_per_parameter", summary.upload_bytes_per_parameter},
                   {"download_bytes_per_parameter", summary.download_bytes_per_parameter},
                   {"aggregator_peak_rss_mib", summary.aggregator_peak_rss_mib},
                   {"secure", summary.secure},
                   {"bits", summary.bits}});
}

std::string DemoTable(const DemoSummary& summary) {
  TextTable table({{"result"}, {"value", Align::kRight}});
  const auto percent = [](double share) { return absl::StrFormat("%.2f %%", 100 * share); };
  table.AddRow({"test accuracy", percent(summary.test_accuracy)});
  for (const QuantizedExport& file : summary.exports) {
    table.AddRow(
        {absl::StrCat("  ", file.file, " (", file.bytes / 1024, " KiB)"), percent(file.accuracy)});
  }
  table.AddRow({"rounds", absl::StrCat(summary.rounds)});
  table.AddRow({"seconds a round, median", absl::StrFormat("%.2f", Median(summary.round_seconds))});
  table.AddRow(
      {"bytes a parameter up", absl::StrFormat("%.3f", summary.upload_bytes_per_parameter)});
  table.AddRow(
      {"bytes a parameter down", absl::StrFormat("%.3f", summary.download_bytes_per_parameter)});
  table.AddRow(
      {"aggregator's peak memory", absl::StrFormat("%.0f MiB", summary.aggregator_peak_rss_mib)});
  table.AddRow({"secure aggregation", summary.secure ? "on" : "off"});
  table.AddRow({"bits a value", absl::StrCat(summary.bits)});
  return table.ToString();
}

}  // namespace ds::federated
