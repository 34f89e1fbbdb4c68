// Watches whether data that a quantised model meets still looks like what it was calibrated on.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "quant/ranges/drift.h"
#include "quant/torch/collector.h"
#include "quant/torch/quantizer.h"

namespace ds {

struct DriftOptions {
  double most_index = 0.25;     // population stability index that earns a warning, >= 0
  double most_outside = 0.001;  // share of values beyond all calibrated ones that earns one, [0, 1]
};

struct ValueDrift {
  std::string value;  // the activation's name
  Drift drift;
};

class DriftMonitor {
 public:
  // Runs the float graph of the model's calibration, and holds its activations against the
  // histograms of then. The model may go.
  static absl::StatusOr<DriftMonitor> Create(const QuantizedModel& model);
  // One batch of the model's inputs. Errors as of Collector::Add.
  absl::Status Add(const std::vector<at::Tensor>& inputs) { return collector_->Add(inputs); }
  // Of each activation, over all batches so far, in the order of the graph.
  std::vector<ValueDrift> Report() const;

 private:
  std::unique_ptr<Collector> collector_;
  std::vector<std::pair<ValueId, std::string>> values_;
  std::map<std::string, Histogram> calibrated_;
};

// A line for each activation that has drifted: its name, how far, what to do.
std::vector<std::string> DriftWarnings(const std::vector<ValueDrift>& report,
                                       const DriftOptions& options = {});

}  // namespace ds
