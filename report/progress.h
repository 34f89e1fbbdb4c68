// What a person sees while a network trains: one bar that is drawn over itself where somebody
// looks, plain lines every few steps where nobody does (a file, a pipe: no escape codes, no
// carriage returns).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace ds {

// One moment of training.
struct ProgressState {
  int64_t epoch = 1;  // the one under way, counted from 1
  int64_t epochs = 1;
  int64_t step = 0;  // steps done in this epoch
  int64_t steps_per_epoch = 1;
  double loss = std::numeric_limits<double>::quiet_NaN();  // NaN: not shown
  std::string metric = "accuracy";                         // what the next number is
  double measured =
      std::numeric_limits<double>::quiet_NaN();  // as MetricText takes it; NaN: not shown
  double learning_rate = 0;
  double loss_scale = 0;         // fp16; 0: not shown
  int64_t skipped_steps = 0;     // of the run; shown if > 0
  double images_per_second = 0;  // all ranks; Progress fills it in
  double eta_s = -1;  // seconds to the end of the run; < 0: unknown; Progress fills it in
};

// "1:02:03", "4:05", "?" for < 0.
std::string FormatDuration(double seconds);
// One line of exactly or less than `width` columns; what matters least is left out first.
std::string RenderProgressBar(const ProgressState& state, int width);
// One full line without the bar.
std::string RenderProgressLine(const ProgressState& state);

struct ProgressOptions {
  bool bar = false;                 // a person is looking (see terminal.h)
  int width = 80;                   // columns of the terminal
  int64_t every_steps = 1;          // plain lines; the last step of an epoch has one always
  double refresh_s = 0.1;           // bar: shortest time between two drawings
  std::ostream* out = nullptr;      // null: silent (other ranks)
  std::function<double()> clock_s;  // seconds, monotonic; empty: the steady clock
};

// Not thread-safe: the training thread's.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // After each step; `images` is what all ranks together saw in it. Time between Pause and Resume
  // does not count in the speed.
  void Step(ProgressState state, int64_t images);
  // Around an evaluation or a checkpoint. The first call of Resume (or Step) starts the clock.
  void Pause();
  void Resume();
  // A line of its own, above the bar.
  void Note(absl::string_view line);
  // Leaves the last bar standing and goes to the next line.
  void Close();

  double images_per_second() const;

 private:
  double Now() const { return options_.clock_s(); }
  double Eta(const ProgressState& state) const;
  void Draw(const std::string& bar);
  void Erase();

  ProgressOptions options_;
  double active_s_ = 0;  // training time so far, without pauses
  double resumed_at_ = 0;
  bool running_ = false;
  int64_t steps_ = 0;  // seen by this object
  int64_t images_ = 0;
  std::deque<std::pair<double, int64_t>> window_;  // (active_s, images) of the last seconds
  double drawn_at_ = -1e9;
  std::string last_bar_;  // what stands on the terminal's last line
};

}  // namespace ds
