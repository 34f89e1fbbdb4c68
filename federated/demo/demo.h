// A whole federation on this machine: an authority, an aggregator and a process for each site, with
// a data set dealt to them by Dirichlet's distribution (data/partition.h). Everything goes the way
// it does between machines: certificates, TLS, chunks, logs. `ds_federate demo`.
//
//   OUTPUT/authority/  sites/NAME/  *.yaml, *.log      what it was made of
//   OUTPUT/run/        the aggregator's folder: model.onnx, integer files, rounds.csv, ...
//   OUTPUT/summary.json
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/summary.h"

namespace ds::federated {

struct DemoOptions {
  std::string output;  // folder that does not exist, or is empty
  int64_t sites = 8;   // >= 2; secure: >= 3
  int64_t rounds = 10;
  double alpha = 0.5;  // of Dirichlet's distribution; 0: equal shares
  int bits = 4;        // an update's value, 1..16
  bool secure = false;
  std::string strategy = "fedavg";
  std::string model = "lenet";  // of the zoo
  std::string data;             // folder of Fashion-MNIST; empty: the usual places
  int64_t train_limit = 0;      // samples of all sites together; 0: all
  uint64_t seed = 1;
  std::vector<std::string> overrides;  // of the task, "key.path=value"
  std::string programs;  // folder of ds_aggregator and the others; empty: this program's
  bool print = true;
};

// summary.json has these, but the exports.
struct DemoSummary {
  double test_accuracy = std::numeric_limits<double>::quiet_NaN();  // share, 0..1
  int64_t rounds = 0;
  std::vector<double> round_seconds;
  double upload_bytes_per_parameter = 0, download_bytes_per_parameter = 0;
  double aggregator_peak_rss_mib = 0;
  bool secure = false;
  int bits = 0;
  std::vector<QuantizedExport> exports;
};

// Until the run has ended. Nothing that it started goes on. InvalidArgument: options; NotFound: a
// program or the data; Unavailable: a process that failed, with its last words and its log.
absl::StatusOr<DemoSummary> RunDemo(const DemoOptions& options);

// From the summary.json of the aggregator's folder. DataLoss names what it lacks.
absl::StatusOr<DemoSummary> ReadDemoSummary(const std::string& path);
std::string DemoSummaryJson(const DemoSummary& summary);
std::string DemoTable(const DemoSummary& summary);

}  // namespace ds::federated
