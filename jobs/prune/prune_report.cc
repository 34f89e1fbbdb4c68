#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "jobs/prune/prune_job.h"
#include "report/json.h"
#include "report/summary.h"
#include "report/table.h"

namespace ds {
namespace {

std::string GroupTable(const PruneReport& report) {
  TextTable table(
      {{"layers"}, {"channels", Align::kRight}, {"left", Align::kRight}, {"fixed because"}});
  for (const PrunedGroup& group : report.groups) {
    const size_t others = group.layers.size() - 1;
    table.AddRow({others == 0 ? group.name : absl::StrCat(group.name, " and ", others, " more"),
                  absl::StrCat(group.channels_before), absl::StrCat(group.channels_after),
                  group.fixed_because});
  }
  return table.ToString();
}

std::string TwoFourTable(const std::vector<TwoFourLayer>& layers) {
  TextTable table({{"layer"}, {"|w| lost", Align::kRight}, {"dense because"}});
  for (const TwoFourLayer& layer : layers) {
    const bool done = layer.dense_because.empty();
    table.AddRow({layer.node, done ? absl::StrFormat("%.1f %%", 100 * layer.magnitude_lost) : "",
                  layer.dense_because});
  }
  return table.ToString();
}

void AddCounts(const PruneReport& report, TextTable& table) {
  const auto row = [&table](const char* name, int64_t before, int64_t after) {
    table.AddRow({name, absl::StrCat(before), absl::StrCat(after),
                  absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(after) /
                                                 static_cast<double>(before))});
  };
  row("filters", report.filters_before, report.filters_after);
  row("parameters", report.parameters_before, report.parameters_after);
  row("multiply-accumulates", report.macs_before, report.macs_after);
}

}  // namespace

std::string PruneSummaryJson(const PruneSummary& summary) {
  nlohmann::ordered_json json = {{"model", summary.model},
                                 {"output", summary.output},
                                 {"pattern", summary.pattern},
                                 {"importance", summary.importance},
                                 {summary.metric + "_before", summary.accuracy_before},
                                 {summary.metric + "_after", summary.accuracy_after},
                                 {"bytes_before", summary.bytes_before},
                                 {"bytes_after", summary.bytes_after}};
  const PruneReport& report = summary.report;
  if (summary.pattern == "channels") {
    json["filters_before"] = report.filters_before;
    json["filters_after"] = report.filters_after;
    json["parameters_before"] = report.parameters_before;
    json["parameters_after"] = report.parameters_after;
    json["macs_before"] = report.macs_before;
    json["macs_after"] = report.macs_after;
  }
  for (const PrunedGroup& group : report.groups) {
    json["groups"].push_back({{"layers", group.layers},
                              {"channels_before", group.channels_before},
                              {"channels_after", group.channels_after},
                              {"fixed_because", group.fixed_because}});
  }
  for (const TwoFourLayer& layer : summary.two_four) {
    json["layers"].push_back({{"node", layer.node},
                              {"weight", layer.weight},
                              {"magnitude_lost", layer.magnitude_lost},
                              {"dense_because", layer.dense_because}});
  }
  return JsonText(json) + "\n";
}

std::string PruneSummaryTable(const PruneSummary& summary) {
  TextTable totals(
      {{""}, {"before", Align::kRight}, {"after", Align::kRight}, {"left", Align::kRight}});
  if (summary.pattern == "channels") AddCounts(summary.report, totals);
  totals.AddRow({"bytes", absl::StrCat(summary.bytes_before), absl::StrCat(summary.bytes_after),
                 absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(summary.bytes_after) /
                                                static_cast<double>(summary.bytes_before))});
  totals.AddRow({summary.metric + ", not fine-tuned",
                 MetricText(summary.metric, summary.accuracy_before),
                 MetricText(summary.metric, summary.accuracy_after)});
  const std::string layers =
      summary.pattern == "channels" ? GroupTable(summary.report) : TwoFourTable(summary.two_four);
  return absl::StrCat(layers, "\n", totals.ToString());
}

}  // namespace ds
