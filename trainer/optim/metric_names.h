// Losses and metrics by their names. Torch-free, and without a source: configurations know them
// too.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace ds {

// As `loss.name` may be.
inline std::vector<std::string> LossNames() {
  return {"cross_entropy", "nll", "bce", "mse", "l1", "huber"};
}
inline bool IsOfClasses(const std::string& loss) {
  return loss == "cross_entropy" || loss == "nll";
}
// As an element of `loss.metrics` may be; MetricsOf: those that go with a loss.
inline std::vector<std::string> MetricNames() {
  return {"accuracy", "top5", "f1", "auc", "mean_iou", "perplexity", "mae", "rmse"};
}
inline std::vector<std::string> MetricsOf(const std::string& loss) {
  if (loss == "bce") return {"accuracy", "f1", "auc", "mean_iou"};
  if (IsOfClasses(loss)) return {"accuracy", "top5", "f1", "auc", "mean_iou", "perplexity"};
  return {"mae", "rmse"};
}
inline bool GoesWith(const std::string& metric, const std::string& loss) {
  const std::vector<std::string> fit = MetricsOf(loss);
  return std::find(fit.begin(), fit.end(), metric) != fit.end();
}
// False for errors and for perplexity.
inline bool HigherIsBetter(const std::string& metric) {
  return metric != "mae" && metric != "rmse" && metric != "perplexity";
}

}  // namespace ds
