#include "federated/operations/run_table.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "report/table.h"

namespace ds::federated {
namespace {

constexpr double kRedrawEvery_s = 0.1;

std::string Percent(double share) {
  return std::isnan(share) ? "-" : absl::StrFormat("%.2f %%", 100 * share);
}

// What a site does now, in a word or two.
std::string Doing(const SiteReport& site, const RunReport& report) {
  if (!site.present) return site.selected && !site.committed ? "away, was selected" : "away";
  if (report.stage == Stage::kEnded) return "done";
  if (site.committed) return "sent";
  if (site.selected) return report.stage == Stage::kCollect ? "training" : "waiting";
  return site.late ? "was late" : "waiting";
}

std::string Headline(const RunReport& report, double accuracy) {
  std::string line = absl::StrFormat("%s: %s, version %d of %d", report.name,
                                     StageName(report.stage), report.version, report.rounds);
  if (report.stage == Stage::kCollect) {
    absl::StrAppendFormat(&line, ", round %d: %d of %d updates, %.0f of %.0f s", report.round,
                          report.committed, report.goal, report.stage_seconds,
                          report.stage_deadline_s);
  }
  if (!std::isnan(accuracy)) absl::StrAppend(&line, ", accuracy ", Percent(accuracy));
  if (report.epsilon > 0) absl::StrAppendFormat(&line, ", epsilon %.3g", report.epsilon);
  return line;
}

// Names, at most so many.
std::string Names(const std::vector<std::string>& sites) {
  constexpr size_t kMost = 8;
  if (sites.size() <= kMost) return absl::StrJoin(sites, ", ");
  return absl::StrCat(absl::StrJoin(sites.begin(), sites.begin() + kMost, ", "), " and ",
                      sites.size() - kMost, " more");
}

}  // namespace

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string RenderRun(const RunReport& report, double accuracy, int width, int rows) {
  TextTable table({{"site", Align::kLeft, 24},
                   {"does", Align::kLeft},
                   {"counted", Align::kRight},
                   {"sent", Align::kRight},
                   {"got", Align::kRight},
                   {"refused", Align::kRight}});
  size_t shown = 0;
  for (const SiteReport& site : report.sites) {
    if (shown == static_cast<size_t>(std::max(rows, 0))) break;
    ++shown;
    table.AddRow({site.site, Doing(site, report), absl::StrCat(site.rounds_counted),
                  FormatBytes(site.upload_bytes), FormatBytes(site.download_bytes),
                  site.refused == 0 ? "" : absl::StrCat(site.refused)});
  }
  std::string text = absl::StrCat(Headline(report, accuracy), "\n", table.ToString());
  if (shown < report.sites.size()) {
    absl::StrAppend(&text, "and ", report.sites.size() - shown, " more sites\n");
  }
  std::string cut;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    absl::StrAppend(&cut, line.substr(0, static_cast<size_t>(std::max(width, 1))), "\n");
  }
  return cut;
}

std::string RenderRound(const RoundReport& report, double accuracy) {
  std::string line = absl::StrFormat("round %d: ", report.round);
  if (report.published) {
    absl::StrAppendFormat(&line, "version %d from %d updates in %.2f s, %s up, %s down a site",
                          report.version, report.sites, report.seconds,
                          FormatBytes(report.update_bytes), FormatBytes(report.published_bytes));
  } else {
    absl::StrAppendFormat(&line, "abandoned after %.2f s: %s", report.seconds, report.reason);
  }
  if (!report.missing.empty()) absl::StrAppend(&line, "; missing: ", Names(report.missing));
  if (report.metrics.evaluated > 0) {
    absl::StrAppend(&line, "; at the sites ",
                    Percent(static_cast<double>(report.metrics.correct) /
                            static_cast<double>(report.metrics.evaluated)));
  }
  if (!std::isnan(accuracy)) absl::StrAppend(&line, "; accuracy ", Percent(accuracy));
  if (report.epsilon > 0) absl::StrAppendFormat(&line, "; epsilon %.3g", report.epsilon);
  if (!report.warning.empty()) absl::StrAppend(&line, "\nwarning: ", report.warning);
  return line;
}

void RunTable::Changed(const RunReport& report) {
  MutexLock lock(mutex_);
  const bool other_stage = !known_ || report_.stage != report.stage;
  report_ = report;
  known_ = true;
  if (other_stage || SteadySeconds() - drawn_s_ > kRedrawEvery_s) Draw();
}

void RunTable::RoundEnded(const RoundReport& report) {
  MutexLock lock(mutex_);
  Print(RenderRound(report, std::numeric_limits<double>::quiet_NaN()));
}

void RunTable::Warned(absl::string_view text) {
  MutexLock lock(mutex_);
  Print(absl::StrCat("warning: ", text));
}

void RunTable::Evaluated(int64_t version, double accuracy) {
  MutexLock lock(mutex_);
  accuracy_ = accuracy;
  Print(absl::StrCat("version ", version, ": accuracy ", Percent(accuracy)));
}

void RunTable::Note(absl::string_view line) {
  MutexLock lock(mutex_);
  Print(line);
}

void RunTable::Close() {
  MutexLock lock(mutex_);
  lines_ = 0;
}

void RunTable::Print(absl::string_view line) {
  if (options_.out == nullptr) return;
  Erase();
  *options_.out << line << "\n";
  Draw();
  options_.out->flush();
}

void RunTable::Erase() {
  if (lines_ > 0) *options_.out << "\x1b[" << lines_ << "A\x1b[J";
  lines_ = 0;
}

void RunTable::Draw() {
  if (!options_.live || options_.out == nullptr || !known_) return;
  Erase();
  const std::string text = RenderRun(report_, accuracy_, options_.columns, options_.rows);
  *options_.out << text;
  options_.out->flush();
  lines_ = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  drawn_s_ = SteadySeconds();
}

}  // namespace ds::federated
