// A run as people watch it: a table that is drawn over itself where somebody looks, a line a round
// where nobody does.
#pragma once

#include <cstdint>
#include <limits>
#include <ostream>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "federated/aggregator/observer.h"

namespace ds::federated {

// "412 B", "1.3 MiB".
std::string FormatBytes(int64_t bytes);
// The run in a line and each site in a row: what it does, what it sent, whether it is late. No line
// is longer than `width` columns; more sites than `rows` are counted in a last line.
// `accuracy` of the newest evaluated version, 0..1; NaN: none yet.
std::string RenderRun(const RunReport& report, double accuracy, int width, int rows);
// A finished round in one line.
std::string RenderRound(const RoundReport& report, double accuracy);

struct RunTableOptions {
  bool live = false;  // a person is looking (report/terminal.h)
  int columns = 80;   // of the terminal
  int rows = 24;      // sites at most
  std::ostream* out = nullptr;
};

// Thread-safe.
class RunTable final : public Observer {
 public:
  explicit RunTable(const RunTableOptions& options) : options_(options) {}
  ~RunTable() override { Close(); }

  void Changed(const RunReport& report) override;
  void RoundEnded(const RoundReport& report) override;
  void Warned(absl::string_view text) override;
  // Of a version, once it is known: a line of its own, and in the table from then on.
  void Evaluated(int64_t version, double accuracy);
  // A line above the table.
  void Note(absl::string_view line);
  // Leaves the last table standing.
  void Close();

 private:
  void Print(absl::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Draw() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RunTableOptions options_;
  Mutex mutex_;
  RunReport report_ ABSL_GUARDED_BY(mutex_);
  bool known_ ABSL_GUARDED_BY(mutex_) = false;
  double accuracy_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<double>::quiet_NaN();  // none yet
  int lines_ ABSL_GUARDED_BY(mutex_) = 0;  // of the table that stands on the terminal
  double drawn_s_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace ds::federated
