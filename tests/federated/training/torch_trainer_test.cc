// Rounds of real training: what a site gives back is a function of what it was given, and what
// sites learn together is a better model.
#include "federated/training/torch_trainer.h"

#include <cmath>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/training/small_run.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

// Of the parameters' part.
double Norm(const ModelLayout& layout, absl::Span<const float> values) {
  double sum = 0;
  size_t i = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (int64_t k = 0; k < slot.count; ++k, ++i)
      sum += slot.kind == SlotKind::kParameter ? values[i] * values[i] : 0;
  }
  return std::sqrt(sum);
}

RunOptions Rounds(int64_t rounds, const std::string& strategy = "fedavg") {
  RunOptions options;
  options.round.rounds = rounds;
  options.strategy.name = strategy;
  return options;
}

TEST(TorchTrainer, TheLayoutIsParametersThenStatistics) {
  SmallRun run(SmallTask(), Rounds(2), 1);
  const ModelLayout& layout = run.evaluator().model().layout;
  size_t parameters = 0;
  while (parameters < layout.slots.size() && layout.slots[parameters].kind == SlotKind::kParameter)
    ++parameters;
  ASSERT_GT(parameters, 0u);
  ASSERT_GT(layout.slots.size(), parameters);
  int64_t offset = 0;
  for (size_t i = 0; i < layout.slots.size(); ++i) {
    const ModelSlot& slot = layout.slots[i];
    if (i >= parameters) {
      // Running means begin at 0, variances at 1.
      EXPECT_NE(slot.kind, SlotKind::kParameter);
      const float first = run.weights()[static_cast<size_t>(offset)];
      EXPECT_EQ(first, slot.kind == SlotKind::kVariance ? 1 : 0) << slot.name;
    }
    offset += slot.count;
  }
}

TEST(TorchTrainer, TheSameWeightsAndRoundGiveTheSameBits) {
  FederatedTask task = SmallTask();
  task.train.data.loader.augment.crop_padding = 1;
  SmallRun run(task, Rounds(4), 2);
  const auto first = run.site(0).Train(1, run.weights(), {}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(run.site(0).Train(2, run.weights(), {}, {}).ok());
  const auto again = run.site(0).Train(1, run.weights(), {}, {});
  EXPECT_EQ(first->delta, again->delta);
  const auto restarted = MakeTorchTrainer(run.OptionsOf(0));
  ASSERT_TRUE(restarted->Open(run.offer(), run.model_file()).ok());
  EXPECT_EQ(first->delta, restarted->Train(1, run.weights(), {}, {})->delta);
  // The order of its samples is another one in another round, or for a site of another name.
  EXPECT_NE(first->delta, run.site(0).Train(3, run.weights(), {}, {})->delta);
  TorchTrainerOptions renamed = run.OptionsOf(0);
  renamed.site = "another";
  const auto other = MakeTorchTrainer(renamed);
  ASSERT_TRUE(other->Open(run.offer(), run.model_file()).ok());
  EXPECT_NE(first->delta, other->Train(1, run.weights(), {}, {})->delta);
}

TEST(TorchTrainer, SitesLearnTogether) {
  SmallRun run(SmallTask(), Rounds(6), 3);
  const double before = run.Accuracy(0);
  for (int64_t round = 0; round < 6; ++round) ASSERT_TRUE(run.Round(round));
  EXPECT_LT(before, 0.6);
  EXPECT_GT(run.Accuracy(6), 0.9);
}

TEST(TorchTrainer, SitesTestsAddUpToTheServers) {
  SmallRun run(SmallTask(), Rounds(2), 3);
  const auto server = run.evaluator().Evaluate(0, run.weights());
  ASSERT_TRUE(run.Round(0));
  int64_t samples = 0, evaluated = 0, correct = 0;
  for (const SiteMetrics& site : run.metrics()) {
    samples += site.samples;
    evaluated += site.evaluated;
    correct += site.correct;
  }
  EXPECT_EQ(samples, 320);
  EXPECT_EQ(evaluated, 64);
  EXPECT_EQ(correct, server->correct);
}

TEST(TorchTrainer, LocalStepsAreTheSameWhateverTheSitesSize) {
  FederatedTask task = SmallTask();
  task.local.steps = 1;
  const RunOptions options = Rounds(2);
  SmallRun one(task, options, 1);
  const auto step = one.site(0).Train(0, one.weights(), {}, {});
  ASSERT_TRUE(step.ok()) << step.status();
  task.local.steps = 41;  // 20 are a pass
  SmallRun many(task, options, 1);
  const auto steps = many.site(0).Train(0, many.weights(), {}, {});
  ASSERT_TRUE(steps.ok()) << steps.status();
  const ModelLayout& layout = many.evaluator().model().layout;
  EXPECT_GT(Norm(layout, steps->delta), 2 * Norm(layout, step->delta));
}

TEST(TorchTrainer, ASiteOfLessThanABatchTrains) {
  FederatedTask task = SmallTask();
  task.train.data.loader.batch_size = 200;
  SmallRun run(task, Rounds(1), 2);
  ASSERT_TRUE(run.Round(0));
  EXPECT_GT(run.metrics()[0].train_loss, 0);
}

TEST(TorchTrainer, FedProxStaysNearer) {
  const auto distance = [](const std::string& strategy, double mu) {
    RunOptions options = Rounds(2, strategy);
    options.strategy.proximal = mu;
    SmallRun run(SmallTask(), options, 1);
    return Norm(run.evaluator().model().layout, run.site(0).Train(0, run.weights(), {}, {})->delta);
  };
  const double free = distance("fedavg", 0);
  EXPECT_EQ(distance("fedprox", 0), free);
  EXPECT_LT(distance("fedprox", 1), free);
  EXPECT_LT(distance("fedprox", 10), 0.5 * free);
}

TEST(TorchTrainer, AStepOfScaffoldIsTheGradientsAndTheVariatesDifference) {
  FederatedTask task = SmallTask();
  task.local.steps = 1;
  SmallRun plain(task, Rounds(2), 1), controlled(task, Rounds(2, "scaffold"), 1);
  const ModelLayout& layout = plain.evaluator().model().layout;
  const auto size = static_cast<size_t>(layout.size());
  std::vector<float> control(size), own(size);
  for (size_t i = 0; i < size; ++i) {
    control[i] = 0.01f * static_cast<float>(i % 5);
    own[i] = 0.01f * static_cast<float>(i % 3);
  }
  const auto without = plain.site(0).Train(0, plain.weights(), {}, {});
  const auto with = controlled.site(0).Train(0, controlled.weights(), control, own);
  ASSERT_TRUE(with.ok()) << with.status();
  ASSERT_EQ(with->delta.size(), 2 * size);
  size_t i = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (int64_t k = 0; k < slot.count; ++k, ++i) {
      if (slot.kind != SlotKind::kParameter) {
        EXPECT_EQ(with->delta[size + i], 0);
        continue;
      }
      const float rate = 0.05f;
      ASSERT_NEAR(with->delta[i], without->delta[i] - rate * (control[i] - own[i]), 2e-6);
      // c_i+ - c_i = gradient - c_i, where what was gone is -rate (gradient + c - c_i).
      ASSERT_NEAR(with->delta[size + i], -without->delta[i] / rate - own[i], 4e-5);
    }
  }
}

TEST(TorchTrainer, ClippingShortensScaffoldsStepsAndNotItsVariates) {
  FederatedTask task = SmallTask();
  task.local.steps = 1;
  SmallRun free(task, Rounds(2, "scaffold"), 1);
  task.train.trainer.clip_norm = 0.01;
  SmallRun clipped(task, Rounds(2, "scaffold"), 1);
  const ModelLayout& layout = free.evaluator().model().layout;
  const auto size = static_cast<size_t>(layout.size());
  const std::vector<float> zero(size);
  const auto without = free.site(0).Train(0, free.weights(), zero, zero);
  const auto with = clipped.site(0).Train(0, clipped.weights(), zero, zero);
  ASSERT_TRUE(without.ok() && with.ok()) << without.status() << with.status();
  const auto half = [&](const TrainedUpdate& update, size_t from) {
    return absl::MakeConstSpan(update.delta).subspan(from, size);
  };
  EXPECT_LT(Norm(layout, half(*with, 0)), 0.1 * Norm(layout, half(*without, 0)));
  const double gradient = Norm(layout, half(*without, size));
  EXPECT_NEAR(Norm(layout, half(*with, size)), gradient, 1e-3 * gradient);
}

TEST(TorchTrainer, ScaffoldsVariatesBecomeTheMeanGradients) {
  SmallRun run(SmallTask(), Rounds(4, "scaffold"), 2);
  const double before = run.Accuracy(0);
  for (int64_t round = 0; round < 4; ++round) ASSERT_TRUE(run.Round(round));
  EXPECT_GT(run.Accuracy(4), before + 0.2);
}

// Abandoned rounds have numbers too, and fedbuff's are each site's own count.
TEST(TorchTrainer, ARoundBeyondTheRunsNumberStillLearns) {
  FederatedTask task = SmallTask();
  task.train.schedule.name = "cosine";
  for (const std::string strategy : {"fedavg", "scaffold"}) {
    SmallRun run(task, Rounds(2, strategy), 1);
    const std::vector<float> zero(strategy == "scaffold" ? run.weights().size() : 0);
    for (const int64_t round : {2, 3, 7}) {
      const auto update = run.site(0).Train(round, run.weights(), zero, zero);
      ASSERT_TRUE(update.ok()) << update.status();
      for (const float value : update->delta) ASSERT_TRUE(std::isfinite(value)) << strategy;
      const auto weights = absl::MakeConstSpan(update->delta).first(run.weights().size());
      EXPECT_GT(Norm(run.evaluator().model().layout, weights), 0) << strategy << " " << round;
    }
  }
}

TEST(TorchTrainer, ARoundThatIsNotWantedEndsSoon) {
  FederatedTask task = SmallTask();
  task.local.epochs = 10000;  // minutes
  SmallRun run(task, Rounds(2), 1);
  std::thread interrupter([&] {
    absl::SleepFor(absl::Milliseconds(300));
    run.site(0).Interrupt();
  });
  const auto update = run.site(0).Train(0, run.weights(), {}, {});
  interrupter.join();
  EXPECT_EQ(update.status().code(), absl::StatusCode::kCancelled) << update.status();
}

TEST(TorchTrainer, ErrorsSayWhatToDo) {
  SmallRun run(SmallTask(), Rounds(2), 1);
  const auto train = run.site(0).Train(0, std::vector<float>(3), {}, {});
  EXPECT_THAT(std::string(train.status().message()), HasSubstr("3 weights"));

  FederatedTask wild = SmallTask();
  wild.train.optimizer.learning_rate = 1e30;
  SmallRun diverging(wild, Rounds(2), 1);
  const auto lost = diverging.site(0).Train(0, diverging.weights(), {}, {});
  EXPECT_THAT(std::string(lost.status().message()), HasSubstr("learning_rate"));

  RunOffer offer = run.offer();
  offer.options.strategy.name = "scaffold";
  FederatedTask adam = SmallTask();
  adam.train.optimizer.name = "adamw";
  adam.train.data.loader.mean = adam.train.data.loader.stddev = {0.5};
  offer.task = OfferedTask(adam);
  const auto trainer = MakeTorchTrainer(run.OptionsOf(0));
  EXPECT_THAT(std::string(trainer->Open(offer, run.model_file()).status().message()),
              HasSubstr("set it to sgd"));

  FederatedTask bare = SmallTask();
  offer = run.offer();
  offer.task = OfferedTask(bare);
  EXPECT_THAT(std::string(trainer->Open(offer, run.model_file()).status().message()),
              HasSubstr("normalise alike"));

  TorchTrainerOptions richer = run.OptionsOf(0);
  richer.config.data.set.classes = 9;
  EXPECT_THAT(
      std::string(MakeTorchTrainer(richer)->Open(run.offer(), run.model_file()).status().message()),
      HasSubstr("9"));
}

}  // namespace
}  // namespace ds::federated
