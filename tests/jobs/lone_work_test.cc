// What rank 0 does alone may take longer than any rank waits for another in a collective.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/time/clock.h"
#include "comm/inprocess/inprocess.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "jobs/train/train_job.h"
#include "tests/jobs/small_train_job.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::Contains;

constexpr absl::Duration kTimeout = absl::Seconds(3);
constexpr absl::Duration kLong = absl::Milliseconds(4500);

// The whole job on two ranks; rank 0 dwells on the works named in `slow`. All its lone works.
std::vector<std::string> RunWithSlowRankZero(const TrainConfig& config,
                                             const std::vector<std::string>& slow,
                                             std::vector<absl::Status>* ends) {
  const TempFolder folder;
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  std::vector<std::string> works;
  std::vector<std::thread> threads;
  ends->resize(group.size());
  for (size_t r = 0; r < group.size(); ++r) {
    threads.emplace_back([&, r] {
      group[r]->set_timeout(kTimeout);
      TrainConfig mine = config;
      mine.run.output = folder.path();
      TrainJobOptions options;
      options.print = false;
      options.before_lone_work = [&, r](absl::string_view what) {
        EXPECT_EQ(r, 0u) << what;
        works.emplace_back(what);
        for (const std::string& name : slow) {
          if (name == what) absl::SleepFor(kLong);
        }
      };
      (*ends)[r] = RunTrainJob(mine, options, *group[r]).status();
      group[r].reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return works;
}

TEST(LoneWork, OfRankZeroIsWaitedForThroughoutARun) {
  TrainConfig config = SmallTrainConfig(/*epochs=*/1, /*size=*/64);
  config.checkpoint.enabled = true;
  config.quantization.mode = "ptq";
  config.quantization.quantizer.samples = 32;
  const std::vector<std::string> slow = {"write the best model", "write the quantised files"};
  std::vector<absl::Status> ends;
  const std::vector<std::string> works = RunWithSlowRankZero(config, slow, &ends);
  for (const absl::Status& status : ends) EXPECT_TRUE(status.ok()) << status;
  for (const std::string& name : slow) EXPECT_THAT(works, Contains(name));
}

// An error of such work reaches all, with its words, long before a deadline.
TEST(LoneWork, ThatFailsEndsTheRunOnAllRanks) {
  TrainConfig config = SmallTrainConfig(/*epochs=*/1, /*size=*/64);
  config.model.name = "resnet8";
  config.run.name = std::string(300, 'x');  // longer than a file's name may be
  std::vector<absl::Status> ends;
  RunWithSlowRankZero(config, {}, &ends);
  EXPECT_FALSE(ends[0].ok());
  EXPECT_EQ(ends[1].code(), absl::StatusCode::kAborted) << ends[1];
  EXPECT_THAT(std::string(ends[1].message()),
              ::testing::HasSubstr("rank 0 could not open the run's folder"));
}

}  // namespace
}  // namespace ds
