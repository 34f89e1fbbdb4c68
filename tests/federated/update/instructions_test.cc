// A run's digests on every instruction set: the same, for all parties must agree. Each set has a
// process of its own, since a program chooses its kernels once; this one's parent chooses none.
// What they are is written down here, so that another processor's build is held to the same.
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_format.h"
#include "base/cpu/cpu_limit.h"
#include "base/hash/sha256.h"
#include "federated/privacy/noise.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

// Digests of all versions, and what is left at the site.
std::string Rounds(const std::string& strategy, int bits) {
  RunOptions options = Options(bits);
  options.strategy.name = strategy;
  const auto model = Made(options, 3, 100);
  const size_t size = model->weights().size() * (model->control().empty() ? 1 : 2);
  std::vector<std::vector<float>> residuals(3);
  std::string digests;
  for (uint64_t round = 0; round < 3; ++round) {
    std::vector<IntegerVector> updates;
    for (size_t site = 0; site < 3; ++site) {
      updates.push_back(*model->Encode(Noise(size, 0.02f, 10 * round + site),
                                       {.samples = 100 - static_cast<int64_t>(30 * site)},
                                       residuals[site], 1, &residuals[site]));
      digests += std::to_string(residuals[site][17]);
    }
    DS_CHECK(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
    digests += " " + model->digest() + "\n";
  }
  return digests;
}

std::string AllRounds() {
  std::string all;
  for (const char* strategy : {"fedavg", "fedadam", "fedyogi", "scaffold"})
    for (const int bits : {1, 4, 16}) all += Rounds(strategy, bits);
  return all;
}

// In a child that knows `level` alone.
std::string OnLevel(const char* level) {
  int ends[2];
  DS_CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  DS_CHECK(child >= 0);
  if (child == 0) {
    close(ends[0]);
    DS_CHECK(LimitCpu(level).ok());
    const std::string all = AllRounds();
    const bool written = write(ends[1], all.data(), all.size()) == static_cast<ssize_t>(all.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string all(1 << 16, '\0');
  size_t size = 0;
  for (ssize_t got; (got = read(ends[0], all.data() + size, all.size() - size)) > 0;)
    size += static_cast<size_t>(got);
  close(ends[0]);
  all.resize(size);
  int status = 0;
  DS_CHECK(waitpid(child, &status, 0) == child);
  EXPECT_EQ(status, 0) << level;
  return all;
}

TEST(FederatedInstructionsTest, DigestsAreTheSameOnEverySet) {
  const std::string baseline = OnLevel("baseline");
  EXPECT_EQ(std::count(baseline.begin(), baseline.end(), '\n'), 36);
  for (const char* level : {"avx2", "avx512", "auto"}) EXPECT_EQ(OnLevel(level), baseline) << level;
  EXPECT_EQ(Sha256Hex(baseline),
            "9e179a1eef3950be1b512e2c6348a99ad0dda8de20b163c8b8faea7729943f93");
}

// All parties wrap a noisy sum at the same bound, which follows from these.
TEST(FederatedInstructionsTest, NoiseIsPlannedAlikeOnEveryProcessor) {
  std::string plans;
  for (int i = 1; i < 2000; ++i) {
    NoiseRequest request{.mechanism = i % 2 == 0 ? "skellam" : "discrete_gaussian",
                         .noise_multiplier = (100 + 3 * i) / 1000.0,
                         .sensitivity = RoundedNorm(37 * i / 100.0, 64 + 8 * i),
                         .minimum_sites = 1 + i % 7,
                         .maximum_sites = 8 + i % 50};
    const auto plan = PlanNoise(request);
    absl::StrAppendFormat(&plans, "%a ", request.sensitivity);
    if (plan.ok()) absl::StrAppendFormat(&plans, "%a %d\n", plan->variance, plan->bound);
  }
  EXPECT_EQ(Sha256Hex(plans), "8481bacf7eb9c1b3fdec72118e1e46ee1d490c6b419e57e401c0b12903bb6ca7");
}

}  // namespace
}  // namespace ds::federated
