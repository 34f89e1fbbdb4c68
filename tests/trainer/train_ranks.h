// Ranks as threads of one process, each with a whole set of training objects on synthetic data.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {

DatasetOptions SyntheticData();

// One rank's whole set of objects.
struct Rank {
  std::unique_ptr<GraphModule> module;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<DataLoader> loader;
  std::unique_ptr<MixedPrecisionTrainer> trainer;
};

// Beside the zoo's models there are, for images of any size: "norms", two convolutions with batch
// norms and a head; "two_heads", the same with a second head, an output that the loss does not
// reach. `seed` is of the initial weights.
Rank MakeRank(const std::string& model, int64_t batch, int rank, int world,
              MixedPrecisionTrainerOptions options, TrainerParts parts = {}, uint64_t seed = 1);

// Every parameter and buffer by name, and the averages of them if there are any, as bytes.
using ModuleBits = std::map<std::string, std::string>;
ModuleBits BitsOf(const GraphModule& module, WeightEma* averages = nullptr);

// No parameter of `b` is further from that of `a` than 2^-17 of the largest weight of it: what few
// steps of the same mathematics may differ by with other additions.
void ExpectNearlyEqual(const GraphModule& a, const GraphModule& b);

// Records the parameters' hash after every step. At an epoch's end replicas must be equal.
class HashRecorder final : public TrainObserver {
 public:
  absl::Status OnStep(const StepReport& step) override {
    reports.push_back(step);
    hashes.push_back(trainer->ParameterHash());
    if (keep_residuals) residuals.push_back(trainer->exchange_state().residuals);
    return absl::OkStatus();
  }
  absl::Status OnEpoch(const EpochReport&) override { return trainer->VerifyReplicas(); }

  MixedPrecisionTrainer* trainer = nullptr;
  std::vector<StepReport> reports;
  std::vector<std::string> hashes;
  bool keep_residuals = false;
  std::vector<CompressorState> residuals;  // after every step, if kept
};

// What a rank's trainer is made with; `parts` hold its communicator and its recorder already.
struct RankOptions : MixedPrecisionTrainerOptions {
  TrainerParts parts;
};

// Everything of two dimensions and more travels in 4 bits, stochastically rounded, however small.
CompressionOptions FourBits();

using AdjustOptions = std::function<void(int rank, RankOptions& options)>;
const AdjustOptions kAsItIs = [](int, RankOptions&) {};

// Trains `world` ranks as threads and returns them with what they recorded.
// `inspect` sees each rank's trainer when it is done.
std::pair<std::vector<Rank>, std::vector<HashRecorder>> TrainRanks(
    int world, const std::string& model, int64_t global_batch, int64_t epochs,
    const AdjustOptions& adjust,
    const std::function<void(int rank, MixedPrecisionTrainer& trainer)>& inspect = nullptr);

// One optimiser step on the loader's next micro-batches, as many as options.accumulate, and what a
// test may do to each before.
using StepFunction = std::function<absl::StatusOr<StepReport>()>;
using ChangeBatch = std::function<void(int64_t step, int64_t micro_batch, Batch& batch)>;

// Ranks as threads that are stepped by hand: `body` gets each one's objects and what does its next
// step. Weights are the same everywhere from the start.
void StepByHand(int world, const std::string& model, const AdjustOptions& adjust,
                const std::function<void(int rank, Rank& objects, const StepFunction& step)>& body,
                const std::function<ChangeBatch(int rank)>& change = nullptr);

// Ranks as threads whose `body` steps or trains each one's objects by hand.
void OnRanks(int world, const std::string& model, const AdjustOptions& adjust,
             const OptimizerOptions& optimizer,
             const std::function<void(int rank, Rank& objects)>& body);

}  // namespace ds
