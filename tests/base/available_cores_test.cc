#include "base/cpu/available_cores.h"

#include <sched.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

// A system as the files under a folder tell of it.
class Cgroups : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    folder_.Write(path.substr(1), text);
  }
  void Process(const std::string& groups, const std::string& mounts) {
    Write("/proc/self/cgroup", groups);
    Write("/proc/self/mountinfo", mounts);
  }
  double Cores() {
    const std::optional<CpuQuota> quota = ReadCpuQuota(folder_.path());
    return quota.has_value() ? quota->cores : 0;
  }

  TempFolder folder_;
};

constexpr char kV2Mount[] =
    "22 1 0:5 / /proc rw - proc proc rw\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kV1Mount[] =
    "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw master:7 - cgroup cgroup rw,cpu,cpuacct\n";

TEST_F(Cgroups, WithoutAnyThereIsNoQuota) {
  EXPECT_FALSE(ReadCpuQuota(folder_.path()).has_value());
  Process("0::/\n", kV2Mount);
  EXPECT_EQ(Cores(), 0);
  Write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(Cores(), 0);
}

TEST_F(Cgroups, OfTheSecondVersionAQuotaIsInCpuMax) {
  Process("0::/user/job\n", kV2Mount);
  Write("/sys/fs/cgroup/user/job/cpu.max", "250000 100000\n");
  EXPECT_EQ(Cores(), 2.5);
}

TEST_F(Cgroups, TheTightestOfAllAncestorsCounts) {
  Process("0::/a/b/c\n", kV2Mount);
  Write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  Write("/sys/fs/cgroup/a/cpu.max", "150000 50000\n");
  EXPECT_EQ(Cores(), 3);
}

TEST_F(Cgroups, OfTheFirstVersionAQuotaIsInTwoFiles) {
  Process("5:memory:/job\n4:cpu,cpuacct:/job\n0::/\n", kV1Mount);
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Cores(), 0);
  Write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(Cores(), 2);
}

// A container that sees the host's names, but has its own group mounted as the root.
TEST_F(Cgroups, AContainersOwnMountIsItsGroup) {
  Process("4:cpu:/docker/abc\n",
          "32 30 0:28 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Cores(), 3);
  // And one whose namespace does not reach to where its process is.
  Process("0::/../../elsewhere\n", kV2Mount);
  Write("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(Cores(), 1);
}

TEST_F(Cgroups, ProcessesOfOneGroupAreToldFromOthers) {
  const auto group_of = [&](const std::string& path) {
    Process("0::" + path + "\n", kV2Mount);
    Write("/sys/fs/cgroup" + path + "/cpu.max", "200000 100000\n");
    return ReadCpuQuota(folder_.path())->group;
  };
  const uint64_t a = group_of("/a"), b = group_of("/b");
  EXPECT_NE(a, b);
  EXPECT_EQ(a, group_of("/a"));
}

TEST_F(Cgroups, NonsenseIsNoQuota) {
  Process("0::/a\nnonsense\n4\n", std::string("nonsense\n1 2 - \n") + kV2Mount);
  for (const char* text :
       {"", "100000", "0 100000", "-5 100000", "100000 0", "many 100000", "nan 1"}) {
    Write("/sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(Cores(), 0) << text;
  }
}

// The fault: 64 cores in the mask, two by quota.
TEST(AvailableCores, AreThoseOfTheQuotaWhereItIsLess) {
  EXPECT_EQ(AvailableCores(64, CpuQuota{2.0, 1}), 2);
  EXPECT_EQ(AvailableCores(64, CpuQuota{2.9, 1}), 2);
  EXPECT_EQ(AvailableCores(64, CpuQuota{0.5, 1}), 1);
  EXPECT_EQ(AvailableCores(4, CpuQuota{8, 1}), 4);
  EXPECT_EQ(AvailableCores(4, std::nullopt), 4);
}

TEST(AvailableCores, FollowTheAffinityMask) {
  const int before = AvailableCores();
  ASSERT_GE(before, 1);
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(AvailableCores(), 1);
  const CoreClaim claim = ThisProcessCores();
  ASSERT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
  EXPECT_EQ(AvailableCores(), before);
  EXPECT_EQ(claim.mask[static_cast<size_t>(first) / 64], uint64_t{1} << (first % 64));
}

CoreClaim Claim(uint64_t cores, double quota = 0, uint64_t group = 0) {
  CoreClaim claim = {.quota_cores = quota, .quota_group = group};
  claim.mask[0] = cores;
  return claim;
}

TEST(ShareOfCores, DividesWhatIsSharedOnly) {
  const std::vector<CoreClaim> free = {Claim(0xff), Claim(0xff)};
  EXPECT_EQ(ShareOfCores(free, 0), 4);
  const std::vector<CoreClaim> bound = {Claim(0x0f), Claim(0xf0)};
  EXPECT_EQ(ShareOfCores(bound, 0), 4);
  EXPECT_EQ(ShareOfCores(bound, 1), 4);
  const std::vector<CoreClaim> overlap = {Claim(0x3), Claim(0xe)};
  EXPECT_EQ(ShareOfCores(overlap, 0), 1.5);
  EXPECT_EQ(ShareOfCores(overlap, 1), 2.5);
}

TEST(ShareOfCores, AQuotaIsDividedAmongThoseUnderIt) {
  const uint64_t all = ~uint64_t{0};
  const std::vector<CoreClaim> one = {Claim(all, 2, 7), Claim(all, 2, 7)};
  EXPECT_EQ(ShareOfCores(one, 0), 1);
  const std::vector<CoreClaim> own = {Claim(all, 2, 7), Claim(all, 3, 8), Claim(all)};
  EXPECT_EQ(ShareOfCores(own, 0), 2);
  EXPECT_EQ(ShareOfCores(own, 1), 3);
  EXPECT_NEAR(ShareOfCores(own, 2), 64.0 / 3, 1e-9);
  const std::vector<CoreClaim> crowded = {Claim(all, 2, 7), Claim(all, 2, 7), Claim(all, 2, 7)};
  EXPECT_LT(ShareOfCores(crowded, 2), 1);
}

}  // namespace
}  // namespace ds
