// A run's figures for Prometheus (text exposition over HTTP, by prometheus-cpp). Names begin with
// ds_federated_; docs/federated.md lists them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "federated/aggregator/observer.h"

namespace ds::federated {

// Thread-safe.
class MetricsExporter : public Observer {
 public:
  // Serves http://ADDRESS/metrics. InvalidArgument or Unavailable where it cannot listen there.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Listen(const std::string& address);
  // Of a version, on the server's own data, 0..1.
  virtual void Evaluated(double accuracy) = 0;
  // The port that it listens at.
  virtual int port() const = 0;
};

}  // namespace ds::federated
