// All ranks write one checkpoint, each its part, and get it back.
#include "trainer/state/run_checkpoint.h"

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"
#include "tests/trainer/state/rank_states.h"
#include "trainer/checkpoint/checkpoint_names.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Two hosts of two ranks each, say: contributors[rank].
using Contributors = std::vector<int>;

Contributors OneEach(int world) {
  Contributors contributors;
  for (int r = 0; r < world; ++r) contributors.push_back(r);
  return contributors;
}

// What ranks have; some tests want less.
RankState Everything(int rank, int world) {
  return {.residuals = ResidualsOf(rank, world), .optimizer = OptimizerOf(rank)};
}

using StateOfRank = std::function<absl::StatusOr<RankState>(int rank, int world)>;

// Every rank's status.
std::vector<absl::Status> Write(const std::string& root, int64_t step, const StateOfRank& state_of,
                                const Contributors& contributors, int64_t keep = 3) {
  const int world = static_cast<int>(contributors.size());
  std::vector<absl::Status> statuses(contributors.size());
  OnRanks(world, [&](int rank, Communicator& communicator) {
    const CheckpointPlace place = {.root = rank == 0 ? root : "", .step = step, .keep = keep};
    statuses[static_cast<size_t>(rank)] = WriteRunCheckpoint(
        place, [&] { return SharedOf(step); }, state_of(rank, world),
        contributors[static_cast<size_t>(rank)], communicator);
  });
  return statuses;
}

void WriteWell(const std::string& root, int64_t step, const StateOfRank& state_of,
               const Contributors& contributors) {
  for (const absl::Status& status : Write(root, step, state_of, contributors))
    ASSERT_TRUE(status.ok()) << status;
}

std::vector<absl::StatusOr<RunCheckpoint>> Read(const std::string& root, bool own_optimizer,
                                                const Contributors& contributors) {
  std::vector<absl::StatusOr<RunCheckpoint>> read(contributors.size());
  OnRanks(static_cast<int>(contributors.size()), [&](int rank, Communicator& communicator) {
    read[static_cast<size_t>(rank)] =
        ReadRunCheckpoint(rank == 0 ? root : "", contributors[static_cast<size_t>(rank)],
                          own_optimizer, communicator);
  });
  return read;
}

std::vector<RunCheckpoint> ReadWell(const std::string& root, bool own_optimizer,
                                    const Contributors& contributors) {
  std::vector<RunCheckpoint> good;
  for (absl::StatusOr<RunCheckpoint>& read : Read(root, own_optimizer, contributors)) {
    EXPECT_TRUE(read.ok()) << read.status();
    good.push_back(read.ok() ? *std::move(read) : RunCheckpoint());
  }
  return good;
}

// What the replicas are still owed, element by element. Owners' residuals are handed to everybody,
// and each takes what it owns: with `owners_whole` they count once.
std::vector<double> Owed(const std::vector<CompressorState>& states, bool owners_whole) {
  std::vector<double> sum(kElements);
  for (size_t s = 0; s < states.size(); ++s) {
    std::vector<float> part(kElements);
    for (const absl::string_view kind : {kWorkerResidual, kOwnerResidual}) {
      if (kind == kOwnerResidual && owners_whole && s > 0) continue;
      EXPECT_TRUE(FillFromState(states[s], kind, "layer.weight", 0, absl::MakeSpan(part)).ok());
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    }
  }
  return sum;
}

TEST(RunCheckpoint, TheSameRanksGetTheirOwnBack) {
  for (const int world : {1, 2, 3, 5}) {
    const TempFolder folder;
    WriteWell(folder.path(), 7, Everything, OneEach(world));
    const std::vector<RunCheckpoint> read = ReadWell(folder.path(), true, OneEach(world));
    std::vector<float> owners(kElements), wanted(kElements);
    for (int64_t i = 0; i < kElements; ++i)
      wanted[static_cast<size_t>(i)] = -0.003f * static_cast<float>(i);
    for (int rank = 0; rank < world; ++rank) {
      const RunCheckpoint& mine = read[static_cast<size_t>(rank)];
      EXPECT_EQ(MarkOf(mine), 7);
      EXPECT_FALSE(mine.shared.tensors.contains("optimizer")) << "ranks have their own";
      EXPECT_EQ(mine.mine.residuals.at(kWorkerKey), ResidualsOf(rank, world).at(kWorkerKey));
      EXPECT_EQ(mine.mine.residuals.at("factor/layer.weight@0"), (std::vector<float>{1, 2, 3}));
      // Ownership may have moved: everybody has all of it.
      ASSERT_TRUE(FillFromState(mine.mine.residuals, kOwnerResidual, "layer.weight", 0,
                                absl::MakeSpan(owners))
                      .ok());
      EXPECT_EQ(owners, wanted);
      const TensorMap& optimizer = mine.mine.optimizer;
      ASSERT_EQ(optimizer.size(), 3u);
      EXPECT_EQ(optimizer.at("step").span<int64_t>()[0], kManySteps + 3 * rank);
      EXPECT_EQ(optimizer.at("momentum/empty").shape(), Shape({0, 3}));
      for (int64_t i = 0; i < kElements; ++i) {
        ASSERT_EQ(optimizer.at("momentum/fc.weight").span<float>()[static_cast<size_t>(i)],
                  Momentum(rank, i));
      }
    }
  }
}

TEST(RunCheckpoint, AnotherNumberOfRanksIsOwedTheSame) {
  for (const auto& [before, after] :
       std::vector<std::pair<int, int>>{{2, 3}, {3, 2}, {1, 4}, {5, 1}, {4, 4}}) {
    const TempFolder folder;
    WriteWell(folder.path(), 7, Everything, OneEach(before));
    std::vector<CompressorState> written, got;
    for (int rank = 0; rank < before; ++rank) written.push_back(ResidualsOf(rank, before));
    for (RunCheckpoint& read : ReadWell(folder.path(), true, OneEach(after)))
      got.push_back(std::move(read.mine.residuals));
    const std::vector<double> wanted = Owed(written, false), owed = Owed(got, true);
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(owed[i], wanted[i], 1e-6 * std::abs(wanted[i]) + 1e-7)
          << before << " to " << after << " ranks, element " << i;
    }
  }
}

// Ranks of a host have a part each of what it owes.
TEST(RunCheckpoint, HostsKeepTheirsWhateverTheirRanks) {
  const auto halves = [](int rank, int) -> absl::StatusOr<RankState> {
    RankState state;
    const CompressorState whole = ResidualsOf(rank / 2, 2);
    const std::vector<float>& worker = whole.at(kWorkerKey);
    const int64_t from = rank % 2 == 0 ? 0 : 50, to = rank % 2 == 0 ? 50 : kElements;
    state.residuals[StateKey(kWorkerResidual, "layer.weight", from)] =
        std::vector<float>(worker.begin() + from, worker.begin() + to);
    return state;
  };
  const TempFolder folder;
  WriteWell(folder.path(), 7, halves, {0, 0, 1, 1});
  for (const Contributors& now :
       {Contributors{0, 0, 1, 1}, Contributors{0, 1}, Contributors{0, 1, 1}}) {
    const std::vector<RunCheckpoint> read = ReadWell(folder.path(), false, now);
    for (size_t r = 0; r < now.size(); ++r) {
      std::vector<float> worker(kElements);
      ASSERT_TRUE(FillFromState(read[r].mine.residuals, kWorkerResidual, "layer.weight", 0,
                                absl::MakeSpan(worker))
                      .ok());
      EXPECT_EQ(worker, ResidualsOf(now[r], 2).at(kWorkerKey)) << "rank " << r;
    }
  }
}

TEST(RunCheckpoint, AnotherNumberOfRanksAndRunsWithoutLocalStepsGetTheMeanOptimizer) {
  struct Case {
    int before, after;
    bool own;
  };
  for (const Case& c : {Case{2, 3, true}, Case{3, 2, true}, Case{5, 1, true}, Case{1, 4, true},
                        Case{3, 3, false}}) {
    const TempFolder folder;
    WriteWell(folder.path(), 7, Everything, OneEach(c.before));
    for (const RunCheckpoint& read : ReadWell(folder.path(), c.own, OneEach(c.after))) {
      const TensorMap& state = read.mine.optimizer;
      for (int64_t i = 0; i < kElements; ++i) {
        double mean = 0;
        for (int rank = 0; rank < c.before; ++rank)
          mean += static_cast<double>(Momentum(rank, i)) / c.before;
        ASSERT_FLOAT_EQ(state.at("momentum/fc.weight").span<float>()[static_cast<size_t>(i)],
                        static_cast<float>(mean))
            << c.before << " to " << c.after;
      }
      // 3 (before - 1) / 2, halves rounded up.
      EXPECT_EQ(state.at("step").span<int64_t>()[0], kManySteps + (3 * (c.before - 1) + 1) / 2);
    }
  }
}

TEST(RunCheckpoint, WithoutPartsOfTheirOwnRanksWriteNone) {
  const TempFolder folder;
  WriteWell(
      folder.path(), 7, [](int, int) { return RankState(); }, OneEach(2));
  const CheckpointReader reader = *CheckpointReader::Open(CheckpointFolders(folder.path())[0]);
  EXPECT_THAT(reader.stems(), ::testing::ElementsAre("model", "optimizer"));
  for (const RunCheckpoint& read : ReadWell(folder.path(), true, OneEach(3))) {
    EXPECT_TRUE(read.mine.residuals.empty() && read.mine.optimizer.empty());
    EXPECT_EQ(read.shared.tensors.at("optimizer").at("step").span<int64_t>()[0], 7);
  }
}

// Files numbered by contributor, and a state.json that does not speak of ranks.
TEST(RunCheckpoint, CheckpointsOfEarlierVersionsAreRead) {
  const TempFolder folder;
  Checkpoint earlier = SharedOf(7);
  earlier.tensors.erase("optimizer");
  std::vector<CompressorState> states = {ResidualsOf(0, 2), ResidualsOf(1, 2)};
  for (int n = 0; n < 2; ++n) {
    earlier.tensors[ResidualsFile(n)] = ResidualTensors(states[static_cast<size_t>(n)]);
    earlier.tensors[OptimizerFile(n)] = OptimizerOf(n);
  }
  ASSERT_TRUE(WriteCheckpoint(folder.path(), 7, earlier, 1).ok());
  for (const Contributors& now : {Contributors{0, 1}, Contributors{0, 0, 1, 1}}) {
    const std::vector<RunCheckpoint> read = ReadWell(folder.path(), true, now);
    for (size_t r = 0; r < now.size(); ++r) {
      EXPECT_EQ(read[r].mine.residuals.at(kWorkerKey), ResidualsOf(now[r], 2).at(kWorkerKey));
      EXPECT_EQ(read[r].mine.optimizer.size(), 3u);
    }
  }
  std::vector<CompressorState> got;
  for (RunCheckpoint& read : ReadWell(folder.path(), true, OneEach(3)))
    got.push_back(std::move(read.mine.residuals));
  const std::vector<double> wanted = Owed(states, false), owed = Owed(got, true);
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(owed[i], wanted[i], 1e-6);
}

TEST(RunCheckpoint, NoRankSendsItsStateToAnother) {
  const TempFolder folder;
  constexpr size_t kLarge = 1 << 20;
  const auto large = [](int rank, int) -> absl::StatusOr<RankState> {
    RankState state;
    state.residuals[kWorkerKey] = std::vector<float>(kLarge, static_cast<float>(rank));
    return state;
  };
  OnRanks(3, [&](int rank, Communicator& communicator) {
    const CheckpointPlace place = {.root = folder.path(), .step = 1};
    ASSERT_TRUE(WriteRunCheckpoint(
                    place, [] { return SharedOf(1); }, large(rank, 3), rank, communicator)
                    .ok());
    ASSERT_TRUE(ReadRunCheckpoint(folder.path(), rank, false, communicator).ok());
    EXPECT_LT(communicator.wire_stats().bytes_received, 100'000);
  });
}

// A rank on a machine that does not have rank 0's disk: it knows the folder by a name that is not
// there.
class BlindRank final : public Communicator {
 public:
  BlindRank(Communicator& real, std::string root) : real_(real), root_(std::move(root)) {}

  absl::Status Broadcast(absl::Span<std::byte> bytes, int root) override {
    DS_RETURN_IF_ERROR(real_.Broadcast(bytes, root));
    char* const text = reinterpret_cast<char*>(bytes.data());
    for (size_t i = 0; i + root_.size() <= bytes.size(); ++i) {
      if (root_.compare(0, root_.size(), text + i, root_.size()) == 0) text[i + 1] = '?';
    }
    return absl::OkStatus();
  }

  int rank() const override { return real_.rank(); }
  int size() const override { return real_.size(); }
  absl::string_view backend() const override { return real_.backend(); }
  absl::Status AllReduce(MutableBuffer buffer, ReduceOp op) override {
    return real_.AllReduce(buffer, op);
  }
  absl::Status AllGather(absl::Span<const std::byte> in, absl::Span<std::byte> out) override {
    return real_.AllGather(in, out);
  }
  absl::Status Exchange(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive) override {
    return real_.Exchange(send, receive);
  }
  absl::Status Barrier() override { return real_.Barrier(); }
  absl::Duration timeout() const override { return real_.timeout(); }
  void set_timeout(absl::Duration timeout) override { real_.set_timeout(timeout); }
  WireStats wire_stats() const override { return real_.wire_stats(); }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override { return real_.Duplicate(); }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    return real_.Split(color, key);
  }

 private:
  Communicator& real_;
  const std::string root_;
};

TEST(RunCheckpoint, ARankWithoutRankZerosDiskIsServedByIt) {
  const TempFolder folder;
  const auto as_seen = [&](int rank, Communicator& real, const auto& body) {
    BlindRank blind(real, folder.path());
    body(rank == 1 ? static_cast<Communicator&>(blind) : real);
  };
  OnRanks(3, [&](int rank, Communicator& real) {
    as_seen(rank, real, [&](Communicator& communicator) {
      const CheckpointPlace place = {.root = folder.path(), .step = 7};
      const absl::Status status = WriteRunCheckpoint(
          place, [] { return SharedOf(7); }, Everything(rank, 3), rank, communicator);
      EXPECT_TRUE(status.ok()) << status;
    });
  });
  EXPECT_TRUE(ReadCheckpoint(CheckpointFolders(folder.path()).at(0)).ok());
  for (const int now : {3, 2}) {
    OnRanks(now, [&](int rank, Communicator& real) {
      as_seen(rank, real, [&](Communicator& communicator) {
        const auto read = ReadRunCheckpoint(folder.path(), rank, true, communicator);
        ASSERT_TRUE(read.ok()) << read.status();
        EXPECT_EQ(MarkOf(*read), 7);
        ASSERT_EQ(read->mine.optimizer.size(), 3u);
        if (now == 3) {
          EXPECT_EQ(read->mine.residuals.at(kWorkerKey), ResidualsOf(rank, 3).at(kWorkerKey));
          EXPECT_EQ(read->mine.optimizer.at("step").span<int64_t>()[0], kManySteps + 3 * rank);
        }
      });
    });
  }
}

// Bytes that this process has asked the system for.
int64_t BytesRead() {
  std::ifstream io("/proc/self/io");
  std::string name;
  int64_t count = 0;
  io >> name >> count;
  return count;
}

TEST(RunCheckpoint, EachFileIsReadOnce) {
  const TempFolder folder;
  constexpr int64_t kBytes = 8 << 20;
  OnRanks(2, [&](int rank, Communicator& communicator) {
    Checkpoint shared = SharedOf(1);
    shared.tensors["model"]["large"] = Tensor(DType::kUInt8, {kBytes});
    RankState mine;
    mine.residuals[kWorkerKey] = std::vector<float>(kBytes / sizeof(float));
    const CheckpointPlace place = {.root = folder.path(), .step = 1};
    ASSERT_TRUE(WriteRunCheckpoint(
                    place, [&] { return shared; }, mine, rank, communicator)
                    .ok());
  });
  const int64_t before = BytesRead();
  if (before == 0) GTEST_SKIP() << "this system does not count what a process reads";
  ReadWell(folder.path(), false, OneEach(2));
  const int64_t read = BytesRead() - before;
  EXPECT_GE(read, 3 * kBytes);
  EXPECT_LT(read, 3 * kBytes + kBytes / 2) << "the model and two ranks' residuals, once each";
}

TEST(RunCheckpoint, ARankThatFailsMakesItFailForAllAndTheOldOneStays) {
  const TempFolder folder;
  WriteWell(folder.path(), 1, Everything, OneEach(3));
  const auto second_fails = [](int rank, int world) -> absl::StatusOr<RankState> {
    if (rank == 1) return absl::InternalError("no memory for the residuals");
    return Everything(rank, world);
  };
  const std::vector<absl::Status> statuses = Write(folder.path(), 2, second_fails, OneEach(3));
  for (size_t r = 0; r < statuses.size(); ++r) {
    EXPECT_EQ(statuses[r].code(),
              r == 1 ? absl::StatusCode::kInternal : absl::StatusCode::kAborted);
    EXPECT_THAT(std::string(statuses[r].message()), HasSubstr("no memory for the residuals"));
    EXPECT_TRUE(r == 1 || absl::StrContains(statuses[r].message(), "rank 1")) << statuses[r];
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
  EXPECT_EQ(MarkOf(ReadWell(folder.path(), true, OneEach(3))[2]), 1);
}

// Whichever call fails, of whichever rank: all ranks hear of it, and there is the old one or the
// new one, whole. `write`: step -> every rank's status.
void ExpectEverybodysError(const std::string& root,
                           const std::function<std::vector<absl::Status>(int64_t step)>& write) {
  FaultyFileSystem files(root);
  WriteWell(root, 1, Everything, OneEach(2));
  bool through = false;
  for (int64_t call = 1; !through; ++call) {
    files.FailAt(call, ENOSPC, /*for_good=*/false);
    const std::vector<absl::Status> statuses = write(1 + call);
    through = files.calls() < call;
    files.FailNoMore();
    EXPECT_EQ(statuses[0].ok(), statuses[1].ok()) << statuses[0] << "\n" << statuses[1];
    for (const RunCheckpoint& read : ReadWell(root, true, OneEach(2))) {
      EXPECT_EQ(read.mine.optimizer.size(), 3u) << call;
      EXPECT_TRUE(MarkOf(read) == 1 + call || !statuses[0].ok()) << call;
    }
    ASSERT_LT(call, 200);
  }
}

TEST(RunCheckpoint, AnyCallThatFailsOnAnyRankIsEverybodysError) {
  const TempFolder folder;
  ExpectEverybodysError(folder.path(), [&](int64_t step) {
    return Write(folder.path(), step, Everything, OneEach(2), 1);
  });
}

// The same where rank 0 writes for a rank that does not see its disk.
TEST(RunCheckpoint, AnyCallThatFailsForARankThatIsServedIsEverybodysError) {
  const TempFolder folder;
  ExpectEverybodysError(folder.path(), [&](int64_t step) {
    std::vector<absl::Status> statuses(2);
    OnRanks(2, [&](int rank, Communicator& real) {
      BlindRank blind(real, folder.path());
      const CheckpointPlace place = {.root = folder.path(), .step = step, .keep = 1};
      statuses[static_cast<size_t>(rank)] = WriteRunCheckpoint(
          place, [&] { return SharedOf(step); }, Everything(rank, 2), rank,
          rank == 1 ? static_cast<Communicator&>(blind) : real);
    });
    return statuses;
  });
}

TEST(RunCheckpoint, ADamagedPartOfAnyRankSendsAllRanksToTheOneBefore) {
  for (const std::string& part : {std::string("model"), ResidualsFile(0), ResidualsFile(1),
                                  ResidualsFile(2), OptimizerFile(2)}) {
    for (const int now : {3, 2}) {
      const TempFolder folder;
      WriteWell(folder.path(), 1, Everything, OneEach(3));
      WriteWell(folder.path(), 2, Everything, OneEach(3));
      const std::string path =
          Inside(Inside(folder.path(), CheckpointName(2)), part + kTensorSuffix);
      std::string bytes = *ReadFile(path);
      bytes[bytes.size() - 3] ^= 4;
      std::ofstream(path, std::ios::binary) << bytes;
      ::testing::internal::CaptureStderr();
      for (const RunCheckpoint& read : ReadWell(folder.path(), true, OneEach(now)))
        EXPECT_EQ(MarkOf(read), 1) << part;
      EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(path));
    }
  }
}

TEST(RunCheckpoint, WhereNoneIsCompleteAllRanksSaySo) {
  const TempFolder folder;
  for (const auto& read : Read(folder.path(), true, OneEach(2)))
    EXPECT_EQ(read.status().code(), absl::StatusCode::kNotFound);
  // Whole, but not what a run writes.
  Checkpoint gap = SharedOf(1), typed = SharedOf(2), named = SharedOf(3), lacking = SharedOf(4);
  gap.tensors[ResidualsFile(1)]["worker/w@0"] = Tensor::From<float>({1}, {1});
  typed.tensors[ResidualsFile(0)]["worker/w@0"] = Tensor::From<int32_t>({1}, {1});
  named.tensors["residuals-x"] = {};
  for (int n = 0; n < 2; ++n) lacking.tensors[OptimizerFile(n)] = OptimizerOf(n);
  lacking.tensors[OptimizerFile(1)].erase("step");
  int64_t step = 1;
  for (const Checkpoint* checkpoint : {&gap, &typed, &named, &lacking})
    ASSERT_TRUE(WriteCheckpoint(folder.path(), step++, *checkpoint, 9).ok());
  for (const auto& read : Read(folder.path(), true, OneEach(1)))
    EXPECT_EQ(read.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ds
