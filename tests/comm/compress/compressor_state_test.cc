#include "comm/compress/compressor_state.h"

#include <cmath>

#include "base/random.h"
#include "base/status.h"
#include "comm/compress/error_feedback.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

std::vector<float> Normal(size_t count, uint64_t seed) {
  CounterRandom random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

// What all replicas are owed: worker residuals of all states, and owner residuals of all
// (`owners_whole`: each state holds them all).
std::vector<double> Owed(const std::vector<CompressorState>& states, size_t count,
                         bool owners_whole) {
  std::vector<double> owed(count);
  for (size_t s = 0; s < states.size(); ++s) {
    for (const absl::string_view kind : {kWorkerResidual, kOwnerResidual}) {
      if (kind == kOwnerResidual && owners_whole && s > 0) continue;
      std::vector<float> part(count);
      EXPECT_TRUE(FillFromState(states[s], kind, "w", 0, absl::MakeSpan(part)).ok());
      for (size_t i = 0; i < count; ++i) owed[i] += part[i];
    }
  }
  return owed;
}

std::vector<CompressorState> States(int ranks, size_t count) {
  std::vector<CompressorState> states(static_cast<size_t>(ranks));
  for (size_t r = 0; r < states.size(); ++r) {
    const size_t begin = count * r / states.size(), end = count * (r + 1) / states.size();
    states[r][StateKey(kWorkerResidual, "w", 0)] = Normal(count, r);
    states[r][StateKey(kOwnerResidual, "w", static_cast<int64_t>(begin))] =
        Normal(end - begin, 100 + r);
    states[r][StateKey(kFactor, "w", 0)] = {1, 2, 3};
  }
  return states;
}

absl::StatusOr<ResidualSum> Sum(const std::vector<CompressorState>& states) {
  ResidualSum sum;
  for (const CompressorState& state : states) DS_RETURN_IF_ERROR(sum.Add(state));
  return sum;
}

TEST(ResidualSum, ConservesWhatIsOwedForAnyChangeOfRanks) {
  constexpr size_t kCount = 1009;
  for (const int from : {1, 2, 3, 5, 8}) {
    for (const int to : {1, 2, 3, 4, 7}) {
      const std::vector<CompressorState> states = States(from, kCount);
      const auto sum = Sum(states);
      ASSERT_TRUE(sum.ok()) << sum.status();
      const std::vector<CompressorState> moved(static_cast<size_t>(to), sum->PartOf(to));
      const std::vector<double> before = Owed(states, kCount, false),
                                after = Owed(moved, kCount, true);
      double difference = 0, size = 0;
      for (size_t i = 0; i < kCount; ++i) {
        difference += std::pow(before[i] - after[i], 2);
        size += before[i] * before[i];
      }
      EXPECT_LT(std::sqrt(difference / size), 1e-6) << from << " to " << to;
      EXPECT_GT(size, 0);
      EXPECT_EQ(moved[0].at("factor/w@0"), (std::vector<float>{1, 2, 3}));
    }
  }
}

TEST(ResidualSum, SharesAllButWorkersBitForBit) {
  const std::vector<CompressorState> states = States(3, 101);
  const auto sum = Sum(states);
  ASSERT_TRUE(sum.ok());
  EXPECT_EQ(sum->shared().at("owner/w@67"), states[2].at("owner/w@67"));
  EXPECT_EQ(sum->shared().count("worker/w@0"), 0u);
}

TEST(ResidualSum, TwoOwnersOfOneElementAreRefused) {
  std::vector<CompressorState> states = States(2, 100);
  states[1]["owner/w@49"] = {1, 2};
  EXPECT_EQ(Sum(states).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CompressorState, KeysThatAreNoneAreRefused) {
  for (const std::string key :
       {"w", "worker/w", "@3/w", "worker/w@", "worker/w@x", "worker/w@-1"}) {
    EXPECT_EQ(Sum({{{key, {1.0f}}}}).status().code(), absl::StatusCode::kInvalidArgument) << key;
  }
}

TEST(CompressorState, RangesAreFoundWhateverTheirCut) {
  const CompressorState state = {{"worker/w@2", {2, 3, 4}},
                                 {"worker/w@10", {10, 11}},
                                 {"worker/w@1@0", {99, 99}},
                                 {"owner/w@0", {50, 50, 50, 50}}};
  std::vector<float> into(9, 7.0f);
  const auto found = FillFromState(state, kWorkerResidual, "w", 3, absl::MakeSpan(into));
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(*found);
  EXPECT_EQ(into, (std::vector<float>{3, 4, 0, 0, 0, 0, 0, 10, 11}));
  const auto none = FillFromState(state, kWorkerResidual, "v", 0, absl::MakeSpan(into));
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(*none);
  EXPECT_EQ(into, std::vector<float>(9, 0.0f));
}

TEST(CompressorState, PartsMergeAndContradictionsDoNot) {
  const std::vector<CompressorState> parts = {{{"worker/w@0", {1}}, {"factor/w@0", {5}}},
                                              {{"worker/w@1", {2}}, {"factor/w@0", {5}}}};
  const auto merged = MergeStates(parts);
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(*merged,
            (CompressorState{{"worker/w@0", {1}}, {"worker/w@1", {2}}, {"factor/w@0", {5}}}));
  const std::vector<CompressorState> contradiction = {{{"factor/w@0", {5}}}, {{"factor/w@0", {6}}}};
  EXPECT_FALSE(MergeStates(contradiction).ok());
}

TEST(ErrorFeedback, OnlyACommitMakesPendingCurrent) {
  ErrorFeedback feedback;
  const int range = feedback.Add(kWorkerResidual, "w", 0, 3);
  EXPECT_TRUE(feedback.current(range).empty());
  feedback.Allocate();
  EXPECT_EQ(feedback.current(range), absl::MakeConstSpan({0.0f, 0.0f, 0.0f}));
  for (float& value : feedback.pending(range)) value = 5;
  EXPECT_EQ(feedback.current(range)[1], 0.0f);
  feedback.Commit();
  EXPECT_EQ(feedback.current(range)[1], 5.0f);
  for (float& value : feedback.pending(range)) value = 6;
  for (float& value : feedback.pending(range)) value = 7;  // the step before was skipped
  feedback.Commit();
  EXPECT_EQ(feedback.current(range)[1], 7.0f);
}

TEST(ErrorFeedback, AnImportReplacesEverything) {
  ErrorFeedback feedback;
  feedback.Add(kWorkerResidual, "w", 0, 2);
  feedback.Add(kOwnerResidual, "v", 4, 2);
  feedback.Allocate();
  ASSERT_TRUE(feedback.Import({{"owner/v@0", {0, 1, 2, 3, 4, 5, 6}}}).ok());
  CompressorState state;
  feedback.Export(state);
  EXPECT_EQ(state, (CompressorState{{"worker/w@0", {0, 0}}, {"owner/v@4", {4, 5}}}));
  EXPECT_FALSE(feedback.Import({{"owner/v@", {1}}}).ok());
}

}  // namespace
}  // namespace ds
