// What ds_aggregator is told: plain values, which YAML's keys fill
// (docs/federated-configuration.md). Torch-free and gRPC-free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/schema.h"
#include "federated/options/options.h"

namespace ds::federated {

struct ListenConfig {
  std::string address = "0.0.0.0:7443";  // of the one port that agents dial
  std::string identity;                  // folder of the server's key, certificate and authority
  bool insecure = false;                 // no TLS; loopback addresses only
  std::string metrics;                   // address of the Prometheus exporter; empty: none
  int64_t connections = 1024;            // at once, >= 1
};

struct TaskConfig {
  std::string config;  // a ds_train configuration: model, training, server's test data
  std::vector<std::string> overrides;  // of it, "key.path=value"
  bool evaluate = true;                // every published model, on the task's test split
};

struct AggregatorConfig {
  std::string name = "federated";  // of the run's folder
  std::string output = "runs";     // folder that holds it
  ListenConfig listen;
  TaskConfig task;
  RunOptions run;
};

// Bound to `config`, which must outlive it.
ConfigSchema AggregatorSchema(AggregatorConfig& config);
absl::StatusOr<AggregatorConfig> ReadAggregatorConfig(const std::string& path,
                                                      const std::vector<std::string>& overrides);
std::string PrintAggregatorConfig(const AggregatorConfig& config);

}  // namespace ds::federated
