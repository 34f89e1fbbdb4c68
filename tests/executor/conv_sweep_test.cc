// Convolutions of many shapes, forward and backward, against double precision. They run in child
// processes under guarded memory, so that a library that writes where it should not is seen at once
// and named by the shape, and the sweep goes on behind it.
//
// By hand, COUNT random shapes instead of the tests; "library" leaves the executor out:
//   ds_executor_conv_sweep_test COUNT [SEED [INSTRUCTIONS [THREADS [library]]]]
// where INSTRUCTIONS are as oneDNN's ONEDNN_MAX_CPU_ISA names them: DEFAULT, AVX2, SSE41, ...
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/cpu/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/executor/conv_passes.h"
#include "tests/executor/guarded_memory.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 20261;
constexpr const char* kWithoutAmx = "AVX512_CORE_BF16";
constexpr int kSilenceLimit = 60;  // seconds; a child that takes longer for one shape hangs

struct Setting {
  std::string instructions = "DEFAULT";  // the most that oneDNN may use
  int threads = 2;
  ConvRunner runner = ConvRunner::kExecutor;
  bool until_first = false;  // finding
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.instructions << ", " << setting.threads << " threads";
}

// What the child tells, in memory that it shares with its parent.
struct Telling {
  std::atomic<size_t> shape;    // it is at
  std::atomic<size_t> written;  // bytes of text, a line for each wrong result
  char text[1 << 18];
};

void Tell(Telling* telling, const std::string& line) {
  const size_t at = telling->written.load();
  const size_t size = std::min(line.size(), sizeof(telling->text) - at);
  std::memcpy(telling->text + at, line.data(), size);
  telling->written = at + size;
}

// Never returns. The parent has made no tensor and no thread, so that a fork of it may.
[[noreturn]] void RunChild(const std::vector<ConvShape>& shapes, const Setting& setting,
                           uint64_t seed, Telling* telling) {
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setenv("ONEDNN_MAX_CPU_ISA", setting.instructions.c_str(), 1);
  GuardTensorMemory();
  at::set_num_threads(setting.threads);
  for (size_t i = telling->shape; i < shapes.size(); ++i) {
    telling->shape = i;
    std::string wrong;
    try {
      wrong = CheckConvPasses(shapes[i], setting.runner, seed + i);
    } catch (const std::exception& error) {
      wrong = absl::StrCat("refused: ", std::string(error.what()).substr(0, 200));
    }
    if (wrong.empty()) continue;
    Tell(telling, absl::StrCat(Describe(shapes[i]), ": ", wrong, "\n"));
    if (setting.until_first) break;
  }
  ::_exit(0);
}

// How the child ended: "" if well.
std::string Ending(pid_t child, const Telling* telling) {
  size_t at = telling->shape;
  for (int quiet_ms = 0;; quiet_ms += 10) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) return absl::StrCat("dies by signal ", WTERMSIG(status));
      return WEXITSTATUS(status) == 0 ? "" : absl::StrCat("exits with ", WEXITSTATUS(status));
    }
    if (at != telling->shape) quiet_ms = 0;
    at = telling->shape;
    if (quiet_ms > kSilenceLimit * 1000) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return "hangs";
    }
    ::usleep(10'000);
  }
}

// A line for each shape that does not come out right.
std::vector<std::string> Sweep(const std::vector<ConvShape>& shapes, const Setting& setting,
                               uint64_t seed) {
  void* shared =
      ::mmap(nullptr, sizeof(Telling), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(shared, MAP_FAILED);
  auto* telling = new (shared) Telling{};
  std::vector<std::string> findings;
  while (telling->shape < shapes.size() && !(setting.until_first && !findings.empty())) {
    const pid_t child = ::fork();
    if (child == 0) RunChild(shapes, setting, seed, telling);
    const std::string ending = Ending(child, telling);
    if (ending.empty()) break;
    findings.push_back(absl::StrCat(Describe(shapes[telling->shape]), ": ", ending));
    ++telling->shape;
  }
  const absl::string_view text(telling->text, telling->written);
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    findings.emplace_back(line);
  }
  ::munmap(shared, sizeof(Telling));
  return findings;
}

std::vector<ConvShape> Joined(std::vector<std::vector<ConvShape>> lists) {
  std::vector<ConvShape> all;
  for (const std::vector<ConvShape>& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

// What is worth a test under these instructions: below AVX-512 LibTorch has kernels of its own for
// low precision, or none.
std::vector<Precision> Precisions(const Setting& setting) {
  if (setting.instructions == "DEFAULT") {
    return {Precision::kFloat32, Precision::kFloat32, Precision::kBFloat16, Precision::kFloat16};
  }
  if (setting.instructions == kWithoutAmx) return {Precision::kFloat32, Precision::kBFloat16};
  return {Precision::kFloat32};
}

class ConvSweep : public testing::TestWithParam<Setting> {};

TEST_P(ConvSweep, EveryPassIsRightAndStaysInItsMemory) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const Setting& setting = GetParam();
  std::vector<ConvShape> shapes =
      Joined({FewChannelsStrided1x1(), RandomConvShapes(kSeed, 120, Precisions(setting))});
  if (Precisions(setting).size() > 1) {
    shapes = Joined({shapes, OneColumnWide(), DilatedGroups()});
  }
  EXPECT_THAT(Sweep(shapes, setting, kSeed), testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(, ConvSweep,
                         testing::Values(Setting{"DEFAULT", 1}, Setting{"DEFAULT", 2},
                                         Setting{kWithoutAmx, 2}, Setting{"AVX2", 1},
                                         Setting{"AVX2", 2}));

// A reason for a detour in executor/detours/convolution.cc.
struct LibraryFault {
  const char* detour;  // the function that decides on it
  std::vector<ConvShape> (*shapes)();
  bool CpuFeatures::*needs;  // what a processor has that shows it
};

void PrintTo(const LibraryFault& fault, std::ostream* out) { *out << fault.detour; }

class ConvLibrary : public testing::TestWithParam<LibraryFault> {};

// Skipped, with a word, once there is none.
TEST_P(ConvLibrary, StillNeedsTheDetour) {
  const LibraryFault& fault = GetParam();
  if (!(Cpu().*fault.needs)) GTEST_SKIP() << "this processor runs none of the kernels in question";
  Setting setting;
  setting.runner = ConvRunner::kLibrary;
  setting.until_first = true;
  if (Sweep(fault.shapes(), setting, kSeed).empty()) {
    GTEST_SKIP() << "this LibTorch's oneDNN is right again: where no older one is supported, the "
                    "workaround can go ("
                 << fault.detour << " in executor/detours/convolution.cc)";
  }
}

INSTANTIATE_TEST_SUITE_P(
    , ConvLibrary,
    testing::Values(LibraryFault{"OverrunsWorkspace", FewChannelsStrided1x1, &CpuFeatures::avx2},
                    LibraryFault{"MakesUpOneColumn", OneColumnWide, &CpuFeatures::avx512},
                    LibraryFault{"MakesUpWeightGradient", DilatedGroups, &CpuFeatures::avx512}));

TEST(GuardedMemoryDeathTest, AWriteBehindATensorIsSeen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto write_at = [](int64_t size, int64_t i) {
    GuardTensorMemory();
    at::Tensor tensor = at::zeros({size});
    *(tensor.data_ptr<float>() + i) = 1;
    tensor.reset();
    std::_Exit(0);
  };
  EXPECT_EXIT(write_at(16, 15), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(write_at(16, 16), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(write_at(17, 17), testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT(write_at(16, -1), testing::KilledBySignal(SIGABRT), "");
}

int SweepByHand(const std::vector<std::string>& arguments) {
  Setting setting;
  int count = 0;
  uint64_t seed = kSeed;
  const size_t given = arguments.size();
  if (!absl::SimpleAtoi(arguments[0], &count) ||
      (given > 1 && !absl::SimpleAtoi(arguments[1], &seed)) ||
      (given > 3 && !absl::SimpleAtoi(arguments[3], &setting.threads))) {
    std::fprintf(stderr, "arguments: COUNT [SEED [INSTRUCTIONS [THREADS [library]]]]\n");
    return 2;
  }
  if (given > 2) setting.instructions = arguments[2];
  if (given > 4 && arguments[4] == "library") setting.runner = ConvRunner::kLibrary;
  const auto findings = Sweep(RandomConvShapes(seed, count, Precisions(setting)), setting, seed);
  for (const std::string& finding : findings) std::printf("%s\n", finding.c_str());
  std::printf("%zu of %d shapes are not right\n", findings.size(), count);
  return findings.empty() ? 0 : 1;
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1) return ds::SweepByHand(std::vector<std::string>(argv + 1, argv + argc));
  return RUN_ALL_TESTS();
}
