#include "federated/jobs/evaluation.h"

#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file_system.h"
#include "base/status.h"

namespace ds::federated {

Evaluation::Evaluation(EvaluationOptions options, EvaluatorOptions evaluator)
    : options_(std::move(options)), evaluator_(std::move(evaluator)), worker_([this] { Work(); }) {}

Evaluation::~Evaluation() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  worker_.join();
}

absl::StatusOr<std::string> Evaluation::WriteOffer(const std::string& model_file) {
  MutexLock lock(evaluator_mutex_);
  return evaluator_.WriteOffer(model_file);
}

absl::StatusOr<InitialModel> Evaluation::Open(const std::string& offer_file,
                                              const std::string& model_file) {
  MutexLock lock(evaluator_mutex_);
  DS_ASSIGN_OR_RETURN(FlatModel model, evaluator_.Open(offer_file, model_file));
  return InitialModel{std::move(model.layout), std::move(model.weights)};
}

void Evaluation::Keep(int64_t version, const GlobalModel& model) {
  Job job = {version, absl::StrCat(options_.folder, "/version-", version, ".safetensors")};
  const absl::Status written = WriteFlatModel(job.weights, model.layout(), model.weights());
  if (!written.ok()) return options_.failed(written);
  std::vector<std::string> unused;
  {
    MutexLock lock(mutex_);
    // The one before, unless it is being tested now: then its tester removes it.
    const bool waits = next_.has_value(), done = tested_.has_value() && last_.has_value() &&
                                                 tested_->version == last_->version;
    if (last_.has_value() && (waits || done)) unused.push_back(last_->weights);
    next_ = last_ = std::move(job);
    changed_.NotifyAll();
  }
  for (const std::string& file : unused) (void)FileSystem::Default().RemoveFile(file);
}

void Evaluation::Published(const RoundReport& report, const GlobalModel& model) {
  if (options_.every_version) Keep(report.version, model);
}

void Evaluation::Ended(const RunReport& report, const GlobalModel* model) {
  if (model == nullptr) return;
  {
    MutexLock lock(mutex_);
    if (last_.has_value() && last_->version == report.version) return;
  }
  Keep(report.version, *model);
}

absl::StatusOr<std::pair<double, double>> Evaluation::Test(const Job& job) {
  MutexLock lock(evaluator_mutex_);
  if (!evaluator_.has_data()) {
    return std::pair<double, double>{RunSummary::kNone, RunSummary::kNone};
  }
  DS_ASSIGN_OR_RETURN(const SiteMetrics metrics, evaluator_.Evaluate(job.version, job.weights));
  return std::pair<double, double>{
      static_cast<double>(metrics.correct) / static_cast<double>(metrics.evaluated),
      metrics.evaluation_loss};
}

void Evaluation::Work() {
  for (;;) {
    Job job;
    {
      MutexLock lock(mutex_);
      while (!next_.has_value() && !stopping_) changed_.Wait(mutex_);
      if (stopping_) return;
      job = *std::exchange(next_, std::nullopt);
    }
    const absl::StatusOr<std::pair<double, double>> result = Test(job);
    // Said before it counts as tested: whoever waits for the last one has heard of it.
    if (!result.ok()) {
      options_.failed(result.status());
    } else if (!std::isnan(result->first)) {
      options_.evaluated(job.version, result->first, result->second);
    }
    MutexLock lock(mutex_);
    tested_ = Last{job.version, RunSummary::kNone, RunSummary::kNone, {}};
    if (result.ok()) std::tie(tested_->accuracy, tested_->loss) = *result;
    if (last_->version != job.version) (void)FileSystem::Default().RemoveFile(job.weights);
    changed_.NotifyAll();
  }
}

absl::StatusOr<std::optional<Evaluation::Last>> Evaluation::Finish(const std::string& folder) {
  Last last;
  std::string weights;
  {
    MutexLock lock(mutex_);
    if (!last_.has_value()) return std::optional<Last>();
    while (!tested_.has_value() || tested_->version != last_->version) changed_.Wait(mutex_);
    last = *tested_;
    weights = last_->weights;
  }
  MutexLock lock(evaluator_mutex_);
  DS_ASSIGN_OR_RETURN(last.exports, evaluator_.WriteModels(weights, folder));
  return std::optional<Last>(std::move(last));
}

}  // namespace ds::federated
