// Tests of published models beside the run: the newest version is tested, versions that came
// meanwhile are passed over, and the run never waits. Owns the aggregator's evaluator.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/aggregator/aggregator.h"
#include "federated/jobs/evaluator.h"

namespace ds::federated {

struct EvaluationOptions {
  bool every_version = true;  // false: only what Finish is asked for
  std::string folder;         // for files of weights; exists
  // Of a version on the server's data, from the worker's thread: accuracy 0..1, mean loss.
  std::function<void(int64_t version, double accuracy, double loss)> evaluated;
  std::function<void(const absl::Status&)> failed;  // a test; the run goes on
};

class Evaluation final : public Observer {
 public:
  Evaluation(EvaluationOptions options, EvaluatorOptions evaluator);
  // Drops what is not tested yet.
  ~Evaluation() override;

  absl::StatusOr<std::string> WriteOffer(const std::string& model_file);
  // Version 0 of the offer in `offer_file` (offer_files.h); needed before anything is tested, in
  // any run of the program.
  absl::StatusOr<InitialModel> Open(const std::string& offer_file, const std::string& model_file);

  // Observer: any thread.
  void Published(const RoundReport& report, const GlobalModel& model) override;
  void Ended(const RunReport& report, const GlobalModel* model) override;

  struct Last {
    int64_t version = 0;
    double accuracy, loss;  // NaN without data
    std::vector<QuantizedExport> exports;
  };
  // After Ended: tests the last version, if it was not yet, and writes its files into `folder`.
  // nullopt where no model was ever fixed.
  absl::StatusOr<std::optional<Last>> Finish(const std::string& folder);

 private:
  struct Job {
    int64_t version = 0;
    std::string weights;  // file
  };
  void Work();
  absl::StatusOr<std::pair<double, double>> Test(const Job& job);
  void Keep(int64_t version, const GlobalModel& model);

  const EvaluationOptions options_;
  Mutex evaluator_mutex_;  // before mutex_
  Evaluator evaluator_ ABSL_GUARDED_BY(evaluator_mutex_);
  Mutex mutex_;
  CondVar changed_;
  std::optional<Job> next_ ABSL_GUARDED_BY(mutex_);
  std::optional<Job> last_ ABSL_GUARDED_BY(mutex_);  // the newest version that there is
  std::optional<Last> tested_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread worker_;  // last
};

}  // namespace ds::federated
