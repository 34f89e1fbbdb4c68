// What a rank evaluates, exports or writes to a checkpoint is the same on all ranks, bit for bit:
// with batch norms, whose statistics each rank gathers from its own data, and with parameters that
// the loss does not reach.
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"
#include "trainer/replica_check.h"

namespace ds {
namespace {

// Takes `steps` on so many ranks and gives each rank's objects to `inspect` at the end.
void Train(int world, const AdjustOptions& adjust, int64_t steps,
           const std::function<void(int rank, Rank& objects)>& inspect,
           const std::string& model = "norms") {
  StepByHand(world, model, adjust, [&](int rank, Rank& objects, const StepFunction& step) {
    for (int64_t i = 0; i < steps; ++i) {
      const auto taken = step();
      ASSERT_TRUE(taken.ok()) << taken.status();
    }
    inspect(rank, objects);
  });
}

// A rank's share of all of the data; one of one: the whole.
std::unique_ptr<DataLoader> TestData(int rank, int world) {
  return *DataLoader::Create(
      *OpenDataset(SyntheticData()),
      {.batch_size = 8, .rank = rank, .world_size = world, .shuffle = false, .drop_last = false});
}

TEST(Replicas, WhatIsEvaluatedIsWhatIsExported) {
  for (const int world : {2, 3}) {
    for (const int64_t sync_every : {1, 3}) {
      for (const double ema_decay : {0.0, 0.9}) {
        SCOPED_TRACE(std::to_string(world) + " ranks, " + std::to_string(sync_every) +
                     " local steps, averages with " + std::to_string(ema_decay));
        std::mutex mutex;
        std::vector<ModuleBits> bits;
        Train(
            world,
            [&](int, RankOptions& options) {
              if (ema_decay > 0) options.ema = {.enabled = true, .decay = ema_decay};
              options.local_steps.every = sync_every;
              options.accumulate = 2;
            },
            6,
            [&](int rank, Rank& objects) {
              const auto told = objects.trainer->evaluate(*TestData(rank, world));
              ASSERT_TRUE(told.ok()) << told.status();
              {
                std::lock_guard lock(mutex);
                bits.push_back(BitsOf(*objects.module, objects.trainer->ema()));
              }
              if (rank != 0) return;
              Graph exported;
              ASSERT_TRUE(objects.trainer
                              ->WithAveragedWeights([&] {
                                exported = objects.module->ExportGraph();
                                return absl::OkStatus();
                              })
                              .ok());
              const auto module = GraphModule::Create(std::move(exported));
              ASSERT_TRUE(module.ok()) << module.status();
              const auto own = Evaluate(**module, *Loss::Create({}), *TestData(0, 1));
              ASSERT_TRUE(own.ok()) << own.status();
              ASSERT_EQ(told->samples, own->samples);
              EXPECT_EQ(told->metric(), own->metric());
              // The same losses, added in another order.
              EXPECT_NEAR(told->loss, own->loss, 1e-6 * own->loss);
            });
        ASSERT_EQ(bits.size(), static_cast<size_t>(world));
        for (const ModuleBits& other : bits) EXPECT_TRUE(other == bits[0]);
      }
    }
  }
}

TEST(Replicas, BetweenLocalStepsThereIsNothingToEvaluate) {
  Train(
      2, [](int, RankOptions& options) { options.local_steps.every = 4; }, 2,
      [](int, Rank& objects) {
        EXPECT_EQ(objects.trainer->evaluate(*objects.loader).status().code(),
                  absl::StatusCode::kFailedPrecondition);
      });
}

// One rank's tensor is changed behind the trainer's back; all ranks learn which, where and when.
TEST(Replicas, TheCheckNamesTheTensorTheRanksAndTheStep) {
  using Break = std::function<void(Rank & objects)>;
  const std::map<std::string, Break> cases = {
      {"parameter conv2.weight",
       [](Rank& objects) {
         for (const NamedTensor& entry : objects.module->parameters()) {
           if (entry.name == "conv2.weight") entry.tensor.data_ptr<float>()[3] += 1e-3f;
         }
       }},
      {"buffer bn1.running_mean",
       [](Rank& objects) { objects.module->buffers()[0].tensor.data_ptr<float>()[0] = 7; }},
      {"average ema/conv1.weight",
       [](Rank& objects) {
         objects.trainer->ema()->parameters()[0].tensor.data_ptr<float>()[0] = 7;
       }},
      {"optimiser's momentum/head.bias",
       [](Rank& objects) {
         std::map<std::string, at::Tensor> state = objects.optimizer->State();
         state.at("momentum/head.bias").fill_(3);
         EXPECT_TRUE(objects.optimizer->LoadState(state).ok());
       }},
      {"trainer's scaler/scale",
       [](Rank& objects) {
         std::map<std::string, double> state = objects.trainer->State();
         state.at("scaler/scale") = 2;
         EXPECT_TRUE(objects.trainer->LoadState(state).ok());
       }},
  };
  for (const auto& [name, spoil] : cases) {
    Train(
        3, [](int, RankOptions& options) { options.ema = {.enabled = true, .decay = 0.9}; }, 3,
        [&, &name = name, &spoil = spoil](int rank, Rank& objects) {
          ASSERT_TRUE(objects.trainer->evaluate(*objects.loader).ok());
          if (rank != 1) spoil(objects);
          const absl::Status status = objects.trainer->evaluate(*objects.loader).status();
          EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << name;
          EXPECT_NE(status.message().find("at step 3: " + name + " is not on rank 1 what"),
                    std::string::npos)
              << status;
        });
  }
}

TEST(Replicas, TheCheckTellsListsOfDifferentLengthsApart) {
  constexpr int kRanks = 4;
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(kRanks);
  std::vector<std::thread> threads;
  for (int r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      ReplicaCheck check;
      check.Add("both", 1.5);
      if (r % 2 == 1) check.Add("more", "text");
      const absl::Status status = check.Compare(9, *group[static_cast<size_t>(r)]);
      EXPECT_NE(status.message().find("at step 9: more is not on ranks 1, 3 what"),
                std::string::npos)
          << status;
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A head that the loss does not reach is left alone by any number of ranks: no decay, no momentum.
TEST(Replicas, WhatTheLossDoesNotReachIsLeftAloneOnAnyNumberOfRanks) {
  for (const int world : {1, 2, 3}) {
    for (const int64_t sync_every : {1, 2}) {
      for (const bool compress : {false, true}) {
        SCOPED_TRACE(std::to_string(world) + " ranks, " + std::to_string(sync_every) +
                     " local steps" + (compress ? ", compressed" : ""));
        ModuleBits before;
        Train(
            1, kAsItIs, 0, [&](int, Rank& objects) { before = BitsOf(*objects.module); },
            "two_heads");
        Train(
            world,
            [&](int, RankOptions& options) {
              options.local_steps.every = sync_every;
              options.accumulate = 2;
              options.clip_norm = 1;
              if (compress) options.exchange.compression = FourBits();
            },
            4,
            [&](int rank, Rank& objects) {
              const ModuleBits after = BitsOf(*objects.module);
              for (const auto& [name, bits] : before) {
                const bool unused = name.rfind("second.", 0) == 0;
                EXPECT_EQ(after.at(name) == bits, unused) << name << " on rank " << rank;
              }
              for (const auto& [name, tensor] : objects.optimizer->State()) {
                if (name.find("second.") == std::string::npos) continue;
                EXPECT_EQ(tensor.count_nonzero().item<int64_t>(), 0) << name;
              }
            },
            "two_heads");
      }
    }
  }
}

}  // namespace
}  // namespace ds
