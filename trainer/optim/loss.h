// Losses, in fp32 whatever the autocast type, as torch.nn.functional computes them.
//
// cross_entropy  one class a sample, token or pixel, or shares of classes (mixup)
// nll            the same of a model that ends in Softmax or LogSoftmax; cross_entropy becomes it
//                by itself where that is known (ForModel)
// bce            several labels, each yes or no, from logits, or behind a Sigmoid from its results
// mse, l1, huber numbers
//
// The mean is over what counts: the batch's samples (tokens, pixels) whose target is not
// ignore_index, by the weights of their classes; bce: elements. weight is what was divided by: the
// means of several batches or ranks combine by it, exactly.
#pragma once

#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/optim/options.h"
#include "trainer/optim/target_rows.h"

namespace ds {

struct LossResult {
  at::Tensor loss;    // fp32 scalar, mean over what counts; 0 where nothing does
  double weight = 0;  // of this mean among others
  // int64 scalar. Classes: arg max hits; bce: elements on the right side of one half; numbers: 0.
  at::Tensor correct;
  int64_t count = 0;  // what `correct` is out of: samples (tokens, pixels, elements) that count
};

// What the numbers that a loss is given are.
enum class OutputKind { kLogits, kProbabilities, kLogProbabilities };

class Loss {
 public:
  // InvalidArgument for options out of range or that the loss does not have. `output` other than
  // logits is for cross_entropy (which becomes nll), nll and, probabilities, bce.
  static absl::StatusOr<Loss> Create(const LossOptions& options,
                                     OutputKind output = OutputKind::kLogits);
  // Looks at what the model's first output has gone through, and at its shape for the metrics that
  // `options` leaves open. InvalidArgument where the loss cannot be meant: nll of logits,
  // cross_entropy behind a Sigmoid, bce behind a Softmax.
  static absl::StatusOr<Loss> ForModel(const LossOptions& options, const Graph& graph);

  // Output of any floating-point type; shapes as AlignTargets, whose errors these are.
  // InvalidArgument too for a class outside 0..classes-1 that is not ignore_index, targets of bce
  // outside 0..1, numbers that are not finite, other class weights than classes.
  // Smoothing: Szegedy et al. 2016, (1 - s) on the label plus s / classes on every class; bce:
  // towards one half. Huber 1964, as torch.nn.HuberLoss.
  absl::StatusOr<LossResult> operator()(const at::Tensor& output, const at::Tensor& targets) const;

  // Whether the weights of two batches of equal size may differ: ranks must then exchange them.
  bool weight_varies() const;
  // The weight that operator() will give for them. Targets that it will refuse weigh 0.
  double Weight(const at::Tensor& targets) const;

  // Output and targets as rows, without those that do not count; for metrics.
  absl::StatusOr<TargetRows> RowsThatCount(const at::Tensor& output,
                                           const at::Tensor& targets) const;
  // Scores whose soft or sigmoid they are, of what the model gives.
  at::Tensor Logits(const at::Tensor& output) const;

  TargetKind target_kind() const { return kind_; }
  const LossOptions& options() const { return options_; }
  // Of the evaluation, the first decides; never empty.
  const std::vector<std::string>& metrics() const { return options_.metrics; }
  // What people should know: that the model ends in Softmax, say. May be empty.
  const std::string& note() const { return note_; }

 private:
  absl::Status CheckClasses(const TargetRows& rows, const at::Tensor& counts) const;
  absl::StatusOr<LossResult> OfClasses(const TargetRows& rows) const;
  absl::StatusOr<LossResult> OfLabels(const TargetRows& rows) const;
  absl::StatusOr<LossResult> OfValues(const TargetRows& rows) const;
  bool ignores() const { return options_.ignore_index.has_value(); }
  // Which targets count: bool, of their shape.
  at::Tensor Counts(const at::Tensor& targets) const;

  LossOptions options_;
  TargetKind kind_ = TargetKind::kClass;
  OutputKind output_ = OutputKind::kLogits;
  std::string note_;
};

}  // namespace ds
