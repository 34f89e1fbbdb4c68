// What happens to the gradient synchroniser when something breaks, and when it goes.
#include <string>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/trainer/sync/sync_testing.h"
#include "trainer/sync/gradient_synchronizer.h"

namespace ds {
namespace {

using Sync = std::unique_ptr<GradientSynchronizer>;

absl::Status Step(GraphModule& module, GradientSynchronizer& sync) {
  const absl::Status begun = sync.Begin({});
  if (!begun.ok()) return begun;
  Backward(module, at::ones({2, kDeepWidth}));
  return sync.Finish().status();
}

TEST(SynchronizerFaults, AnErrorOfTheCommunicatorComesOutOfFinishAndStays) {
  for (int good : {0, 1, 9, 10}) {  // five buckets of two exchanges each, then the flag
    RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
      Watcher watcher;
      watcher.fail_after = good;
      const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
      const std::unique_ptr<Communicator> watched = Watch(std::move(communicator), watcher);
      const Sync sync = *GradientSynchronizer::Create(*module, *watched, {});
      for (int round = 0; round < 2; ++round) {
        const absl::Status status = Step(*module, *sync);
        EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
        EXPECT_NE(std::string(status.message()).find("the cable was cut"), std::string::npos)
            << status;
      }
    });
  }
}

// Rank 1 breaks after `good` all-reduces and leaves; the others must hear of it at once, not at the
// deadline.
TEST(SynchronizerFaults, ARankThatDiesInTheMiddleEndsTheStepOfTheOthers) {
  for (int world : {2, 3}) {
    for (int good : {0, 1, 3, 7}) {
      RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
        Watcher watcher;
        if (rank == 1) watcher.fail_after = good;
        const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
        const std::unique_ptr<Communicator> watched = Watch(std::move(communicator), watcher);
        Sync sync = *GradientSynchronizer::Create(*module, *watched, {});
        const absl::Time start = absl::Now();
        absl::Status status;
        for (int step = 0; step < 3 && status.ok(); ++step) status = Step(*module, *sync);
        EXPECT_EQ(status.code(),
                  rank == 1 ? absl::StatusCode::kDataLoss : absl::StatusCode::kUnavailable)
            << "rank " << rank << " of " << world << ": " << status;
        EXPECT_LT(absl::Now() - start, absl::Seconds(10)) << "the deadline is 20 s";
        sync.reset();  // rank 1's communicator goes with it
      });
    }
  }
}

// A rank whose forward pass failed takes its synchroniser down between Begin and Finish: nobody may
// wait for it, itself included.
TEST(SynchronizerFaults, MayGoInTheMiddleOfAStep) {
  for (bool half_a_backward : {false, true}) {
    RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
      Sync sync = *GradientSynchronizer::Create(*module, *communicator, {});
      const absl::Time start = absl::Now();
      if (rank == 0) {
        EXPECT_EQ(Step(*module, *sync).code(), absl::StatusCode::kUnavailable);
      } else {
        ASSERT_TRUE(sync->Begin({}).ok());
        if (half_a_backward) {
          // The first layer's gradient, the last to come, throws: five buckets less one are on
          // their way.
          const at::Tensor first =
              module->parameters()[static_cast<size_t>(module->forward_order().front())].tensor;
          first.register_hook([](const at::Tensor& gradient) -> at::Tensor {
            TORCH_CHECK(false, "out of memory");
          });
          absl::StatusOr<std::vector<at::Tensor>> outputs =
              module->Forward({at::ones({2, kDeepWidth})});
          ASSERT_TRUE(outputs.ok());
          EXPECT_THROW(outputs->front().sum().backward(), c10::Error);
        }
        sync.reset();
      }
      EXPECT_LT(absl::Now() - start, absl::Seconds(10)) << "the deadline is 20 s";
    });
  }
}

// Rank 1 cannot compute its gradients: it abandons the step before Begin or in the middle of
// backward. Nobody waits, all skip it, and the next one is as ever.
TEST(SynchronizerFaults, AStepThatOneRankAbandonsIsSkippedByAll) {
  for (int world : {1, 2, 3}) {
    for (bool begun : {false, true}) {
      RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
        const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
        const Sync sync = *GradientSynchronizer::Create(*module, *communicator, {});
        if (rank == world - 1) {
          if (begun) {
            ASSERT_TRUE(sync->Begin({}).ok());
          }
          const absl::StatusOr<SyncStats> stats = sync->Abandon({});
          ASSERT_TRUE(stats.ok()) << stats.status();
          EXPECT_TRUE(stats->found_inf);
        } else {
          ASSERT_TRUE(sync->Begin({}).ok());
          Backward(*module, at::ones({2, kDeepWidth}));
          const absl::StatusOr<SyncStats> stats = sync->Finish();
          ASSERT_TRUE(stats.ok()) << stats.status();
          EXPECT_TRUE(stats->found_inf);
          EXPECT_TRUE(stats->not_finite.empty());
        }
        for (const NamedTensor& parameter : module->parameters())
          parameter.tensor.mutable_grad() = at::Tensor();
        ASSERT_TRUE(sync->Begin({}).ok());
        Backward(*module, at::ones({2, kDeepWidth}));
        const absl::StatusOr<SyncStats> next = sync->Finish();
        ASSERT_TRUE(next.ok()) << next.status();
        EXPECT_FALSE(next->found_inf);
      });
    }
  }
}

TEST(SynchronizerFaults, ASecondBeginIsAnErrorAndHarmsNothing) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
    const Sync sync = *GradientSynchronizer::Create(*module, *communicator, {});
    ASSERT_TRUE(sync->Begin({}).ok());
    EXPECT_EQ(sync->Begin({}).code(), absl::StatusCode::kFailedPrecondition);
    Backward(*module, at::ones({2, kDeepWidth}));
    EXPECT_TRUE(sync->Finish().ok());
  });
}

TEST(SynchronizerFaults, HooksSurviveItAndDoNothing) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1),
                                       other = DeepModule(/*seed=*/1);
    Sync sync = *GradientSynchronizer::Create(*module, *communicator, {});
    ASSERT_TRUE(Step(*module, *sync).ok());
    sync.reset();
    for (const NamedTensor& parameter : module->parameters()) {
      EXPECT_FALSE(parameter.tensor.grad().defined())
          << parameter.name << ": its gradient was memory of a bucket";
    }
    Backward(*module, at::ones({rank + 1, kDeepWidth}));
    Backward(*other, at::ones({rank + 1, kDeepWidth}));
    EXPECT_EQ(Gradients(*module), Gradients(*other)) << "as if there had never been a synchroniser";
    // And a new one takes over from there.
    sync = *GradientSynchronizer::Create(*module, *communicator, {});
    for (const NamedTensor& parameter : module->parameters()) parameter.tensor.grad().zero_();
    ASSERT_TRUE(Step(*module, *sync).ok());
  });
}

TEST(SynchronizerFaults, OutlivesTheModule) {
  RunRanks(2, [&](int rank, std::unique_ptr<Communicator> communicator) {
    std::unique_ptr<GraphModule> module = DeepModule(/*seed=*/1);
    const Sync sync = *GradientSynchronizer::Create(*module, *communicator, {});
    ASSERT_TRUE(Step(*module, *sync).ok());
    module.reset();
  });
}

}  // namespace
}  // namespace ds
