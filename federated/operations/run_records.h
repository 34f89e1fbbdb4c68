// What a run leaves for later: rounds.csv (a row a round), TensorBoard events, and at the end
// summary.json, in the run's folder.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/file/file_system.h"
#include "base/mutex.h"
#include "federated/aggregator/observer.h"
#include "report/run_folder.h"
#include "report/summary.h"
#include "report/tensorboard.h"

namespace ds::federated {

// A finished round, as rounds.csv has it. NaN cells stay empty.
struct RoundRow {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  int64_t round = 0;
  int64_t version = 0;
  bool published = false;
  double seconds = 0;
  int64_t sites = 0, missing = 0;  // counted; selected and not there at the end
  int64_t update_bytes = 0;        // one site's
  int64_t published_bytes = 0;
  double train_loss = kNone;     // mean over the sites that counted
  double site_accuracy = kNone;  // of the round's first model on the sites' own tests, 0..1
  double epsilon = 0;
};
std::string RoundHeading();
std::string FormatRound(const RoundRow& row);
// Null where it is not such a row (torn by a kill).
std::unique_ptr<RoundRow> ParseRound(absl::string_view line);
RoundRow RowOf(const RoundReport& report);

// What only the job knows of the run.
struct RunFacts {
  std::string model;       // its name or file
  int64_t parameters = 0;  // floats that travel
  std::string strategy, secure;
  int bits = 0;
  double test_accuracy = RoundRow::kNone;  // of the last version, on the server's data
  double test_loss = RoundRow::kNone;
  std::vector<QuantizedExport> exports;
};

// Errors of the disk do not stop a run: they are warned about once. Thread-safe.
class RunRecords final : public Observer {
 public:
  // `resumed`: earlier rows and events stay.
  static absl::StatusOr<std::unique_ptr<RunRecords>> Open(const RunFolder& folder, bool resumed,
                                                          bool tensorboard);

  void RoundEnded(const RoundReport& report) override;
  void Evaluated(int64_t version, double accuracy, double loss);
  std::vector<RoundRow> rounds();
  // Writes summary.json.
  absl::Status Finish(const RunReport& report, const RunFacts& facts);

 private:
  RunRecords(const RunFolder& folder, std::unique_ptr<WritableFile> file)
      : folder_(folder), file_(std::move(file)) {}
  void Warn(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Add(const char* tag, int64_t step, double value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RunFolder folder_;
  Mutex mutex_;
  std::unique_ptr<WritableFile> file_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<TensorBoardWriter> events_ ABSL_GUARDED_BY(mutex_);  // null: none
  std::vector<RoundRow> rounds_ ABSL_GUARDED_BY(mutex_);
  bool warned_ ABSL_GUARDED_BY(mutex_) = false;
};

// The most memory that this process had resident so far, MiB; NaN where the system does not say.
double PeakRssMib();
std::string SummaryText(const RunReport& report, const RunFacts& facts,
                        const std::vector<RoundRow>& rounds, double peak_rss_mib);

}  // namespace ds::federated
