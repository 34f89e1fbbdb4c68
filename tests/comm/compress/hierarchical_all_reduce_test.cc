#include "comm/compress/hierarchical_all_reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"
#include "tests/comm/compress/serial_simulation.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 77;
constexpr float kScale = 0.25f;

// host_of[r]: where rank r lives.
struct Topology {
  std::vector<int> host_of;
  int hosts;
};

const std::vector<Topology>& Topologies() {
  static const std::vector<Topology> topologies = {
      {{0}, 1},
      {{0, 0, 0}, 1},
      {{0, 1}, 2},
      {{5, 5, 9, 9}, 2},
      {{0, 1, 0, 1, 0, 1}, 2},
      {{0, 1, 1, 0, 1}, 2},  // not as many ranks on each
      {{3, 1, 1, 3, 1, 2, 2, 2}, 3}};
  return topologies;
}

std::vector<float> Input(const std::string& name, size_t count, uint64_t step, int rank) {
  CounterRandom random(kSeed + step, StreamOf(name.data(), name.size()),
                       static_cast<uint32_t>(rank));
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

struct Tensor {
  std::string name;
  size_t count;
  bool raw;
};
const Tensor kTensors[] = {
    {"a.weight", 5003, false}, {"a.bias", 31, true}, {"empty", 0, false}, {"b.weight", 197, false}};

// The sums of each host in rank order, hosts in the order of their lowest rank.
std::vector<std::vector<float>> HostSums(const Topology& topology, const Tensor& tensor,
                                         uint64_t step) {
  std::vector<std::vector<float>> sums;
  std::vector<int> order;
  for (size_t r = 0; r < topology.host_of.size(); ++r) {
    const std::vector<float> values = Input(tensor.name, tensor.count, step, static_cast<int>(r));
    const auto known = std::find(order.begin(), order.end(), topology.host_of[r]);
    if (known == order.end()) {
      order.push_back(topology.host_of[r]);
      sums.push_back(values);
      continue;
    }
    std::vector<float>& sum = sums[static_cast<size_t>(known - order.begin())];
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  return sums;
}

class Rank {
 public:
  Rank(Communicator& communicator, const Topology& topology, std::shared_ptr<const Codec> codec)
      : communicator_(communicator) {
    std::vector<GradientBucket> buckets(2);
    for (const Tensor& tensor : kTensors) {
      memory_.emplace_back(tensor.count);
      buckets[memory_.size() > 3].push_back(
          {tensor.name, absl::MakeSpan(memory_.back()), 0, tensor.raw ? nullptr : codec, {}});
    }
    auto made = HierarchicalAllReduce::Create(
        communicator, topology.host_of[static_cast<size_t>(communicator.rank())],
        std::move(buckets), {.seed = kSeed});
    EXPECT_TRUE(made.ok()) << made.status();
    reducer_ = std::move(*made);
  }

  void Step(uint64_t step, bool bad = false) {
    for (size_t t = 0; t < memory_.size(); ++t) {
      const std::vector<float> input =
          Input(kTensors[t].name, kTensors[t].count, step, communicator_.rank());
      std::copy(input.begin(), input.end(), memory_[t].begin());
    }
    if (bad) memory_[0][17] = std::numeric_limits<float>::quiet_NaN();
    reducer_->BeginStep({step, kScale});
    for (int b = 0; b < reducer_->buckets(); ++b) {
      const int64_t local = reducer_->LocalBytesSent(), across = reducer_->AcrossBytesSent();
      const absl::Status status = reducer_->Exchange(b);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(reducer_->LocalBytesSent() - local, reducer_->LocalWireBytes(b));
      EXPECT_EQ(reducer_->AcrossBytesSent() - across, reducer_->AcrossWireBytes(b));
    }
  }

  HierarchicalAllReduce& reducer() { return *reducer_; }
  const std::vector<float>& values(size_t tensor) const { return memory_[tensor]; }

 private:
  Communicator& communicator_;
  std::vector<std::vector<float>> memory_;
  std::unique_ptr<HierarchicalAllReduce> reducer_;
};

TEST(HierarchicalAllReduce, EqualsTheSerialSimulationOverHostsBitForBit) {
  auto made = Codec::Create({.bits = 4, .bucket = 64, .rounding = CodecRounding::kStochastic});
  ASSERT_TRUE(made.ok());
  const std::shared_ptr<const Codec> codec = std::move(*made);
  for (const Topology& topology : Topologies()) {
    OnEveryRank(static_cast<int>(topology.host_of.size()), [&](Communicator& communicator) {
      SerialSimulation simulation(topology.hosts, kSeed, true);
      Rank rank(communicator, topology, codec);
      EXPECT_EQ(rank.reducer().hosts(), topology.hosts);
      for (uint64_t step = 0; step < 3; ++step) {
        rank.Step(step);
        rank.reducer().EndStep(true);
        for (size_t t = 0; t < std::size(kTensors); ++t) {
          const Tensor& tensor = kTensors[t];
          const std::vector<float> wanted =
              simulation.Exchange(tensor.name, tensor.raw ? nullptr : codec, step, kScale,
                                  HostSums(topology, tensor, step), true);
          EXPECT_EQ(rank.values(t), wanted)
              << tensor.name << ", " << communicator.size() << " ranks, step " << step;
        }
      }
    });
  }
}

TEST(HierarchicalAllReduce, ASkippedStepChangesNothingAndNaNArrives) {
  auto made = Codec::Create({.bits = 4, .bucket = 64});
  ASSERT_TRUE(made.ok());
  const std::shared_ptr<const Codec> codec = std::move(*made);
  const Topology& topology = Topologies()[5];
  OnEveryRank(static_cast<int>(topology.host_of.size()), [&](Communicator& communicator) {
    Rank rank(communicator, topology, codec);
    rank.Step(0);
    rank.reducer().EndStep(true);
    const CompressorState before = rank.reducer().ExportState();
    rank.Step(1, /*bad=*/communicator.rank() == 4);
    rank.reducer().EndStep(false);
    EXPECT_TRUE(std::isnan(rank.values(0)[17]));
    EXPECT_EQ(rank.reducer().ExportState(), before);
  });
}

// Only the hosts' sums cross, however many ranks a host has.
TEST(HierarchicalAllReduce, FewerBytesCrossThanWithoutHosts) {
  auto made = Codec::Create({.bits = 4, .bucket = 64});
  ASSERT_TRUE(made.ok());
  const std::shared_ptr<const Codec> codec = std::move(*made);
  std::mutex mutex;
  int64_t across[2] = {};
  for (const size_t which : {2u, 4u}) {  // 1 and 3 ranks on each of two hosts
    const Topology& topology = Topologies()[which];
    OnEveryRank(static_cast<int>(topology.host_of.size()), [&](Communicator& communicator) {
      Rank rank(communicator, topology, codec);
      std::lock_guard lock(mutex);
      for (int b = 0; b < rank.reducer().buckets(); ++b)
        across[which == 4] += rank.reducer().AcrossWireBytes(b);
    });
  }
  EXPECT_EQ(across[0], across[1]);
}

TEST(HierarchicalAllReduce, StatesOfAHostMergeIntoOneContributor) {
  auto made = Codec::Create({.bits = 2, .bucket = 64});
  ASSERT_TRUE(made.ok());
  const std::shared_ptr<const Codec> codec = std::move(*made);
  const Topology& topology = Topologies()[3];
  std::mutex mutex;
  std::vector<CompressorState> states(4);
  SerialSimulation simulation(2, kSeed, true);
  for (const Tensor& tensor : kTensors) {
    (void)simulation.Exchange(tensor.name, tensor.raw ? nullptr : codec, 0, kScale,
                              HostSums(topology, tensor, 0), true);
  }
  std::vector<std::vector<float>> next(4);
  OnEveryRank(4, [&](Communicator& communicator) {
    Rank rank(communicator, topology, codec);
    rank.Step(0);
    rank.reducer().EndStep(true);
    const CompressorState state = rank.reducer().ExportState();
    rank.Step(1);
    std::lock_guard lock(mutex);
    states[static_cast<size_t>(communicator.rank())] = state;
    next[static_cast<size_t>(communicator.rank())] = rank.values(0);
  });
  std::vector<CompressorState> hosts;
  for (const size_t first : {0u, 2u}) {
    auto merged = MergeStates(absl::MakeConstSpan(states).subspan(first, 2));
    ASSERT_TRUE(merged.ok());
    hosts.push_back(*merged);
    std::vector<float> worker(kTensors[0].count);
    ASSERT_TRUE(
        FillFromState(hosts.back(), kWorkerResidual, "a.weight", 0, absl::MakeSpan(worker)).ok());
    EXPECT_EQ(worker, simulation.worker("a.weight", static_cast<int>(first / 2)));
  }
  // Two ranks, one for each host, go on from there.
  ResidualSum sum;
  for (const CompressorState& host : hosts) ASSERT_TRUE(sum.Add(host).ok());
  EXPECT_EQ(sum.shared().count("owner/a.weight@0"), 1u);
  EXPECT_EQ(hosts[1].count("owner/a.weight@0"), 0u);
  for (CompressorState& host : hosts) host.insert(sum.shared().begin(), sum.shared().end());
  OnEveryRank(4, [&](Communicator& communicator) {
    Rank rank(communicator, topology, codec);
    ASSERT_TRUE(
        rank.reducer().ImportState(hosts.at(static_cast<size_t>(rank.reducer().host()))).ok());
    rank.Step(1);
    EXPECT_EQ(rank.values(0), next[static_cast<size_t>(communicator.rank())]);
  });
}

}  // namespace
}  // namespace ds
