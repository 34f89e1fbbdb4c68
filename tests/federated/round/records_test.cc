// Records come back from their text as they were, and nothing else is taken for one.
#include "federated/round/records.h"

#include <gmock/gmock.h>

#include "absl/strings/str_replace.h"
#include "federated/round/fields.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::vector<Record> OneOfEach() {
  RunOffer offer = TestOffer();
  offer.name = "a \"name\"\nof two lines, \xc3\xbc";
  offer.options.seed = ~uint64_t{0};
  offer.options.round.sample = 0.1;
  offer.options.secure.mode = "strict";
  offer.options.privacy.delta = 1e-300;
  const BlobRef inside{.digest = TestDigest(1), .size = 3, .bytes = std::string("\0\xff\n", 3)};
  const BlobRef outside{.digest = TestDigest(2), .size = int64_t{1} << 40};
  return {RunStarted{offer},
          SiteJoined{"hospital", 7},
          ModelFixed{100, 16, TestDigest(3), 1000, 4, 8},
          SetupStarted{0, {"a", "b"}},
          SecureGiven{SecureStep::kEcho, 0, 5, "a", inside},
          KeysClosed{0, {"a", "b"}, 2},
          SharesAskedAgain{0},
          SharesClosed{0, {"a", "b"}},
          SetupAbandoned{0, "why", {"b"}},
          RoundPlanned{3, 2, TestDigest(4), {"a", "b"}, 0, 1},
          UpdateCommitted{3, "a", 2, outside, {"note"}},
          SurvivorsFixed{3, {"a"}},
          EchoesClosed{3},
          AnswersClosed{3},
          PrivacyCharged{3, "{}"},
          RoundPublished{3, 3, inside, TestDigest(5), {1, 2, 3, 0.1, 1e-9}, 2},
          RoundAbandoned{4, "why", {"a"}},
          SnapshotTaken{3, outside},
          StopAsked{"enough"},
          RunEnded{EndState::kBudgetSpent, "spent"}};
}

// Fields of a plain struct, by how many values it can be made of.
struct Anything {
  template <typename T>
  operator T() const;
};
template <typename T, typename... Values>
constexpr int FieldCount() {
  if constexpr (requires { T{Values{}..., Anything{}}; }) {
    return FieldCount<T, Values..., Anything>();
  } else {
    return sizeof...(Values);
  }
}
struct Counter {
  int fields = 0;
  template <typename T>
  void operator()(const char*, const T&) {
    ++fields;
  }
  void Digest(const char*, const std::string&) { ++fields; }
  void Bytes(const char*, const std::string&) { ++fields; }
};
template <typename T>
void ExpectAllFields() {
  Counter counter;
  const T value{};
  Fields(counter, value);
  EXPECT_EQ(counter.fields, FieldCount<T>()) << typeid(T).name() << " has fields without a name";
}

TEST(Records, EveryFieldIsWritten) {
  ExpectAllFields<RoundOptions>();
  ExpectAllFields<StrategyOptions>();
  ExpectAllFields<UpdateOptions>();
  ExpectAllFields<SecureOptions>();
  ExpectAllFields<PrivacyOptions>();
  ExpectAllFields<RunOptions>();
  ExpectAllFields<RunOffer>();
  ExpectAllFields<SiteMetrics>();
  ExpectAllFields<BlobRef>();
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    (ExpectAllFields<std::variant_alternative_t<kIndex, Record>>(), ...);
  }
  (std::make_index_sequence<std::variant_size_v<Record>>());
}

TEST(Records, ComeBackFromTheirText) {
  const std::vector<Record> records = OneOfEach();
  ASSERT_EQ(records.size(), std::variant_size_v<Record>);
  for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i].index(), i);
  const std::string text = EncodeRecords(records);
  const auto read = DecodeRecords(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(EncodeRecords(*read), text);
  const auto& given = std::get<SecureGiven>((*read)[4]);
  EXPECT_EQ(given.payload.bytes, std::string("\0\xff\n", 3));
  EXPECT_EQ(given.step, SecureStep::kEcho);
  EXPECT_EQ(std::get<RunStarted>((*read)[0]).offer.options.seed, ~uint64_t{0});
  EXPECT_EQ(std::get<RunStarted>((*read)[0]).offer.options.privacy.delta, 1e-300);
  EXPECT_EQ(std::get<RunEnded>(read->back()).state, EndState::kBudgetSpent);
}

TEST(Records, EveryCutAndEveryOtherSpellingIsRefused) {
  const std::string text = EncodeRecords({SiteJoined{"a", 7}, SurvivorsFixed{3, {"a"}}});
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(DecodeRecords(text.substr(0, size)).ok()) << size;
  }
  const auto refused = [&](absl::string_view from, absl::string_view to) {
    const std::string other = absl::StrReplaceAll(text, {{from, to}});
    ASSERT_NE(other, text) << from;
    const auto read = DecodeRecords(other);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << other;
  };
  refused("7", "7.0");
  refused("7", "\"7\"");
  refused("7", "07");
  refused("7", "9223372036854775808");
  refused("7", "7,\"more\":1");
  refused("7", "7,\"samples\":7");
  refused("\"samples\":7", "\"sample\":7");
  refused("site_joined", "site_left");
  refused("[\"a\"]", "[1]");
  refused("[\"a\"]", "null");
  refused(",", ", ");
  EXPECT_FALSE(DecodeRecords("[]").ok());
  EXPECT_FALSE(DecodeRecords("{}").ok());
  EXPECT_FALSE(DecodeRecords(std::string(100000, '[')).ok());
}

TEST(Records, AnErrorNamesTheField) {
  const std::string text = EncodeRecords({RunStarted{TestOffer()}});
  const auto read = DecodeRecords(absl::StrReplaceAll(text, {{"\"goal\":0", "\"goal\":[]"}}));
  EXPECT_THAT(std::string(read.status().message()),
              HasSubstr("run_started.offer.options.round.goal"));
}

}  // namespace
}  // namespace ds::federated
