#include "trainer/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostScores = size_t{1} << 26;  // 256 MiB a rank
constexpr int64_t kTop = 5;

// How often each of 0..classes-1 occurs.
at::Tensor CountEach(const at::Tensor& of, int64_t classes) {
  return at::bincount(of.reshape({-1}), {}, classes).to(at::kDouble);
}

// Pairs of a positive and a negative that the scores put right, out of all; ties are one half.
double Area(std::vector<float> positive, std::vector<float> negative) {
  std::sort(positive.begin(), positive.end());
  std::sort(negative.begin(), negative.end());
  double right = 0;
  size_t below = 0, up_to = 0;
  for (const float score : positive) {
    while (below < negative.size() && negative[below] < score) ++below;
    up_to = std::max(up_to, below);
    while (up_to < negative.size() && negative[up_to] <= score) ++up_to;
    right += static_cast<double>(below) + 0.5 * static_cast<double>(up_to - below);
  }
  return right / (static_cast<double>(positive.size()) * static_cast<double>(negative.size()));
}

template <typename T>
void Put(std::string& out, const std::vector<T>& values) {
  const uint64_t count = values.size();
  out.append(reinterpret_cast<const char*>(&count), sizeof(count));
  out.append(reinterpret_cast<const char*>(values.data()), count * sizeof(T));
}

// False where the bytes end early.
template <typename T>
bool Take(absl::string_view& in, std::vector<T>& values) {
  uint64_t count = 0;
  if (in.size() < sizeof(count)) return false;
  std::copy_n(in.data(), sizeof(count), reinterpret_cast<char*>(&count));
  in.remove_prefix(sizeof(count));
  if (count > in.size() / sizeof(T)) return false;
  values.resize(count);
  std::copy_n(in.data(), count * sizeof(T), reinterpret_cast<char*>(values.data()));
  in.remove_prefix(count * sizeof(T));
  return true;
}

constexpr const char* kSums[] = {"hits", "count",    "top5",    "tp",      "selected",
                                 "real", "absolute", "squares", "surprise"};

}  // namespace

bool MetricSums::Wants(const char* name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

void MetricSums::AddTo(const std::string& name, absl::Span<const double> values) {
  std::vector<double>& sum = sums_[name];
  if (sum.size() < values.size()) sum.resize(values.size(), 0.0);
  for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

void MetricSums::AddTo(const std::string& name, const at::Tensor& values) {
  const at::Tensor flat = values.detach().to(at::kCPU, at::kDouble).reshape({-1}).contiguous();
  AddTo(name, {flat.const_data_ptr<double>(), static_cast<size_t>(flat.numel())});
}

void MetricSums::AddTo(size_t label, const Scores& scores) {
  if (scores_.size() <= label) scores_.resize(label + 1);
  const auto append = [](const std::vector<float>& from, std::vector<float>& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(scores.positive, scores_[label].positive);
  append(scores.negative, scores_[label].negative);
}

absl::Status MetricSums::AddScores(const at::Tensor& scores, const at::Tensor& positive,
                                   const at::Tensor& counts) {
  const at::Tensor columns = scores.detach().to(at::kCPU, at::kFloat).t().contiguous(),
                   is_positive = positive.to(at::kCPU).t().contiguous(),
                   counted = counts.to(at::kCPU).t().contiguous();
  const auto labels = static_cast<size_t>(columns.size(0));
  const int64_t rows = columns.size(1);
  if (scores_.size() < labels) scores_.resize(labels);
  size_t held = 0;
  for (const Scores& one : scores_) held += one.positive.size() + one.negative.size();
  if (held + static_cast<size_t>(columns.numel()) > kMostScores) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the metric auc keeps every score, and there are more than ", kMostScores,
                     "; choose others with loss.metrics, mean_iou for pixels"));
  }
  for (size_t label = 0; label < labels; ++label) {
    const float* const score = columns.const_data_ptr<float>() + label * static_cast<size_t>(rows);
    const bool* const yes = is_positive.const_data_ptr<bool>() + label * static_cast<size_t>(rows);
    const bool* const used = counted.const_data_ptr<bool>() + label * static_cast<size_t>(rows);
    for (int64_t i = 0; i < rows; ++i) {
      if (used[i]) (yes[i] ? scores_[label].positive : scores_[label].negative).push_back(score[i]);
    }
  }
  return absl::OkStatus();
}

void MetricSums::AddClasses(const TargetRows& rows) {
  const at::Tensor labels =
      rows.targets.is_floating_point() ? rows.targets.argmax(1) : rows.targets;
  const int64_t classes = rows.scores.size(1);
  const at::Tensor best = rows.scores.argmax(1);
  const at::Tensor hit = best.eq(labels);
  AddTo("hits", hit.sum());
  AddTo("count", at::scalar_tensor(labels.numel(), at::kDouble));
  if (Wants("top5")) {
    const at::Tensor own = rows.scores.gather(1, labels.unsqueeze(1));
    AddTo("top5", rows.scores.ge(own).sum(1).le(kTop).sum());
  }
  if (Wants("perplexity")) {
    const at::Tensor logs = rows.scores.log_softmax(1);
    const at::Tensor own = rows.targets.is_floating_point() ? rows.targets.mul(logs).sum(1)
                                                            : logs.gather(1, labels.unsqueeze(1));
    AddTo("surprise", own.to(at::kDouble).sum().neg());
  }
  if (!Wants("f1") && !Wants("mean_iou")) return;
  AddTo("tp", CountEach(labels.masked_select(hit), classes));
  AddTo("selected", CountEach(best, classes));
  AddTo("real", CountEach(labels, classes));
}

at::Tensor MetricSums::Counts(const at::Tensor& targets) const {
  if (ignored_.has_value()) return targets.ne(*ignored_);
  return at::ones_like(targets, at::TensorOptions().dtype(at::kBool));
}

void MetricSums::AddLabels(const TargetRows& rows) {
  const at::Tensor counts = Counts(rows.targets);
  const at::Tensor yes = rows.targets.gt(0.5).logical_and(counts),
                   said = rows.scores.gt(0).logical_and(counts);
  AddTo("hits", yes.eq(said).logical_and(counts).sum());
  AddTo("count", counts.sum());
  AddTo("tp", yes.logical_and(said).sum(0));
  AddTo("selected", said.sum(0));
  AddTo("real", yes.sum(0));
}

absl::Status MetricSums::Add(const TargetRows& rows) {
  if (rows.scores.size(0) == 0) return absl::OkStatus();
  try {
    switch (kind_) {
      case TargetKind::kValues: {
        const at::Tensor error = (rows.scores - rows.targets).to(at::kDouble);
        AddTo("absolute", error.abs().sum());
        AddTo("squares", error.square().sum());
        AddTo("count", at::scalar_tensor(error.numel(), at::kDouble));
        return absl::OkStatus();
      }
      case TargetKind::kLabels: {
        AddLabels(rows);
        if (!Wants("auc")) return absl::OkStatus();
        return AddScores(rows.scores, rows.targets.gt(0.5), Counts(rows.targets));
      }
      case TargetKind::kClass: {
        AddClasses(rows);
        if (!Wants("auc")) return absl::OkStatus();
        const at::Tensor labels =
            rows.targets.is_floating_point() ? rows.targets.argmax(1) : rows.targets;
        const int64_t classes = rows.scores.size(1);
        at::Tensor shares = rows.scores.softmax(1),
                   positive = at::one_hot(labels, classes).to(at::kBool);
        if (classes == 2) {
          // By the difference: shares near 0 and 1 are equal in fp32 long before it is.
          shares = rows.scores.select(1, 1).sub(rows.scores.select(1, 0)).unsqueeze(1);
          positive = positive.narrow(1, 1, 1);
        }
        return AddScores(shares, positive, at::ones_like(positive));
      }
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("metrics: ", error.what_without_backtrace()));
  }
  return absl::OkStatus();
}

std::string MetricSums::Encode() const {
  std::string bytes;
  for (const char* const name : kSums) {
    const auto found = sums_.find(name);
    Put(bytes, found == sums_.end() ? std::vector<double>() : found->second);
  }
  for (const Scores& one : scores_) {
    Put(bytes, one.positive);
    Put(bytes, one.negative);
  }
  return bytes;
}

absl::Status MetricSums::AddEncoded(absl::string_view bytes) {
  const auto torn = [] { return absl::DataLossError("a rank's sums of its metrics are torn"); };
  for (const char* const name : kSums) {
    std::vector<double> values;
    if (!Take(bytes, values)) return torn();
    AddTo(name, values);
  }
  for (size_t label = 0; !bytes.empty(); ++label) {
    Scores more;
    if (!Take(bytes, more.positive) || !Take(bytes, more.negative)) return torn();
    AddTo(label, more);
  }
  return absl::OkStatus();
}

void MetricSums::AddHits(int64_t hits, int64_t count) {
  AddTo("hits", std::vector<double>{static_cast<double>(hits)});
  AddTo("count", std::vector<double>{static_cast<double>(count)});
}

void MetricSums::Add(const MetricSums& more) {
  for (const auto& [name, values] : more.sums_) AddTo(name, values);
  for (size_t label = 0; label < more.scores_.size(); ++label) {
    AddTo(label, more.scores_[label]);
  }
}

absl::Status MetricSums::AddRanks(Communicator& communicator) {
  if (communicator.size() == 1) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> all, AllGatherBytes(Encode(), communicator));
  sums_.clear();
  scores_.clear();
  for (const std::string& bytes : all) DS_RETURN_IF_ERROR(AddEncoded(bytes));
  return absl::OkStatus();
}

// 2 tp / (2 tp + fp + fn) for 2, tp / (tp + fp + fn) for 1.
double MetricSums::MeanOfClasses(double tp_factor) const {
  const auto tp = sums_.find("tp");
  if (tp == sums_.end()) return kUndefined;
  const std::vector<double>&selected = sums_.at("selected"), &real = sums_.at("real");
  double sum = 0;
  int64_t classes = 0;
  for (size_t i = 0; i < real.size(); ++i) {
    const double hits = i < tp->second.size() ? tp->second[i] : 0;
    const double wrong = selected[i] + real[i] - 2 * hits;
    if (hits + wrong == 0) continue;
    sum += tp_factor * hits / (tp_factor * hits + wrong);
    ++classes;
  }
  return classes == 0 ? kUndefined : sum / static_cast<double>(classes);
}

double MetricSums::MeanArea() const {
  double sum = 0;
  int64_t labels = 0;
  for (const Scores& one : scores_) {
    if (one.positive.empty() || one.negative.empty()) continue;
    sum += Area(one.positive, one.negative);
    ++labels;
  }
  return labels == 0 ? kUndefined : sum / static_cast<double>(labels);
}

double MetricSums::ValueOf(const std::string& name) const {
  const auto total = [&](const char* sum) {
    const auto found = sums_.find(sum);
    return found == sums_.end() || found->second.empty() ? 0.0 : found->second[0];
  };
  const double count = total("count");
  if (name == "f1") return MeanOfClasses(2);
  if (name == "mean_iou") return MeanOfClasses(1);
  if (name == "auc") return MeanArea();
  if (count == 0) return kUndefined;
  if (name == "top5") return total("top5") / count;
  if (name == "perplexity") return std::exp(total("surprise") / count);
  if (name == "mae") return total("absolute") / count;
  if (name == "rmse") return std::sqrt(total("squares") / count);
  return total("hits") / count;
}

std::vector<MetricValue> MetricSums::Values() const {
  std::vector<MetricValue> values;
  for (const std::string& name : names_) values.push_back({name, ValueOf(name)});
  return values;
}

}  // namespace ds
