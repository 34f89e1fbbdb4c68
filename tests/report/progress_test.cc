#include "report/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "report/text_width.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ProgressState Sample() {
  ProgressState state;
  state.epoch = 2;
  state.epochs = 10;
  state.step = 50;
  state.steps_per_epoch = 100;
  state.loss = 0.4322;
  state.measured = 0.8765;
  state.learning_rate = 0.1;
  state.loss_scale = 65536;
  state.skipped_steps = 3;
  state.images_per_second = 1234.4;
  state.eta_s = 3725;
  return state;
}

TEST(FormatDuration, IsReadAsAClock) {
  EXPECT_EQ(FormatDuration(0), "0:00");
  EXPECT_EQ(FormatDuration(59.6), "1:00");
  EXPECT_EQ(FormatDuration(245), "4:05");
  EXPECT_EQ(FormatDuration(3725), "1:02:05");
  EXPECT_EQ(FormatDuration(-1), "?");
  EXPECT_EQ(FormatDuration(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(RenderProgressBar, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(RenderProgressBar(Sample(), 200),
            "epoch 2/10 [=============>..............]  50%  loss 0.4322  acc 87.65%  eta 1:02:05  "
            "1234 img/s  lr 0.1  scale 65536  skipped 3");
}

TEST(RenderProgressBar, FitsEveryWidth) {
  ProgressState late = Sample();
  late.step = 1000000;  // more than there are
  ProgressState none;
  none.steps_per_epoch = 0;
  for (int width = 0; width <= 220; ++width) {
    for (const ProgressState& state : {Sample(), late, none}) {
      EXPECT_LE(DisplayWidth(RenderProgressBar(state, width)), width);
    }
  }
}

TEST(RenderProgressBar, LeavesOutWhatMattersLeastFirst) {
  const std::string bar = RenderProgressBar(Sample(), 60);
  EXPECT_THAT(bar, HasSubstr("loss 0.4322"));
  EXPECT_THAT(bar, Not(HasSubstr("scale")));
}

TEST(RenderProgressLine, LeavesOutWhatThereIsNot) {
  ProgressState state = Sample();
  state.loss_scale = 0;
  state.skipped_steps = 0;
  state.measured = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(RenderProgressLine(state),
            "epoch 2/10  step 50/100  loss 0.4322  eta 1:02:05  1234 img/s  lr 0.1");
}

TEST(RenderProgressLine, NamesWhatIsMeasured) {
  ProgressState state = Sample();
  state.metric = "mae";
  state.measured = 12.5;
  EXPECT_THAT(RenderProgressLine(state), HasSubstr("  loss 0.4322  mae 12.5  eta"));
  state.metric = "mean_iou";
  state.measured = 0.125;
  EXPECT_THAT(RenderProgressLine(state), HasSubstr("  mean_iou 12.50%  eta"));
}

// Ten steps of 0.5 s and 100 images each, five an epoch.
class ProgressTest : public ::testing::Test {
 protected:
  ProgressOptions Options(bool bar) {
    ProgressOptions options;
    options.bar = bar;
    options.every_steps = 2;
    options.out = &out_;
    options.clock_s = [this] { return now_; };
    return options;
  }
  void Train(Progress& progress, int steps) {
    progress.Resume();
    for (int i = 1; i <= steps; ++i) {
      now_ += 0.5;
      ProgressState state;
      state.epochs = 2;
      state.epoch = (i - 1) / 5 + 1;
      state.step = (i - 1) % 5 + 1;
      state.steps_per_epoch = 5;
      progress.Step(state, 100);
    }
  }

  double now_ = 1000;
  std::ostringstream out_;
};

TEST_F(ProgressTest, PlainLinesHaveNoControlCharacters) {
  Progress progress(Options(false));
  Train(progress, 10);
  progress.Note("test accuracy 90%");
  progress.Close();
  const std::string text = out_.str();
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << int{c};
  // Steps 2, 4 and 5 of both epochs, and the note.
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);
  EXPECT_THAT(text, HasSubstr("epoch 1/2  step 2/5  eta 0:04  200 img/s"));
  EXPECT_THAT(text, HasSubstr("epoch 2/2  step 5/5  eta 0:00"));
}

TEST_F(ProgressTest, PausesDoNotCountInTheSpeed) {
  Progress progress(Options(false));
  Train(progress, 5);
  progress.Pause();
  now_ += 1000;
  Train(progress, 5);
  EXPECT_DOUBLE_EQ(progress.images_per_second(), 200);
}

TEST_F(ProgressTest, TheBarIsDrawnOverItselfAndNotesStandAboveIt) {
  Progress progress(Options(true));
  Train(progress, 3);
  const std::string before = out_.str();
  EXPECT_EQ(std::count(before.begin(), before.end(), '\n'), 0);
  EXPECT_EQ(std::count(before.begin(), before.end(), '\r'), 3);
  progress.Note("hello");
  const std::string note = out_.str().substr(before.size());
  EXPECT_THAT(note, ::testing::ContainsRegex("^\r *\rhello\nepoch 1/2 \\["));
  progress.Close();
  progress.Close();
  EXPECT_EQ(out_.str().back(), '\n');
  EXPECT_EQ(out_.str().find('\x1b'), std::string::npos);
}

TEST_F(ProgressTest, TheBarIsNotDrawnMoreOftenThanItsRefresh) {
  ProgressOptions options = Options(true);
  options.refresh_s = 1.2;
  Progress progress(options);
  Train(progress, 4);  // at 0.5 and 2.0 s
  const std::string text = out_.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 2);
}

TEST_F(ProgressTest, OtherRanksAreSilentButMeasure) {
  ProgressOptions options = Options(true);
  options.out = nullptr;
  Progress progress(options);
  Train(progress, 5);
  progress.Note("x");
  progress.Close();
  EXPECT_EQ(out_.str(), "");
  EXPECT_DOUBLE_EQ(progress.images_per_second(), 200);
}

}  // namespace
}  // namespace ds
