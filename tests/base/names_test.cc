// Names for people: suggestions, log lines, processor features.
#include <cstdlib>
#include <string>
#include <vector>

#include "base/cpu/cpu_limit.h"
#include "base/edit_distance.h"
#include "base/log.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

TEST(EditDistanceTest, CountsEachKindOfEdit) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("epochs", "epochs"), 0u);
  EXPECT_EQ(EditDistance("epoch", "epochs"), 1u);
  EXPECT_EQ(EditDistance("epochss", "epochs"), 1u);
  EXPECT_EQ(EditDistance("epachs", "epochs"), 1u);
  EXPECT_EQ(EditDistance("epcohs", "epochs"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("sitting", "kitten"), 3u);
  // Restricted: letters that were swapped are not edited again, else this would be 2.
  EXPECT_EQ(EditDistance("ca", "abc"), 3u);
}

TEST(NearestNameTest, FindsWhatWasMeant) {
  const std::vector<std::string> names = {"learning_rate", "momentum", "nesterov", "weight_decay"};
  EXPECT_EQ(NearestName("lerning_rate", names), "learning_rate");
  EXPECT_EQ(NearestName("momentun", names), "momentum");
  EXPECT_EQ(NearestName("weight-decay", names), "weight_decay");
  EXPECT_EQ(NearestName("ab", {"ax", "ay"}), "ax");  // the first of equals
}

TEST(NearestNameTest, IsSilentWhereNothingIsNear) {
  EXPECT_EQ(NearestName("dropout", {"learning_rate", "momentum"}), "");
  EXPECT_EQ(NearestName("", {"momentum"}), "");
  EXPECT_EQ(NearestName("x", {}), "");
  EXPECT_EQ(NearestName(std::string(100'000, 'x'), {std::string(100'000, 'x')}), "");
}

// The log's rank and threshold belong to the process: each test sets both.
std::string Logged(LogLevel threshold, int rank, LogLevel level) {
  SetUpLog(threshold, rank);
  ::testing::internal::CaptureStderr();
  Log(level, "the message");
  return ::testing::internal::GetCapturedStderr();
}

TEST(LogTest, SaysLevelAndRank) {
  EXPECT_EQ(Logged(LogLevel::kInfo, -1, LogLevel::kInfo), "info: the message\n");
  EXPECT_EQ(Logged(LogLevel::kInfo, 0, LogLevel::kWarning), "warning: rank 0: the message\n");
  EXPECT_EQ(Logged(LogLevel::kInfo, 3, LogLevel::kError), "error: rank 3: the message\n");
}

TEST(LogTest, DropsWhatIsBelowTheThreshold) {
  EXPECT_EQ(Logged(LogLevel::kWarning, -1, LogLevel::kInfo), "");
  EXPECT_EQ(Logged(LogLevel::kWarning, -1, LogLevel::kWarning), "warning: the message\n");
  EXPECT_EQ(Logged(LogLevel::kError, -1, LogLevel::kWarning), "");
  EXPECT_EQ(Logged(LogLevel::kError, -1, LogLevel::kError), "error: the message\n");
}

TEST(CpuFeaturesTest, DescribesThemInWords) {
  EXPECT_EQ(Describe(CpuFeatures{}), "baseline");
  EXPECT_EQ(Describe(CpuFeatures{.avx2 = true, .avx512 = true, .amx_bf16 = true}),
            "avx2 avx512 amx_bf16");
  EXPECT_EQ(Describe(CpuFeatures{.neon = true, .neon_dotprod = true}), "neon neon_dotprod");
}

TEST(CpuFeaturesTest, RicherSetsImplyPoorerOnes) {
  const CpuFeatures& cpu = Cpu();
  EXPECT_TRUE(cpu.avx512 || !cpu.avx512_vnni);
  EXPECT_TRUE(cpu.avx512 || !cpu.avx512_bf16);
  EXPECT_TRUE(cpu.neon || !cpu.neon_dotprod);
  EXPECT_FALSE(cpu.avx2 && cpu.neon);
}

TEST(CpuFeaturesTest, ALimitKeepsWhatIsOlder) {
  const CpuFeatures all = {
      .avx2 = true, .avx512 = true, .avx512_vnni = true, .avx512_bf16 = true, .amx_bf16 = true};
  EXPECT_EQ(Describe(*LimitedTo("auto", all)), Describe(all));
  EXPECT_EQ(Describe(*LimitedTo("avx512", all)), "avx2 avx512");
  EXPECT_EQ(Describe(*LimitedTo("avx2", all)), "avx2");
  EXPECT_EQ(Describe(*LimitedTo("baseline", all)), "baseline");
  EXPECT_EQ(Describe(*LimitedTo("avx512", CpuFeatures{.avx2 = true})), "avx2")
      << "a limit adds nothing";
  EXPECT_EQ(Describe(*LimitedTo("avx2", CpuFeatures{})), "baseline");
  for (const char* word : {"", "AVX2", "avx", "sse42"}) {
    EXPECT_EQ(LimitedTo(word, all).status().code(), absl::StatusCode::kInvalidArgument) << word;
  }
}

// In a process of its own each: nobody may have asked before.
TEST(CpuFeaturesDeathTest, ALimitHoldsFromTheStartOrNotAtAll) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const bool limited = LimitCpu("baseline").ok();
        std::exit(limited && Describe(Cpu()) == "baseline" ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        const std::string before = Describe(Cpu());
        const bool refused = LimitCpu("baseline").code() == absl::StatusCode::kFailedPrecondition;
        std::exit(refused && Describe(Cpu()) == before ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ds
