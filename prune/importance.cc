#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "prune/pruning.h"

namespace ds {
namespace {

using AxisOf = std::pair<ValueId, int>;
using Scores = std::vector<double>;

absl::Status CheckFinite(const Graph& graph, ValueId id, const Scores& scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i])) continue;
    return absl::InvalidArgumentError(absl::StrCat("importance: channel ", i, " of '",
                                                   graph.value(id).name,
                                                   "' is not finite; look at the model's weights"));
  }
  return absl::OkStatus();
}

// Of each slice along `axis`: the mean of |x|.
Scores MeanMagnitudes(const Tensor& tensor, int axis) {
  const auto values = tensor.span<float>();
  const auto extent = static_cast<size_t>(tensor.dim(axis));
  size_t inner = 1;
  for (int i = axis + 1; i < tensor.rank(); ++i) inner *= static_cast<size_t>(tensor.dim(i));
  Scores sums(extent, 0.0);
  for (size_t i = 0; i < values.size(); ++i) {
    sums[i / inner % extent] += std::abs(static_cast<double>(values[i]));
  }
  const double count = static_cast<double>(values.size()) / static_cast<double>(extent);
  for (double& sum : sums) sum /= count;
  return sums;
}

void DivideByMean(Scores& scores) {
  double mean = 0;
  for (const double score : scores) mean += score / static_cast<double>(scores.size());
  for (double& score : scores) score = mean > 0 ? score / mean : 0;
}

class Scorer {
 public:
  Scorer(const Graph& graph, std::string method, const ChannelImportance& given)
      : graph_(graph), method_(std::move(method)), given_(given) {}

  absl::StatusOr<Scores> Score(const ChannelGroup& group) {
    Scores scores;
    for (const CoupledChannel& channel : group.channels) {
      double sum = 0;
      int count = 0;
      for (const ChannelPlace& place : channel.places) {
        DS_ASSIGN_OR_RETURN(const Scores* slice, SlicesOf(place));
        if (slice == nullptr) continue;
        sum += (*slice)[static_cast<size_t>(place.index)];
        ++count;
      }
      if (count == 0) return Scores{};
      scores.push_back(method_ == "given" ? sum : sum / count);
    }
    return scores;
  }

 private:
  // Of all slices of the place's axis, or nullptr if the method does not look at it.
  absl::StatusOr<const Scores*> SlicesOf(const ChannelPlace& place) {
    if (place.role == PlaceRole::kOther) return nullptr;
    if (method_ == "l1" && place.role != PlaceRole::kFilter) return nullptr;
    if (method_ == "bn" && place.role != PlaceRole::kNormScale) return nullptr;
    const AxisOf axis(place.tensor, place.axis);
    const auto known = slices_.find(axis);
    if (known != slices_.end()) return &known->second;
    const Tensor& tensor = *graph_.Constant(place.tensor);
    Scores scores;
    if (method_ == "given") {
      const auto found = given_.find(graph_.value(place.tensor).name);
      if (found == given_.end()) return nullptr;
      scores = found->second;
      if (static_cast<int64_t>(scores.size()) != tensor.dim(place.axis)) {
        return absl::InvalidArgumentError(absl::StrCat("importance: '", found->first, "' has ",
                                                       tensor.dim(place.axis), " channels and ",
                                                       scores.size(), " numbers were given"));
      }
    } else {
      scores = MeanMagnitudes(tensor, place.axis);
    }
    DS_RETURN_IF_ERROR(CheckFinite(graph_, place.tensor, scores));
    if (method_ == "l1") DivideByMean(scores);
    return &slices_.emplace(axis, std::move(scores)).first->second;
  }

  const Graph& graph_;
  const std::string method_;
  const ChannelImportance& given_;
  std::map<AxisOf, Scores> slices_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<double>>> ScoreChannels(
    const Graph& graph, const std::vector<ChannelGroup>& groups, const std::string& method,
    const ChannelImportance& given) {
  if (method != "l1" && method != "bn" && method != "given") {
    return absl::InvalidArgumentError(
        absl::StrCat("importance is \"", method, "\"; it must be l1, bn or given"));
  }
  Scorer scorer(graph, method, given);
  std::vector<std::vector<double>> scores;
  for (const ChannelGroup& group : groups) {
    scores.emplace_back();
    if (!group.fixed_because.empty()) continue;
    DS_ASSIGN_OR_RETURN(scores.back(), scorer.Score(group));
  }
  return scores;
}

}  // namespace ds
