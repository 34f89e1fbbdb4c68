// A run's digests on every instruction set: the same, for all parties must agree. Each set has a
// process of its own, since a program chooses its kernels once; this one's parent chooses none.
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/cpu/cpu_limit.h"
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
}

}  // namespace
}  // namespace ds::federated
