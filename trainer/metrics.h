// What evaluations measure beside the loss, over any number of batches and ranks, exactly: counts
// and sums are added, scores that an area under a curve needs are gathered.
//
// accuracy  share of rows whose highest class is the label; bce: of elements on the right side of
//           one half
// top5      share of rows whose label is among the five highest (ties count against it)
// f1        of each class (label) 2 tp / (2 tp + fp + fn), the mean of them
// mean_iou  of each class (label) tp / (tp + fp + fn), the mean of them (over all samples' pixels)
// auc       area under the ROC curve, ties counted half (Fawcett 2006); the mean over labels; of
//           several classes each against the others by its share (two: of the second)
// perplexity  the exponential of the mean of -log p, p what the model gives the label, without the
//           loss' smoothing and class weights (shares of classes: of their cross-entropy)
// mae, rmse mean error, root of the mean square error
// Means leave out classes that neither labels nor predictions have, auc those without a positive
// or without a negative.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/communicator.h"
#include "trainer/optim/loss.h"

namespace ds {

struct MetricValue {
  std::string name;
  double value = 0;  // NaN where it is not defined: auc of labels that are all alike

  bool operator==(const MetricValue&) const = default;
};

class MetricSums {
 public:
  // Of the loss' metrics and kind of targets.
  explicit MetricSums(const Loss& loss)
      : names_(loss.metrics()), kind_(loss.target_kind()), ignored_(loss.options().ignore_index) {}
  MetricSums() = default;

  // Rows as Loss::RowsThatCount gives them; single elements of bce that do not count are left out
  // here. ResourceExhausted beyond 2^26 scores for auc.
  absl::Status Add(const TargetRows& rows);
  // Those of more batches of the same loss.
  void Add(const MetricSums& more);
  // Without auc, which keeps every score: what is summed while training.
  void LeaveOutScores() { std::erase(names_, "auc"); }
  // Whether hits are all that is wanted, and they are known already.
  bool CountsHitsOnly() const { return names_ == std::vector<std::string>{"accuracy"}; }
  void AddHits(int64_t hits, int64_t count);
  // All ranks' sums, on every rank, added in the order of ranks. Collective.
  absl::Status AddRanks(Communicator& communicator);
  // In the order of the loss' metrics; NaN where nothing was added.
  std::vector<MetricValue> Values() const;

 private:
  bool Wants(const char* name) const;
  // Which elements of bce count: bool, of the targets' shape.
  at::Tensor Counts(const at::Tensor& targets) const;
  void AddClasses(const TargetRows& rows);
  void AddLabels(const TargetRows& rows);
  absl::Status AddScores(const at::Tensor& scores, const at::Tensor& positive,
                         const at::Tensor& counts);
  double ValueOf(const std::string& name) const;
  double MeanOfClasses(double tp_factor) const;
  double MeanArea() const;
  std::string Encode() const;
  absl::Status AddEncoded(absl::string_view bytes);

  // Scores of one label, by what they should have been.
  struct Scores {
    std::vector<float> positive, negative;
  };

  void AddTo(const std::string& name, absl::Span<const double> values);
  void AddTo(const std::string& name, const at::Tensor& values);
  void AddTo(size_t label, const Scores& scores);

  std::vector<std::string> names_;
  TargetKind kind_ = TargetKind::kClass;
  std::optional<int64_t> ignored_;
  std::map<std::string, std::vector<double>> sums_;
  std::vector<Scores> scores_;
};

}  // namespace ds
