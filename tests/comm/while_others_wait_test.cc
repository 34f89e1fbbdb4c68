#include "comm/while_others_wait.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/nccl/nccl_group.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kTimeout = absl::Milliseconds(400);
// Long beyond the deadline of any single call.
constexpr absl::Duration kLong = absl::Seconds(2);

using Group = std::vector<std::unique_ptr<Communicator>>;

Group ImpatientGroup(int ranks) {
  Group group = CreateInProcessGroup(ranks);
  for (std::unique_ptr<Communicator>& communicator : group) communicator->set_timeout(kTimeout);
  return group;
}

absl::Status Sleep(absl::Duration time) {
  absl::SleepFor(time);
  return absl::OkStatus();
}

// What this is for: without it, the others' next collective gives up.
TEST(WhileOthersWait, ACollectiveAloneGivesUpOnARankThatWorks) {
  Group group = ImpatientGroup(2);
  OnAllRanks(2, [&](int r) {
    Communicator& mine = *group[static_cast<size_t>(r)];
    if (r == 0) absl::SleepFor(kLong);
    EXPECT_FALSE(mine.Barrier().ok());
  });
}

TEST(WhileOthersWait, WorkMayTakeLongerThanAnyDeadline) {
  for (const int worker : {0, 2}) {
    Group group = ImpatientGroup(3);
    OnAllRanks(3, [&](int r) {
      Communicator& mine = *group[static_cast<size_t>(r)];
      const absl::Duration start = SteadyTime();
      int worked = 0;
      const absl::Status status = WhileOthersWait(mine, worker, "sleep", [&] {
        ++worked;
        return Sleep(kLong);
      });
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(worked, r == worker ? 1 : 0);
      EXPECT_GE(SteadyTime() - start, kLong * 0.9);
      // The communicator is as it was.
      EXPECT_EQ(mine.timeout(), kTimeout);
      EXPECT_TRUE(mine.Barrier().ok());
    });
  }
}

TEST(WhileOthersWait, EveryRankMayWorkAtItsOwnPace) {
  Group group = ImpatientGroup(3);
  OnAllRanks(3, [&](int r) {
    const absl::Status status = WorkAtOwnPace(*group[static_cast<size_t>(r)], "sleep",
                                              [&] { return Sleep(r * kLong / 2); });
    EXPECT_TRUE(status.ok()) << status;
  });
}

TEST(WhileOthersWait, ShortWorkIsNotHeldUp) {
  Group group = CreateInProcessGroup(3);
  OnAllRanks(3, [&](int r) {
    const absl::Duration start = SteadyTime();
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(WhileOthersWait(*group[static_cast<size_t>(r)], i % 3, "do nothing", [] {
                    return absl::OkStatus();
                  }).ok());
    }
    EXPECT_LT(SteadyTime() - start, absl::Seconds(5));
  });
}

TEST(WhileOthersWait, AnErrorIsTheWorkersOwnAndAbortsTheOthers) {
  Group group = ImpatientGroup(3);
  OnAllRanks(3, [&](int r) {
    Communicator& mine = *group[static_cast<size_t>(r)];
    absl::Status status = WhileOthersWait(mine, 1, "write the model",
                                          [] { return absl::NotFoundError("no such folder"); });
    EXPECT_EQ(status.code(), r == 1 ? absl::StatusCode::kNotFound : absl::StatusCode::kAborted);
    EXPECT_EQ(status.message(),
              r == 1 ? "no such folder" : "rank 1 could not write the model: no such folder");
    // Of several, the first is told of; each keeps its own.
    status = WorkAtOwnPace(mine, "open the data", [&]() -> absl::Status {
      if (r == 0) return absl::OkStatus();
      return absl::DataLossError(absl::StrCat("torn on ", r));
    });
    EXPECT_EQ(status.message(),
              r == 0 ? "rank 1 could not open the data: torn on 1" : absl::StrCat("torn on ", r));
    EXPECT_TRUE(mine.Barrier().ok());
  });
}

// Its communicator goes with it, as a process's connections do.
TEST(WhileOthersWait, AWorkerThatDiesIsAnErrorAtOnceAndNamed) {
  Group group = CreateInProcessGroup(3);
  OnAllRanks(3, [&](int r) {
    std::unique_ptr<Communicator>& mine = group[static_cast<size_t>(r)];
    const absl::Duration start = SteadyTime();
    if (r == 0) {
      // Comes, beats a while, and is gone.
      for (int i = 0; i < 5; ++i) {
        const std::vector<std::byte> beat(1);
        std::vector<std::byte> all(3);
        ASSERT_TRUE(mine->AllGather(beat, absl::MakeSpan(all)).ok());
      }
      mine.reset();
      return;
    }
    const absl::Status status = WhileOthersWait(*mine, 0, "export the model", [] {
      ADD_FAILURE() << "it is not this rank's work";
      return absl::OkStatus();
    });
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("while rank 0 was to export the model"));
    EXPECT_LT(SteadyTime() - start, absl::Seconds(10)) << "the deadline is ten minutes";
    mine.reset();
  });
}

TEST(WhileOthersWait, AWorkerWithoutBeatsIsGivenUp) {
  Group group = ImpatientGroup(2);
  OnAllRanks(2, [&](int r) {
    Communicator& mine = *group[static_cast<size_t>(r)];
    if (r == 0) return;  // stopped: there, but says nothing
    const absl::Duration start = SteadyTime();
    const absl::Status status =
        WhileOthersWait(mine, 0, "export the model", [] { return absl::OkStatus(); });
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0"));
    EXPECT_LT(SteadyTime() - start, kTimeout + absl::Seconds(10));
  });
}

// The worker ends its work, which nobody can stop, and then hears of it.
TEST(WhileOthersWait, ARankThatDiesWaitingIsTheWorkersErrorToo) {
  Group group = CreateInProcessGroup(2);
  OnAllRanks(2, [&](int r) {
    std::unique_ptr<Communicator>& mine = group[static_cast<size_t>(r)];
    if (r == 1) {
      mine.reset();
      return;
    }
    bool worked = false;
    const absl::Status status = WhileOthersWait(*mine, 0, "export the model", [&] {
      worked = true;
      return Sleep(absl::Milliseconds(50));
    });
    EXPECT_TRUE(worked);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  });
}

TEST(WhileOthersWait, OneRankAloneJustWorks) {
  Group group = CreateInProcessGroup(1);
  EXPECT_EQ(WhileOthersWait(*group[0], 0, "fail", [] { return absl::InternalError("own"); }),
            absl::InternalError("own"));
  EXPECT_EQ(WhileOthersWait(*group[0], 1, "be nobody", [] { return absl::OkStatus(); }).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds
