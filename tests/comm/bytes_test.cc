#include "comm/bytes.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/compress/ranks.h"

namespace ds {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Of other lengths on each rank, none among them, zero bytes within, and more than one message's
// worth for a transport.
std::string TextOf(int rank) {
  static constexpr size_t kLengths[] = {5, 0, 1009, 300007, 1};
  std::string text(kLengths[static_cast<size_t>(rank) % 5], '\0');
  for (size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<char>(i * 31 + static_cast<size_t>(rank));
  return text;
}

std::vector<std::string> TextsOf(int ranks) {
  std::vector<std::string> texts;
  for (int r = 0; r < ranks; ++r) texts.push_back(TextOf(r));
  return texts;
}

class Bytes : public ::testing::TestWithParam<int> {};

TEST_P(Bytes, OfAllRanksArriveAtTheRootOrEverywhere) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    const std::string mine = TextOf(communicator.rank());
    for (int root : {0, communicator.size() - 1}) {
      const auto gathered = GatherBytes(mine, root, communicator);
      ASSERT_TRUE(gathered.ok()) << gathered.status();
      if (communicator.rank() == root) {
        EXPECT_THAT(*gathered, ElementsAreArray(TextsOf(communicator.size())));
      } else {
        EXPECT_THAT(*gathered, IsEmpty());
      }
    }
    const auto all = AllGatherBytes(mine, communicator);
    ASSERT_TRUE(all.ok()) << all.status();
    EXPECT_THAT(*all, ElementsAreArray(TextsOf(communicator.size())));
  });
}

TEST_P(Bytes, OfTheRootArriveEverywhere) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    for (int root = 0; root < communicator.size(); ++root) {
      // What others give does not matter, an error neither.
      absl::StatusOr<std::string> mine = absl::InternalError("nobody looks");
      if (communicator.rank() == root) mine = TextOf(root);
      const auto text = BroadcastBytes(std::move(mine), root, communicator);
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(*text, TextOf(root));
    }
  });
}

TEST_P(Bytes, PartsOfTheRootArriveAtTheirRanks) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    const std::vector<std::string> texts = TextsOf(communicator.size());
    for (int root : {0, communicator.size() - 1}) {
      std::vector<absl::string_view> parts;
      if (communicator.rank() == root) parts.assign(texts.begin(), texts.end());
      const auto mine = ScatterBytes(parts, root, communicator);
      ASSERT_TRUE(mine.ok()) << mine.status();
      EXPECT_EQ(*mine, TextOf(communicator.rank()));
    }
  });
}

TEST_P(Bytes, ARootThatFailedSaysSoEverywhereAndTheGroupStaysWhole) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    const int root = communicator.size() - 1;
    const bool sends = communicator.rank() == root;
    const auto expect = [&](const absl::Status& status, absl::StatusCode own, const char* words) {
      EXPECT_EQ(status.code(), sends ? own : absl::StatusCode::kAborted) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(words));
      EXPECT_EQ(absl::StartsWith(status.message(), absl::StrCat("rank ", root, ": ")), !sends);
    };
    absl::StatusOr<std::string> text = std::string("ok");
    absl::StatusOr<std::vector<absl::string_view>> parts = std::vector<absl::string_view>();
    if (sends) {
      text = absl::NotFoundError("no such file");
      parts = absl::DataLossError("a torn file");
    }
    expect(BroadcastBytes(text, root, communicator).status(), absl::StatusCode::kNotFound,
           "no such file");
    expect(ScatterBytes(parts, root, communicator).status(), absl::StatusCode::kDataLoss,
           "a torn file");
    expect(ScatterBytes(std::vector<absl::string_view>(9), root, communicator).status(),
           absl::StatusCode::kInvalidArgument, "9 parts");
    EXPECT_TRUE(communicator.Barrier().ok());
  });
}

TEST_P(Bytes, TheFirstRanksErrorIsEverybodys) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    EXPECT_TRUE(AgreeOnStatus(absl::OkStatus(), communicator).ok());
    const int first = communicator.size() / 2;
    absl::Status mine;
    if (communicator.rank() >= first)
      mine = absl::NotFoundError(absl::StrCat("words of ", communicator.rank()));
    const absl::Status status = AgreeOnStatus(mine, communicator);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), communicator.size() == 1
                                    ? "words of 0"
                                    : absl::StrCat("rank ", first, ": words of ", first));
  });
}

TEST_P(Bytes, ARootThatIsNoRankIsRefusedBeforeAnythingIsSent) {
  OnEveryRank(GetParam(), [](Communicator& communicator) {
    for (int root : {-1, communicator.size()}) {
      EXPECT_EQ(GatherBytes("x", root, communicator).status().code(),
                absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(BroadcastBytes(std::string("x"), root, communicator).status().code(),
                absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(ScatterBytes(std::vector<absl::string_view>(), root, communicator).status().code(),
                absl::StatusCode::kInvalidArgument);
    }
    EXPECT_TRUE(communicator.Barrier().ok());
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Bytes, ::testing::Values(1, 2, 3, 5));

}  // namespace
}  // namespace ds
