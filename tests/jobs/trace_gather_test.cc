#include "jobs/train/trace_gather.h"

#include <thread>

#include "comm/inprocess/inprocess.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// What each of `world` ranks gets; rank r brings `r % 3` spans that start at 500 + 10 r.
std::vector<std::vector<std::string>> Gather(int world) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::vector<std::string>> gathered(group.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      const size_t i = static_cast<size_t>(rank);
      const std::vector<TraceSpan> spans(
          i % 3, {"bucket 0", "exchange", 500 + 10 * rank, 600 + 10 * rank});
      const absl::StatusOr<std::vector<std::string>> parts = GatherTraces(spans, *group[i]);
      ASSERT_TRUE(parts.ok()) << parts.status();
      gathered[i] = *parts;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return gathered;
}

TEST(GatherTraces, RankZeroGetsThoseOfTheFirstRanks) {
  for (int world : {1, 2, 3, 5, 11}) {
    const std::vector<std::vector<std::string>> gathered = Gather(world);
    ASSERT_THAT(gathered[0], SizeIs(std::min(world, kTracedRanks)));
    for (int rank = 0; rank < static_cast<int>(gathered[0].size()); ++rank) {
      int spans = 0;
      for (const auto& event :
           nlohmann::json::parse("[" + gathered[0][static_cast<size_t>(rank)] + "]")) {
        EXPECT_EQ(event["pid"], rank);
        if (event["ph"] != "X") continue;
        ++spans;
        EXPECT_EQ(event["ts"], 10 * (rank - 1))
            << "rank 1 has the first span of all, and all share one clock";
        EXPECT_EQ(event["dur"], 100);
      }
      EXPECT_EQ(spans, rank % 3);
    }
    for (size_t rank = 1; rank < gathered.size(); ++rank) EXPECT_THAT(gathered[rank], IsEmpty());
  }
}

}  // namespace
}  // namespace ds
