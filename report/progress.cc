#include "report/progress.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "report/summary.h"
#include "report/text_width.h"

namespace ds {
namespace {

constexpr double kSpeedWindow_s =
    5.0;  // long enough to be calm, short enough to follow the machine
constexpr int kShortestBar = 6;
constexpr int kLongestBar = 30;

double ShareOfEpoch(const ProgressState& state) {
  if (state.steps_per_epoch <= 0) return 0;
  return std::clamp(static_cast<double>(state.step) / static_cast<double>(state.steps_per_epoch),
                    0.0, 1.0);
}

std::string Bar(double share, int columns) {
  const int inside = columns - 2;
  const int full = static_cast<int>(share * inside);
  std::string bar(static_cast<size_t>(inside), '.');
  std::fill_n(bar.begin(), full, '=');
  if (full < inside && full > 0) bar[static_cast<size_t>(full) - 1] = '>';
  return absl::StrCat("[", bar, "]");
}

std::string Head(const ProgressState& state) {
  return absl::StrCat("epoch ", state.epoch, "/", state.epochs);
}

// What follows the bar, most important first.
std::vector<std::string> Details(const ProgressState& state) {
  std::vector<std::string> details;
  if (!std::isnan(state.loss)) details.push_back(absl::StrFormat("loss %.4f", state.loss));
  if (!std::isnan(state.measured)) {
    const std::string name = state.metric == "accuracy" ? "acc" : state.metric;
    details.push_back(absl::StrCat(name, " ", MetricText(state.metric, state.measured)));
  }
  details.push_back(absl::StrCat("eta ", FormatDuration(state.eta_s)));
  details.push_back(absl::StrFormat("%.0f img/s", state.images_per_second));
  details.push_back(absl::StrFormat("lr %.3g", state.learning_rate));
  if (state.loss_scale > 0) details.push_back(absl::StrFormat("scale %.6g", state.loss_scale));
  if (state.skipped_steps > 0) details.push_back(absl::StrCat("skipped ", state.skipped_steps));
  return details;
}

}  // namespace

std::string FormatDuration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const int64_t s = std::llround(seconds);
  if (s < 3600) return absl::StrFormat("%d:%02d", s / 60, s % 60);
  return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

std::string RenderProgressBar(const ProgressState& state, int width) {
  const double share = ShareOfEpoch(state);
  const std::string head = Head(state) + " ";
  const std::string percent = absl::StrFormat(" %3d%%", static_cast<int>(100 * share));
  std::string tail;
  const int fixed = DisplayWidth(head) + DisplayWidth(percent);
  for (const std::string& detail : Details(state)) {
    const std::string longer = absl::StrCat(tail, "  ", detail);
    if (fixed + kShortestBar + DisplayWidth(longer) > width) break;
    tail = longer;
  }
  const int columns = std::min(width - fixed - DisplayWidth(tail), kLongestBar);
  if (columns < kShortestBar) return ClipToWidth(head + percent, std::max(width, 0));
  return absl::StrCat(head, Bar(share, columns), percent, tail);
}

std::string RenderProgressLine(const ProgressState& state) {
  std::string line = absl::StrCat(Head(state), "  step ", state.step, "/", state.steps_per_epoch);
  for (const std::string& detail : Details(state)) absl::StrAppend(&line, "  ", detail);
  return line;
}

Progress::Progress(ProgressOptions options) : options_(std::move(options)) {
  if (!options_.clock_s) options_.clock_s = SteadySeconds;
}

Progress::~Progress() { Close(); }

void Progress::Resume() {
  if (running_) return;
  running_ = true;
  resumed_at_ = Now();
}

void Progress::Pause() {
  if (!running_) return;
  active_s_ += Now() - resumed_at_;
  running_ = false;
}

double Progress::images_per_second() const {
  if (window_.size() < 2) return 0;
  const double seconds = window_.back().first - window_.front().first;
  return seconds > 0 ? static_cast<double>(window_.back().second - window_.front().second) / seconds
                     : 0;
}

double Progress::Eta(const ProgressState& state) const {
  if (steps_ == 0 || active_s_ <= 0) return -1;
  const int64_t left =
      (state.epochs - state.epoch) * state.steps_per_epoch + (state.steps_per_epoch - state.step);
  return active_s_ / static_cast<double>(steps_) * static_cast<double>(std::max<int64_t>(left, 0));
}

void Progress::Step(ProgressState state, int64_t images) {
  if (!running_) Resume();
  // Folds the running interval into active_s_ and starts the next one.
  Pause();
  Resume();
  if (window_.empty()) window_.emplace_back(0.0, 0);
  ++steps_;
  images_ += images;
  window_.emplace_back(active_s_, images_);
  while (window_.size() > 2 && active_s_ - window_[1].first >= kSpeedWindow_s) window_.pop_front();
  if (options_.out == nullptr) return;

  state.images_per_second = images_per_second();
  state.eta_s = Eta(state);
  const bool last = state.step >= state.steps_per_epoch;
  if (!options_.bar) {
    if (last || state.step % std::max<int64_t>(options_.every_steps, 1) == 0) {
      *options_.out << RenderProgressLine(state) << "\n" << std::flush;
    }
    return;
  }
  const double now = Now();
  if (!last && now - drawn_at_ < options_.refresh_s) return;
  drawn_at_ = now;
  // The last column stays free: writing into it makes some terminals wrap.
  Draw(RenderProgressBar(state, options_.width - 1));
}

void Progress::Draw(const std::string& bar) {
  // Blanks over what is left of a longer predecessor; no escape sequence is needed.
  const int longer = DisplayWidth(last_bar_) - DisplayWidth(bar);
  *options_.out << "\r" << bar << std::string(static_cast<size_t>(std::max(longer, 0)), ' ')
                << std::flush;
  last_bar_ = bar;
}

void Progress::Erase() {
  if (last_bar_.empty()) return;
  *options_.out << "\r" << std::string(static_cast<size_t>(DisplayWidth(last_bar_)), ' ') << "\r";
}

void Progress::Note(absl::string_view line) {
  if (options_.out == nullptr) return;
  Erase();
  *options_.out << std::string(line) << "\n" << last_bar_ << std::flush;
}

void Progress::Close() {
  if (options_.out == nullptr || last_bar_.empty()) return;
  *options_.out << "\n" << std::flush;
  last_bar_.clear();
}

}  // namespace ds
