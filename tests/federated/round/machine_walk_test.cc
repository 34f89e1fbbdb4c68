// Random walks: sites that come, go, commit and fall silent at random, and records that cannot
// follow thrown in. Whatever happens, the run ends, and its log keeps the rules.
#include <gmock/gmock.h>

#include <deque>
#include <map>
#include <random>

#include "federated/round/round_machine.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {
namespace {

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed), driver_(Offer(), {.first_sites = absl::Hours(1)}) {}

  void Run() {
    for (int step = 0; step < 20000 && driver_.machine().stage() != Stage::kEnded; ++step) {
      driver_.Run();
      if (::testing::Test::HasFatalFailure()) return;
      Step();
    }
    EXPECT_EQ(driver_.machine().stage(), Stage::kEnded) << "the run does not end";
    CheckLog();
    EXPECT_EQ(driver_.Replayed().version(), driver_.machine().version());
    EXPECT_EQ(driver_.Replayed().last_reason(), driver_.machine().last_reason());
  }

  int64_t planned_on_beside = 0;  // set-ups that were begun beside a round

 private:
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }
  RunOffer Offer() {
    RunOffer offer = TestOffer(1 + Below(5));
    RoundOptions& round = offer.options.round;
    round.minimum = 1 + Below(4);
    round.wait_for = round.minimum + Below(2);
    round.goal = Below(2) == 0 ? 0 : round.minimum + Below(2);
    round.spare = Below(2);
    round.deadline_s = 10;
    round.unmask_deadline_s = 5;
    const char* modes[] = {"off", "on", "strict"};
    offer.options.secure.mode = modes[Below(3)];
    offer.options.secure.rounds_a_setup = 1 + Below(3);
    if (offer.options.secure.mode == "off" && Below(3) == 0) {
      offer.options.strategy.name = "fedbuff";
      offer.options.strategy.buffer = 1 + Below(4);
      offer.options.strategy.max_staleness = Below(3);
    }
    return offer;
  }

  // The first `sites` give what secure aggregation asks for now: chance alone seldom has all of it.
  void GiveAll(int64_t sites) {
    for (int step = 0; step < 4; ++step) {
      for (int64_t i = 0; i < sites; ++i) {
        static_cast<void>(driver_.Give(static_cast<SecureStep>(step), SiteName(i)));
      }
      driver_.Run();
    }
  }

  // Most of what is tried cannot be; what can, happens.
  void Step() {
    const std::string site = SiteName(Below(6));
    const int64_t round = driver_.machine().round().round;
    switch (Below(15)) {
      case 0:
        static_cast<void>(driver_.Apply(SiteJoined{site, Below(100)}));
        break;
      case 1:
        driver_.present().erase(site);
        break;
      case 2:
      case 3:
        driver_.present().insert(site);
        break;
      case 4:
        driver_.Pass(absl::Milliseconds(Below(4000)));
        break;
      case 5:
      case 6:
      case 7:
        static_cast<void>(driver_.Commit(site));
        break;
      case 8:
        static_cast<void>(driver_.Apply(SurvivorsFixed{round - Below(2), {site}}));
        break;
      case 9:
        static_cast<void>(driver_.Apply(AnswersClosed{round}));
        break;
      case 10:
        if (driver_.machine().stage() == Stage::kPublish) driver_.Publish();
        break;
      case 11:
        static_cast<void>(driver_.Apply(RoundPublished{round,
                                                       driver_.machine().version() + Below(3),
                                                       {.digest = TestDigest(1), .size = 1},
                                                       TestDigest(2)}));
        break;
      case 12:
        GiveAll(Below(4) > 0 ? 6 : Below(6));
        break;
      default:
        static_cast<void>(driver_.Give(static_cast<SecureStep>(Below(4)), site));
    }
  }

  void CheckLog() {
    int64_t version = 0, ends = 0;
    const bool buffered = driver_.machine().asynchronous();
    std::deque<int64_t> waiting;  // base versions
    std::map<int64_t, int> survivor_sets;
    std::set<std::pair<std::string, int64_t>> updates;
    std::set<std::pair<int64_t, int64_t>> masks;
    std::set<int64_t> ready, beside;  // set-ups
    int64_t epoch = -1;
    bool training = false;
    for (const Record& record : driver_.log()) {
      if (const auto* fixed = std::get_if<SurvivorsFixed>(&record)) {
        EXPECT_EQ(++survivor_sets[fixed->round], 1) << "two survivor sets for a round";
      } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
        EXPECT_TRUE(updates.emplace(update->site, update->round).second) << "counted twice";
        waiting.push_back(update->base_version);
      } else if (const auto* published = std::get_if<RoundPublished>(&record)) {
        EXPECT_EQ(published->version, ++version);
        EXPECT_EQ(survivor_sets[published->round], 1) << "published without survivors";
        for (int64_t i = 0; buffered && i < driver_.machine().options().strategy.buffer; ++i) {
          EXPECT_LE(version - 1 - waiting.front(),
                    driver_.machine().options().strategy.max_staleness);
          waiting.pop_front();
        }
      } else if (const auto* plan = std::get_if<RoundPlanned>(&record)) {
        training = true;
        if (plan->secure_epoch >= 0) {
          EXPECT_TRUE(ready.contains(plan->secure_epoch)) << "planned on an unfinished set-up";
          EXPECT_GE(plan->secure_epoch, epoch) << "planned on an old set-up";
          planned_on_beside += plan->secure_epoch > epoch && beside.contains(plan->secure_epoch);
          epoch = plan->secure_epoch;
          EXPECT_TRUE(masks.emplace(plan->secure_epoch, plan->secure_index).second)
              << "masks used twice";
        }
      }
      if (const auto* started = std::get_if<SetupStarted>(&record)) {
        if (training) beside.insert(started->epoch);
      } else if (const auto* closed = std::get_if<SharesClosed>(&record)) {
        ready.insert(closed->epoch);
      }
      if (std::holds_alternative<SurvivorsFixed>(record) ||
          std::holds_alternative<RoundAbandoned>(record)) {
        training = false;
      }
      ends += std::holds_alternative<RunEnded>(record);
    }
    EXPECT_EQ(ends, 1);
  }

  std::mt19937_64 random_;
  MachineDriver driver_;
};

TEST(RoundMachineWalk, EveryRunEndsAndItsLogKeepsTheRules) {
  int64_t planned_on_beside = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Walk walk(seed);
    walk.Run();
    if (HasFatalFailure()) return;
    planned_on_beside += walk.planned_on_beside;
  }
  EXPECT_GT(planned_on_beside, 20) << "the walks should come by here";
}

}  // namespace
}  // namespace ds::federated
