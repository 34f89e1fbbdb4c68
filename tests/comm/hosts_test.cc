#include "comm/hosts.h"

#include <string>
#include <vector>

#include "base/cpu/available_cores.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

constexpr char kBootId[] = "proc/sys/kernel/random/boot_id";

// The fault: "localhost" is the name of many machines, and containers of one machine have many
// names.
TEST(ThisHost, IsToldByItsBootNotByItsName) {
  const TempFolder a, b, none, machine;
  a.Write(kBootId, "39e7c3e9-bf0e\n");
  b.Write(kBootId, "a479f440-391b\n");
  const HostIdentity first = ThisHost(a.path()), second = ThisHost(b.path());
  EXPECT_EQ(first.id, "39e7c3e9-bf0e");
  EXPECT_NE(first.id, second.id) << "one name, two machines";
  EXPECT_EQ(first.name, second.name);
  // Without boot ids: the machine's own, and the name.
  machine.Write("etc/machine-id", "c87f\n");
  EXPECT_EQ(ThisHost(machine.path()).id, "c87f " + first.name);
  EXPECT_EQ(ThisHost(none.path()).id, " " + first.name);
  EXPECT_EQ(ThisHost().id, ThisHost().id);
}

TEST(HostOfRank, IsTheLowestRankOfTheSameMachine) {
  // Of any length: nothing is cut off.
  const std::string longest(1000, 'b');
  const std::vector<std::string> hosts = {longest, "a", longest, longest + "c", "a"};
  const int wanted[] = {0, 1, 0, 3, 1};
  OnEveryRank(5, [&](Communicator& communicator) {
    const size_t me = static_cast<size_t>(communicator.rank());
    const auto host = HostOfRank(communicator, hosts[me]);
    ASSERT_TRUE(host.ok());
    EXPECT_EQ(*host, wanted[me]);
    const auto here = HostOfRank(communicator);
    ASSERT_TRUE(here.ok());
    EXPECT_EQ(*here, 0) << "threads of one process live on one host";
  });
}

TEST(CoresOfRank, AreDividedAmongTheRanksOfAMachine) {
  const int cores = AvailableCores();
  for (const int ranks : {1, 2, 3}) {
    OnEveryRank(ranks, [&](Communicator& communicator) {
      const auto mine = CoresOfRank(communicator);
      ASSERT_TRUE(mine.ok()) << mine.status();
      EXPECT_GE(*mine, 1);
      EXPECT_LE(*mine, std::max(1, cores / ranks + (cores % ranks != 0 ? 1 : 0)));
    });
  }
}

}  // namespace
}  // namespace ds
