#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/comm/exchange_bench.h"
#include "nlohmann/json.hpp"
#include "report/table.h"

namespace ds {

std::string ExchangeBenchTable(const std::vector<ExchangeBenchRow>& rows) {
  TextTable table({{"codec"},
                   {"ranks", Align::kRight},
                   {"values", Align::kRight},
                   {"ms", Align::kRight},
                   {"model ms", Align::kRight},
                   {"GB/s", Align::kRight},
                   {"sent bytes", Align::kRight},
                   {"predicted", Align::kRight},
                   {"fewer", Align::kRight},
                   {"worst error", Align::kRight},
                   {"of bound", Align::kRight},
                   {"check"}});
  for (const ExchangeBenchRow& row : rows) {
    table.AddRow({row.codec, absl::StrCat(row.ranks), absl::StrCat(row.values),
                  absl::StrFormat("%.3f", row.seconds * 1e3),
                  absl::StrFormat("%.3f", row.model_seconds * 1e3),
                  absl::StrFormat("%.2f", row.gb_per_s()), absl::StrCat(row.wire_bytes),
                  absl::StrCat(row.predicted_bytes), absl::StrFormat("%.2fx", row.fewer_bytes()),
                  absl::StrFormat("%.2e", row.check.worst_error),
                  absl::StrFormat("%.3f", row.check.error_over_bound), row.ok() ? "ok" : "WRONG"});
  }
  return table.ToString();
}

std::string ExchangeBenchJson(const std::vector<ExchangeBenchRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ExchangeBenchRow& row : rows) {
    list.push_back({{"backend", row.backend},
                    {"codec", row.codec},
                    {"ranks", row.ranks},
                    {"values", row.values},
                    {"seconds", row.seconds},
                    {"model_seconds", row.model_seconds},
                    {"gb_per_s", row.gb_per_s()},
                    {"wire_bytes", row.wire_bytes},
                    {"predicted_bytes", row.predicted_bytes},
                    {"fewer_bytes", row.fewer_bytes()},
                    {"mismatches", row.check.mismatches},
                    {"replicas_equal", row.check.replicas_equal},
                    {"worst_error", row.check.worst_error},
                    {"error_over_bound", row.check.error_over_bound},
                    {"ok", row.ok()}});
  }
  return list.dump(2) + "\n";
}

}  // namespace ds
