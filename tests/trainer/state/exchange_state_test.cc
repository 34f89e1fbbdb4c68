#include "trainer/state/exchange_state.h"

#include <cmath>
#include <thread>

#include "absl/strings/str_cat.h"
#include "comm/compress/compressor_state.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

template <typename Body>
void OnRanks(int world, const Body& body) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] { body(r, *group[static_cast<size_t>(r)]); });
  }
  for (std::thread& thread : threads) thread.join();
}

constexpr int64_t kElements = 101;

// Residuals as a rank of `world` has them: its own of the whole parameter, and an owner's of its
// share.
CompressorState StateOf(int rank, int world) {
  CompressorState state;
  std::vector<float>& worker = state[StateKey(kWorkerResidual, "layer.weight", 0)];
  for (int64_t i = 0; i < kElements; ++i)
    worker.push_back(0.1f * static_cast<float>(rank + 1) + 0.01f * static_cast<float>(i));
  const int64_t begin = kElements * rank / world, end = kElements * (rank + 1) / world;
  std::vector<float>& owner = state[StateKey(kOwnerResidual, "layer.weight", begin)];
  for (int64_t i = begin; i < end; ++i) owner.push_back(-0.003f * static_cast<float>(i));
  return state;
}

Checkpoint Written(int world) {
  Checkpoint checkpoint;
  OnRanks(world, [&](int rank, Communicator& communicator) {
    Checkpoint other;
    const absl::Status status =
        GatherResiduals(StateOf(rank, world), rank, communicator, rank == 0 ? &checkpoint : &other);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(other.tensors.empty()) << "a checkpoint was touched on rank " << rank;
  });
  return checkpoint;
}

std::vector<CompressorState> Read(const Checkpoint& checkpoint, int world) {
  std::vector<CompressorState> states(static_cast<size_t>(world));
  OnRanks(world, [&](int rank, Communicator& communicator) {
    absl::StatusOr<CompressorState> state =
        ScatterResiduals(rank == 0 ? checkpoint : Checkpoint(), rank, communicator);
    ASSERT_TRUE(state.ok()) << state.status();
    states[static_cast<size_t>(rank)] = *std::move(state);
  });
  return states;
}

// What the replicas are still owed, element by element.
std::vector<double> Owed(const std::vector<CompressorState>& states, bool owners_from_first_only) {
  std::vector<double> sum(kElements);
  for (size_t s = 0; s < states.size(); ++s) {
    std::vector<float> part(kElements);
    EXPECT_TRUE(
        FillFromState(states[s], kWorkerResidual, "layer.weight", 0, absl::MakeSpan(part)).ok());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    if (owners_from_first_only && s > 0) continue;
    EXPECT_TRUE(
        FillFromState(states[s], kOwnerResidual, "layer.weight", 0, absl::MakeSpan(part)).ok());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
  }
  return sum;
}

TEST(ExchangeState, TheSameRanksGetTheirOwnBack) {
  for (int world : {1, 2, 3, 5}) {
    const std::vector<CompressorState> states = Read(Written(world), world);
    for (int rank = 0; rank < world; ++rank) {
      const CompressorState wanted = StateOf(rank, world);
      const std::string key = StateKey(kWorkerResidual, "layer.weight", 0);
      EXPECT_EQ(states[static_cast<size_t>(rank)].at(key), wanted.at(key))
          << "rank " << rank << " of " << world;
    }
  }
}

TEST(ExchangeState, AnotherNumberOfRanksIsOwedTheSame) {
  for (const auto& [before, after] :
       std::vector<std::pair<int, int>>{{2, 3}, {3, 2}, {1, 4}, {5, 1}, {4, 4}}) {
    std::vector<CompressorState> written;
    for (int rank = 0; rank < before; ++rank) written.push_back(StateOf(rank, before));
    const std::vector<double> wanted = Owed(written, false);
    // Owners' residuals are handed to everybody, and each takes what it owns: they count once.
    const std::vector<double> got = Owed(Read(Written(before), after), true);
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR(got[i], wanted[i], 1e-6 * std::abs(wanted[i]) + 1e-7)
          << before << " to " << after << " ranks, element " << i;
    }
  }
}

TEST(ExchangeState, NothingIsWrittenAndNothingIsReadWithoutResiduals) {
  Checkpoint checkpoint;
  OnRanks(2, [&](int rank, Communicator& communicator) {
    Checkpoint other;
    EXPECT_TRUE(GatherResiduals({}, rank, communicator, rank == 0 ? &checkpoint : &other).ok());
  });
  EXPECT_TRUE(checkpoint.tensors.empty());
  for (const CompressorState& state : Read(checkpoint, 3)) EXPECT_TRUE(state.empty());
}

TEST(ExchangeState, ADamagedFileIsAnErrorOnEveryRank) {
  Checkpoint gap = Written(3), named = Written(2), typed = Written(2);
  gap.tensors.erase("residuals-1");
  named.tensors["residuals-x"] = named.tensors["residuals-1"];
  typed.tensors["residuals-1"].begin()->second = *Tensor::Create(DType::kInt32, {4});
  for (const Checkpoint* checkpoint : {&gap, &named, &typed}) {
    OnRanks(2, [&](int rank, Communicator& communicator) {
      const absl::Status status =
          ScatterResiduals(rank == 0 ? *checkpoint : Checkpoint(), rank, communicator).status();
      EXPECT_EQ(status.code(), rank == 0 ? absl::StatusCode::kDataLoss : absl::StatusCode::kAborted)
          << status;
    });
  }
}

}  // namespace
}  // namespace ds
