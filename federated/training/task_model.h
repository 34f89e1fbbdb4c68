// An offer's model as this side runs it: the layout of its numbers, and a module that holds them,
// in float or, once quantisation-aware training has begun, with its rounding.
//
// With quantization.mode qat the vector has more slots behind the model's own (extra statistics,
// federated/model/graph_model.h): the steps of what is rounded, and the zero points of activations.
// They are 0 at first. Each round in float leaves in them what the sites have calibrated, and the
// mean of the last is what training with rounding begins with; the first round is always in float.
// From there on steps are trained (LSQ, Esser et al. 2020) and averaged, and zero points stand
// still. A step s is held as log2(s) / 64 and a zero point as z / 4096: of the size of weights'
// changes, and noise that an update's few bits add is then relative.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "executor/graph_module.h"
#include "federated/training/task.h"
#include "federated/update/global_model.h"
#include "quant/torch/quantizer.h"
#include "trainer/qat/qat_module.h"

namespace ds::federated {

class TaskModel {
 public:
  // `model_file`: the offer's ONNX file; its classes must be at least `data`'s (null: no data).
  static absl::StatusOr<std::unique_ptr<TaskModel>> Create(const FederatedTask& task,
                                                           const std::string& model_file,
                                                           const DatasetInfo* data);

  const ModelLayout& layout() const { return layout_; }
  const std::vector<float>& first_weights() const { return first_; }  // version 0

  const Graph& graph() const { return float_->graph(); }
  bool quantized() const { return quantizes_; }
  // Whether `weights` hold steps already: false in float training, and until the first calibration.
  bool Calibrated(absl::Span<const float> weights) const;
  // A module that holds `weights`; with `rounding` a QatModule (`weights` are Calibrated). Lives
  // until the next call.
  absl::StatusOr<GraphModule*> Load(absl::Span<const float> weights, bool rounding);
  // What the module of the last Load holds now. Slots that it lacks keep what `weights` has there.
  void Store(absl::Span<float> weights) const;
  // Calibrates the module of the last Load, in float, on `data`, and puts steps and zero points
  // into `weights`.
  absl::Status Calibrate(const CalibrationData& data, absl::Span<float> weights) const;
  // The QatModule of the last Load with `rounding`.
  QatModule* rounding() const { return rounding_.get(); }

 private:
  explicit TaskModel(const FederatedTask& task) : task_(task) {}
  absl::Status CheckSteps();
  void StoreSteps(const QatModule& module, absl::Span<float> weights) const;
  void LoadSteps(absl::Span<const float> weights, const QatModule& module) const;

  const FederatedTask task_;
  bool quantizes_ = false;
  ModelLayout layout_;
  int64_t own_ = 0;  // numbers of the model itself, before steps and zero points
  std::vector<float> first_;
  std::unique_ptr<GraphModule> float_;
  QuantPlan plan_;  // what is rounded, of which type; its scales mean nothing
  std::unique_ptr<QatModule> rounding_;
};

// Lists in `graph`'s metadata the steps and zero points that training with rounding needs, for the
// file that version 0 is.
absl::Status AddStepSlots(const FederatedTask& task, Graph& graph);

}  // namespace ds::federated
