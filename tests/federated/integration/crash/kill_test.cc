// The two kills that end a federation elsewhere: of the server in its third round, and of a site.
// In one process, on a disk in memory; and processes that are really killed, on files.
//
//   federated_kill_test --federation FOLDER     a whole federation; prints "open", then its model
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hash/sha256.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/federated/integration/crash/crash_world.h"
#include "tests/support/sanitized.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

constexpr int kSites = 4;
constexpr int64_t kRounds = 5;
constexpr char kModelFile[] = "the model's file";

RunOptions Options() {
  RunOptions options;
  options.round.rounds = kRounds;
  options.round.wait_for = options.round.minimum = kSites;
  options.update.bits = 4;
  options.secure.mode = "on";
  return options;
}

TEST(Kill, TheServerInItsThirdRoundAndTheRunGoesOnToTheSameModel) {
  CrashWorld sound(kSites, Options());
  const WorldOutcome undisturbed = sound.Run({});
  ASSERT_TRUE(undisturbed.log.ok()) << undisturbed.log.status();
  // Planned, with no update yet; with some; with all, and its survivors fixed; published.
  for (const char* entry :
       {"{\"type\":\"round_planned\",\"round\":2,", "{\"type\":\"update_committed\",\"round\":2,",
        "{\"type\":\"survivors_fixed\",\"round\":2,",
        "{\"type\":\"round_published\",\"round\":2,"}) {
    SCOPED_TRACE(entry);
    CrashWorld world(kSites, Options());
    Troubles troubles;
    troubles.aggregator.push_back({.entry = entry, .power = true});
    const WorldOutcome outcome = world.Run(troubles);
    ASSERT_TRUE(outcome.log.ok()) << outcome.log.status();
    EXPECT_EQ(outcome.lives, 2);
    EXPECT_EQ(outcome.log->end, EndState::kFinished) << outcome.log->reason;
    EXPECT_EQ(outcome.log->versions, kRounds);
    EXPECT_EQ(outcome.log->abandoned, 0);
    EXPECT_EQ(outcome.log->model_digest, undisturbed.log->model_digest);
    EXPECT_LT(outcome.slowest_return, kTimesSlower * absl::Seconds(2));
    for (const auto& report : outcome.reports) {
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->model_digest, undisturbed.log->model_digest);
    }
  }
}

// The round costs its deadline, once; the next ones do not wait for the dead.
TEST(Kill, ASiteAndTheOthersGoOnWithoutIt) {
  RunOptions options = Options();
  options.round.minimum = 3;
  options.round.deadline_s = options.round.unmask_deadline_s = 1.5;
  for (const int at : {12, 18, 24}) {
    SCOPED_TRACE(absl::StrCat("at its step ", at));
    CrashWorld world(kSites, options);
    world.limits().comes_back = absl::Milliseconds(300);
    Troubles troubles;
    troubles.sites.push_back({.site = 1, .at = at, .comes_back = false});
    const absl::Duration begun = SteadyTime();
    WorldOutcome outcome = world.Run(troubles);
    const absl::Duration took = SteadyTime() - begun;
    ASSERT_TRUE(outcome.log.ok()) << outcome.log.status();
    EXPECT_EQ(outcome.log->end, EndState::kFinished) << outcome.log->reason;
    EXPECT_EQ(outcome.log->versions, kRounds);
    EXPECT_LT(outcome.log->counted["site-1"], kRounds);
    for (const char* site : {"site-0", "site-2", "site-3"})
      EXPECT_GE(outcome.log->counted[site], kRounds - 1) << site;
    // One deadline of the round, one of its unmasking or of a set-up, and the rounds themselves.
    EXPECT_LT(took, kTimesSlower * absl::Seconds(9));
  }
}

// All of it in this process, on files: what is left where it is killed is what it goes on with.
int RunFederation(const std::string& folder) {
  RunOffer offer;
  offer.run = "run-1";
  offer.name = "a test";
  offer.task = "{}";
  offer.model = Sha256Hex(kModelFile);
  offer.options = Options();
  VirtualProblem problem;
  problem.parameters = 40;
  const auto authority = std::make_shared<const TestAuthority>();
  auto store = OpenFileStore(folder + "/aggregator");
  DS_CHECK(store.ok()) << store.status();
  const auto put =
      PutBlob(**store, {reinterpret_cast<const std::byte*>(kModelFile), sizeof(kModelFile) - 1});
  DS_CHECK(put.ok()) << put.status();
  const TempFolder scratch;
  AggregatorOptions options;
  options.offer = offer;
  options.initial = [&]() -> absl::StatusOr<InitialModel> {
    const LocalModel model = VirtualModel(problem);
    return InitialModel{model.layout, model.weights};
  };
  options.identity = std::make_shared<TestIdentity>("aggregator", authority);
  options.scratch = scratch.path();
  options.limits.comes_back = absl::Seconds(30);
  options.snapshot_every = 2;
  options.inline_bytes = 40;
  auto aggregator = Aggregator::Open(options, std::shared_ptr<Store>(*std::move(store)));
  DS_CHECK(aggregator.ok()) << aggregator.status();
  std::printf("open\n");
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (int i = 0; i < kSites; ++i) {
    threads.emplace_back([&, i] {
      const std::string site = absl::StrCat("site-", i), home = folder + "/" + site;
      InProcessClient client(**aggregator, {.site = site, .role = "site", .serial = site}, 64);
      auto files = SiteFiles::Open(home + "/files");
      auto vault = OpenFileVault(home + "/vault");
      DS_CHECK(files.ok() && vault.ok()) << files.status() << vault.status();
      const auto trainer =
          MakeSlowTrainer(MakeVirtualTrainer(problem, site), absl::Milliseconds(20));
      const AgentParts parts = {.client = &client,
                                .trainer = trainer.get(),
                                .files = files->get(),
                                .vault = *std::move(vault),
                                .identity = std::make_shared<TestIdentity>(site, authority)};
      const auto report = RunAgent(SiteHome::Quick(), parts, nullptr);
      DS_CHECK(report.ok()) << site << ": " << report.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto ended = (*aggregator)->WaitForEnd(absl::Seconds(20));
  DS_CHECK(ended.ok()) << ended.status();
  const auto report = (*aggregator)->Report();
  DS_CHECK(report.ok()) << report.status();
  std::printf("%s version %d\n", report->model_digest.c_str(), static_cast<int>(report->version));
  return ended->state == EndState::kFinished ? 0 : 1;
}

struct Child {
  bool was_killed = false;
  int exit_code = -1;
  std::string said;
  absl::Duration opened;  // from its start to "open"
};

// Runs this program as a federation, and kills it after `life`.
Child Live(const std::string& folder, absl::Duration life) {
  int pipe_ends[2];
  DS_CHECK(pipe(pipe_ends) == 0);
  Child child;
  const absl::Duration begun = SteadyTime();
  const pid_t pid = fork();
  DS_CHECK(pid >= 0);
  if (pid == 0) {
    dup2(pipe_ends[1], STDOUT_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    execl("/proc/self/exe", "federated_kill_test", "--federation", folder.c_str(), nullptr);
    _exit(127);
  }
  close(pipe_ends[1]);
  std::thread killer;
  std::atomic<bool> done = false;
  killer = std::thread([&] {
    const Deadline deadline = Deadline::In(life);
    while (!done && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(1));
    if (!done) kill(pid, SIGKILL);
  });
  char buffer[256];
  ssize_t count;
  while ((count = read(pipe_ends[0], buffer, sizeof(buffer))) > 0) {
    child.said.append(buffer, static_cast<size_t>(count));
    if (child.opened == absl::ZeroDuration()) child.opened = SteadyTime() - begun;
  }
  close(pipe_ends[0]);
  int status = 0;
  DS_CHECK(waitpid(pid, &status, 0) == pid);
  done = true;
  killer.join();
  child.was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (WIFEXITED(status)) child.exit_code = WEXITSTATUS(status);
  return child;
}

TEST(Kill, AFederationOnFilesIsReallyKilledAgainAndAgain) {
  const TempFolder sound, killed;
  const Child undisturbed = Live(sound.path(), absl::Seconds(60));
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.said;
  ASSERT_TRUE(absl::StrContains(undisturbed.said, absl::StrCat("version ", kRounds)));
  CounterRandom random(7);
  int kills = 0;
  Child child;
  absl::Duration slowest;
  // Each life may be longer than the one before, so that the run ends.
  for (int life = 0; life < 60; ++life) {
    child = Live(killed.path(), absl::Milliseconds(15 + 12 * life + random.NextBelow(60)));
    if (!child.said.empty()) slowest = std::max(slowest, child.opened);
    if (!child.was_killed) break;
    ++kills;
  }
  std::printf("%d kills, open again within %.0f ms\n", kills, absl::ToDoubleMilliseconds(slowest));
  EXPECT_EQ(child.exit_code, 0) << child.said;
  EXPECT_EQ(child.said, undisturbed.said);
  EXPECT_GE(kills, 3);
  EXPECT_LT(slowest, kTimesSlower * absl::Seconds(2));
}

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) {
  if (argc == 3 && argv[1] == std::string("--federation"))
    return ds::federated::RunFederation(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
