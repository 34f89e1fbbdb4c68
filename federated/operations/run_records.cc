#include "federated/operations/run_records.h"

#include <cmath>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/log.h"
#include "base/status.h"
#include "report/exports.h"
#include "report/json.h"

namespace ds::federated {
namespace {

constexpr const char* kColumns[] = {
    "round",        "version",         "published",  "seconds",       "sites",  "missing",
    "update_bytes", "published_bytes", "train_loss", "site_accuracy", "epsilon"};

std::string Cell(double value) { return std::isnan(value) ? "" : absl::StrCat(value); }

bool Read(absl::string_view cell, double* value) {
  if (!cell.empty()) return absl::SimpleAtod(cell, value);
  *value = RoundRow::kNone;
  return true;
}

const char* EndName(EndState end) {
  switch (end) {
    case EndState::kRunning:
      return "running";
    case EndState::kFinished:
      return "finished";
    case EndState::kFailed:
      return "failed";
    case EndState::kStopped:
      return "stopped";
    case EndState::kBudgetSpent:
      return "budget_spent";
  }
  return "";
}

// The mean of what published rounds say, a float of the model; 0 before the first.
double BytesPerParameter(const std::vector<RoundRow>& rounds, int64_t RoundRow::*bytes,
                         int64_t parameters) {
  double sum = 0, published = 0;
  for (const RoundRow& row : rounds) {
    if (!row.published) continue;
    sum += static_cast<double>(row.*bytes);
    ++published;
  }
  return published == 0 || parameters == 0 ? 0 : sum / published / static_cast<double>(parameters);
}

std::vector<RoundRow> EarlierRows(const std::string& path) {
  std::vector<RoundRow> rows;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return rows;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (const std::unique_ptr<RoundRow> row = ParseRound(line)) rows.push_back(*row);
  }
  return rows;
}

}  // namespace

std::string RoundHeading() { return absl::StrJoin(kColumns, ","); }

std::string FormatRound(const RoundRow& row) {
  return absl::StrCat(
      absl::StrCat(row.round, ",", row.version, ",", row.published ? 1 : 0, ",", row.seconds, ","),
      absl::StrCat(row.sites, ",", row.missing, ",", row.update_bytes, ",", row.published_bytes,
                   ","),
      absl::StrCat(Cell(row.train_loss), ",", Cell(row.site_accuracy), ",", Cell(row.epsilon)));
}

std::unique_ptr<RoundRow> ParseRound(absl::string_view line) {
  const std::vector<absl::string_view> cells = absl::StrSplit(line, ',');
  auto row = std::make_unique<RoundRow>();
  if (cells.size() != std::size(kColumns)) return nullptr;
  int64_t published = 0;
  const bool whole =
      absl::SimpleAtoi(cells[0], &row->round) && absl::SimpleAtoi(cells[1], &row->version) &&
      absl::SimpleAtoi(cells[2], &published) && absl::SimpleAtod(cells[3], &row->seconds) &&
      absl::SimpleAtoi(cells[4], &row->sites) && absl::SimpleAtoi(cells[5], &row->missing) &&
      absl::SimpleAtoi(cells[6], &row->update_bytes) &&
      absl::SimpleAtoi(cells[7], &row->published_bytes) && Read(cells[8], &row->train_loss) &&
      Read(cells[9], &row->site_accuracy) && Read(cells[10], &row->epsilon);
  row->published = published != 0;
  return whole ? std::move(row) : nullptr;
}

RoundRow RowOf(const RoundReport& report) {
  RoundRow row;
  row.round = report.round;
  row.version = report.version;
  row.published = report.published;
  row.seconds = report.seconds;
  row.sites = report.sites;
  row.missing = static_cast<int64_t>(report.missing.size());
  row.update_bytes = report.update_bytes;
  row.published_bytes = report.published_bytes;
  row.epsilon = report.epsilon;
  if (report.sites > 0) {
    row.train_loss = report.metrics.train_loss / static_cast<double>(report.sites);
  }
  if (report.metrics.evaluated > 0) {
    row.site_accuracy =
        static_cast<double>(report.metrics.correct) / static_cast<double>(report.metrics.evaluated);
  }
  return row;
}

absl::StatusOr<std::unique_ptr<RunRecords>> RunRecords::Open(const RunFolder& folder, bool resumed,
                                                             bool tensorboard) {
  const std::string path = folder.File("rounds.csv");
  std::vector<RoundRow> rows;
  if (resumed) rows = EarlierRows(path);
  // Written anew, so that a torn last row is gone.
  std::string text = RoundHeading() + "\n";
  for (const RoundRow& row : rows) absl::StrAppend(&text, FormatRound(row), "\n");
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, text));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                      FileSystem::Default().Open(path, FileSystem::OpenMode::kAppend));
  std::unique_ptr<RunRecords> records(new RunRecords(folder, std::move(file)));
  MutexLock lock(records->mutex_);
  records->rounds_ = std::move(rows);
  if (tensorboard) {
    const int64_t last = records->rounds_.empty() ? -1 : records->rounds_.back().round;
    DS_ASSIGN_OR_RETURN(records->events_, TensorBoardWriter::Open(folder.events(), last));
  }
  return records;
}

void RunRecords::Warn(const absl::Status& status) {
  if (status.ok() || warned_) return;
  warned_ = true;
  Log(LogLevel::kWarning,
      absl::StrCat("the run goes on, but its records are not whole: ", status.message()));
}

void RunRecords::Add(const char* tag, int64_t step, double value) {
  if (events_ != nullptr && !std::isnan(value)) Warn(events_->AddScalar(tag, step, value));
}

void RunRecords::RoundEnded(const RoundReport& report) {
  const RoundRow row = RowOf(report);
  MutexLock lock(mutex_);
  rounds_.push_back(row);
  Warn(file_->Append(FormatRound(row) + "\n"));
  Add("round/seconds", row.round, row.seconds);
  Add("round/sites", row.round, static_cast<double>(row.sites));
  Add("round/missing", row.round, static_cast<double>(row.missing));
  Add("loss/train", row.round, row.train_loss);
  Add("accuracy/sites", row.round, row.site_accuracy);
  if (row.epsilon > 0) Add("privacy/epsilon", row.round, row.epsilon);
}

void RunRecords::Evaluated(int64_t version, double accuracy, double loss) {
  MutexLock lock(mutex_);
  Add("accuracy/server", version, accuracy);
  Add("loss/server", version, loss);
}

std::vector<RoundRow> RunRecords::rounds() {
  MutexLock lock(mutex_);
  return rounds_;
}

absl::Status RunRecords::Finish(const RunReport& report, const RunFacts& facts) {
  MutexLock lock(mutex_);
  if (events_ != nullptr) DS_RETURN_IF_ERROR(events_->Sync());
  DS_RETURN_IF_ERROR(file_->Sync());
  return WriteFileAtomically(folder_.summary(),
                             SummaryText(report, facts, rounds_, PeakRssMib()) + "\n");
}

double PeakRssMib() {
  // Not getrusage's: that one remembers the program that started this one.
  std::ifstream status("/proc/self/status");  // of no size, so no file to map or to read whole
  for (std::string line; std::getline(status, line);) {
    absl::string_view rest = line;
    double kib = 0;
    if (absl::ConsumePrefix(&rest, "VmHWM:") && absl::ConsumeSuffix(&rest, " kB") &&
        absl::SimpleAtod(absl::StripAsciiWhitespace(rest), &kib)) {
      return kib / 1024;
    }
  }
  return RoundRow::kNone;
}

std::string SummaryText(const RunReport& report, const RunFacts& facts,
                        const std::vector<RoundRow>& rounds, double peak_rss_mib) {
  nlohmann::ordered_json seconds = nlohmann::ordered_json::array();
  int64_t abandoned = 0;
  for (const RoundRow& row : rounds) {
    if (row.published) {
      seconds.push_back(row.seconds);
    } else {
      ++abandoned;
    }
  }
  return JsonText({{"name", report.name},
                   {"run", report.run},
                   {"end", EndName(report.end)},
                   {"reason", report.reason},
                   {"model", facts.model},
                   {"parameters", facts.parameters},
                   {"sites", report.sites.size()},
                   {"strategy", facts.strategy},
                   {"secure", facts.secure != "off"},
                   {"secure_mode", facts.secure},
                   {"bits", facts.bits},
                   {"test_accuracy", facts.test_accuracy},
                   {"test_loss", facts.test_loss},
                   {"rounds", report.version},
                   {"rounds_abandoned", abandoned},
                   {"round_seconds", seconds},
                   {"upload_bytes_per_parameter",
                    BytesPerParameter(rounds, &RoundRow::update_bytes, facts.parameters)},
                   {"download_bytes_per_parameter",
                    BytesPerParameter(rounds, &RoundRow::published_bytes, facts.parameters)},
                   {"aggregator_peak_rss_mib", peak_rss_mib},
                   {"epsilon", report.epsilon},
                   {"model_digest", report.model_digest},
                   {"exports", ExportsJson(facts.exports)}});
}

}  // namespace ds::federated
