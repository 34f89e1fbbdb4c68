// Which sets of kernels there are, and which one is taken.
#include <cstdlib>
#include <iterator>
#include <set>
#include <string>

#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

TEST(ChoiceTest, TheFastestIsTheLastThatThisProcessorHas) {
  const Kernels* last = nullptr;
  for (int i = 0; i < kIsaCount; ++i) {
    if (const Kernels* kernels = KernelsFor(static_cast<Isa>(i))) last = kernels;
  }
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(&BestKernels(), last);
}

// Whoever runs this as a processor of known kind says in DS_BEST_ISA which set that one should take
// (tests/deploy/engine/arm64).
TEST(ChoiceTest, IsWhatIsExpectedOfThisProcessor) {
  const char* expected = std::getenv("DS_BEST_ISA");
  if (expected == nullptr) GTEST_SKIP() << "DS_BEST_ISA does not say what to expect";
  EXPECT_STREQ(BestKernels().name, expected);
}

TEST(ChoiceTest, ATableIsKnownByItsNameAndThereAreNoOthersThanOfThisArchitecture) {
  std::set<std::string> names;
  for (int i = 0; i < kIsaCount; ++i) {
    const auto isa = static_cast<Isa>(i);
    names.insert(IsaName(isa));
    const Kernels* kernels = KernelsFor(isa);
    EXPECT_EQ(KernelsByName(IsaName(isa)), kernels);
    if (kernels == nullptr) continue;
    EXPECT_EQ(kernels->isa, isa);
    EXPECT_STREQ(kernels->name, IsaName(isa));
    EXPECT_NE(std::find(std::begin(kSets), std::end(kSets), isa), std::end(kSets)) << IsaName(isa);
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kIsaCount));
  EXPECT_EQ(KernelsByName("sse9"), nullptr);
}

}  // namespace
}  // namespace ds::engine
