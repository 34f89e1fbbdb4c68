// The backend's logic over a simulated NCCL: what it does when all goes well.
#include "comm/nccl/nccl_communicator.h"

#include <cstring>

#include "comm/nccl/device_scope.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/nccl/nccl_group.h"
#include "tests/contract/communicator_contract.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NcclContract : public ::testing::TestWithParam<int> {};

TEST_P(NcclContract, HoldsOnHostMemory) {
  const int ranks = GetParam();
  FakeCluster cluster(ranks);
  NcclResults group = CreateNcclGroup(cluster, ranks);
  for (const auto& member : group) ASSERT_TRUE(member.ok()) << member.status();
  std::vector<std::vector<std::string>> faults(group.size());
  OnAllRanks(ranks, [&](int r) {
    faults[static_cast<size_t>(r)] = CheckContract(**group[static_cast<size_t>(r)]);
  });
  for (const std::vector<std::string>& list : faults) EXPECT_THAT(list, IsEmpty());
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclContract, ::testing::Values(1, 2, 3, 5, 8));

// Device memory of one rank, freed at the end.
class DeviceMemory {
 public:
  DeviceMemory(FakeCluster& cluster, int rank, int device, size_t bytes)
      : api_(cluster.Runtime(rank).device) {
    const DeviceScope scope(*api_, device);
    memory_ = *api_->Allocate(bytes, MemoryKind::kDevice);
    view_ = cluster.View(memory_);
  }
  ~DeviceMemory() { api_->Free(memory_, MemoryKind::kDevice); }
  std::byte* data() { return memory_; }
  absl::Span<std::byte> bytes() { return {memory_, view_.size()}; }
  template <typename T>
  absl::Span<T> View() {
    return {reinterpret_cast<T*>(view_.data()), view_.size() / sizeof(T)};
  }

 private:
  std::shared_ptr<DeviceApi> api_;
  std::byte* memory_ = nullptr;
  absl::Span<std::byte> view_;
};

class NcclDeviceBuffers : public ::testing::TestWithParam<int> {};

// The simulated device's memory cannot be touched by the processor: any slip would crash.
TEST_P(NcclDeviceBuffers, GoThroughEveryCall) {
  const int ranks = GetParam();
  FakeCluster cluster(ranks);
  NcclResults group = CreateNcclGroup(cluster, ranks);
  OnAllRanks(ranks, [&](int r) {
    Communicator& comm = **group[static_cast<size_t>(r)];
    constexpr int64_t kCount = 1009;
    DeviceMemory sum(cluster, r, r, kCount * 4), spread(cluster, r, r, kCount),
        mine(cluster, r, r, 17);
    DeviceMemory all(cluster, r, r, 17 * static_cast<size_t>(ranks));
    for (int64_t i = 0; i < kCount; ++i)
      sum.View<float>()[static_cast<size_t>(i)] = static_cast<float>(i * (r + 1));
    ASSERT_TRUE(comm.AllReduce({sum.data(), kCount, DType::kFloat32}, ReduceOp::kSum).ok());
    for (int64_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(sum.View<float>()[static_cast<size_t>(i)],
                static_cast<float>(i * ranks * (ranks + 1) / 2))
          << i;
    }
    if (r == ranks - 1) std::memset(spread.View<char>().data(), 'x', kCount);
    ASSERT_TRUE(comm.Broadcast(spread.bytes(), ranks - 1).ok());
    for (char c : spread.View<char>()) ASSERT_EQ(c, 'x');
    std::memset(mine.View<char>().data(), 'a' + r, 17);
    ASSERT_TRUE(comm.AllGather(mine.bytes(), all.bytes()).ok());
    for (size_t i = 0; i < all.View<char>().size(); ++i)
      ASSERT_EQ(all.View<char>()[i], static_cast<char>('a' + i / 17)) << i;
  });
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclDeviceBuffers, ::testing::Values(1, 2, 3, 5));

TEST(NcclCommunicator, MixesHostAndDeviceBuffersInOneExchange) {
  FakeCluster cluster(3);
  NcclResults group = CreateNcclGroup(cluster, 3);
  OnAllRanks(3, [&](int r) {
    // To and from the next rank on the device, to and from the one before in host memory; its own
    // from one to the other.
    DeviceMemory out(cluster, r, r, 5), in(cluster, r, r, 5), own(cluster, r, r, 5);
    const size_t me = static_cast<size_t>(r), next = (me + 1) % 3, before = (me + 2) % 3;
    std::memset(out.View<char>().data(), 'd', 5);
    std::vector<std::byte> host(5, std::byte{'h'}), into(5), self(5, std::byte{'s'});
    std::vector<absl::Span<const std::byte>> send(3);
    std::vector<absl::Span<std::byte>> receive(3);
    send[next] = out.bytes();
    send[before] = host;
    send[me] = self;
    receive[next] = in.bytes();
    receive[before] = absl::MakeSpan(into);
    receive[me] = own.bytes();
    ASSERT_TRUE((*group[me])->Exchange(send, receive).ok());
    for (char c : in.View<char>()) EXPECT_EQ(c, 'h');
    for (std::byte b : into) EXPECT_EQ(b, std::byte{'d'});
    for (char c : own.View<char>()) EXPECT_EQ(c, 's');
  });
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(NcclCommunicator, ABufferOnAnotherDeviceIsRefused) {
  FakeCluster cluster({2}, {"host"});
  NcclResults group = CreateNcclGroup(cluster, 1, {.device = 0});
  DeviceMemory wrong(cluster, 0, 1, 8);
  std::vector<std::byte> host(8);
  const absl::Span<const std::byte> send[] = {wrong.bytes()};
  const absl::Span<std::byte> receive[] = {absl::MakeSpan(host)};
  const absl::Status status = (*group[0])->Exchange(send, receive);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("on device 1, but this communicator uses device 0"));
}

// One group an exchange: all receives and sends in it, then the copy back to the host.
TEST(NcclCommunicator, CallsOfAnExchangeComeInOrder) {
  FakeCluster cluster(3);
  NcclResults group = CreateNcclGroup(cluster, 3);
  OnAllRanks(3, [&](int r) {
    std::vector<std::byte> out(200), in(200);
    std::vector<absl::Span<const std::byte>> send(3, absl::MakeConstSpan(out).first(100));
    std::vector<absl::Span<std::byte>> receive = {
        absl::MakeSpan(in).first(100), absl::MakeSpan(in).first(100), absl::MakeSpan(in).last(100)};
    send[static_cast<size_t>(r)] = {};
    receive[static_cast<size_t>(r)] = {};
    ASSERT_TRUE((*group[static_cast<size_t>(r)])->Exchange(send, receive).ok());
  });
  CloseAll(group);
  EXPECT_THAT(cluster.Trace(1),
              ElementsAre("Copy 256", "GroupStart", "Receive 0 100", "Receive 2 100", "Send 2 100",
                          "Send 0 100", "GroupEnd", "Copy 256", "Finalize", "Destroy"));
}

TEST(NcclCommunicator, RanksTakeTheDevicesOfTheirHostInOrder) {
  FakeCluster cluster({2, 2, 2, 2}, {"a", "b", "a", "b"});
  NcclResults group = CreateNcclGroup(
      cluster, 4, [](int r) { return NcclOptions{.host = r % 2 == 0 ? "a" : "b"}; });
  for (const auto& member : group) ASSERT_TRUE(member.ok()) << member.status();
  for (int r : {0, 1}) EXPECT_THAT(cluster.DevicesOfCommunicators(r), ElementsAre(0));
  for (int r : {2, 3}) EXPECT_THAT(cluster.DevicesOfCommunicators(r), ElementsAre(1));
  CloseAll(group);
}

TEST(NcclCommunicator, AnyThreadMayCallAndKeepsItsOwnDevice) {
  FakeCluster cluster(2);
  NcclResults group = CreateNcclGroup(cluster, 2);  // on threads that have ended
  OnAllRanks(2, [&](int r) {
    const std::shared_ptr<DeviceApi> device = cluster.Runtime(r).device;
    ASSERT_TRUE(device->Select(1 - r).ok());
    float value = 1;
    ASSERT_TRUE((*group[static_cast<size_t>(r)])
                    ->AllReduce(MutableBuffer::Of(absl::MakeSpan(&value, 1)), ReduceOp::kSum)
                    .ok());
    EXPECT_EQ(value, 2);
    EXPECT_EQ(*device->Selected(), 1 - r);
    group[static_cast<size_t>(r)]->reset();
    EXPECT_EQ(*device->Selected(), 1 - r);
  });
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

TEST(NcclCommunicator, ADuplicateWorksOnAnotherThreadAtTheSameTime) {
  FakeCluster cluster(3);
  NcclResults group = CreateNcclGroup(cluster, 3);
  NcclResults copies(3);
  OnAllRanks(3, [&](int r) {
    copies[static_cast<size_t>(r)] = (*group[static_cast<size_t>(r)])->Duplicate();
  });
  const auto sum_often = [](Communicator& comm) {
    for (int i = 0; i < 50; ++i) {
      std::vector<int32_t> values(1000, comm.rank());
      ASSERT_TRUE(comm.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum).ok());
      for (int32_t value : values) ASSERT_EQ(value, 3);
    }
  };
  OnAllRanks(6, [&](int i) { sum_often(**(i < 3 ? group : copies)[static_cast<size_t>(i % 3)]); });
  CloseAll(copies);
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

}  // namespace
}  // namespace ds
