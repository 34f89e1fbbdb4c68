// Every strategy against a plain reference of its definition, in every order of the updates; and
// what hostile sites can do to each.
#include "federated/strategy/strategy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/random.h"
#include "federated/strategy/registry.h"
#include "federated/strategy/sum.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;
using Numbers = std::vector<int64_t>;

constexpr uint64_t kSeed = 20260403;

UpdateShape ShapeOf(int bits, int64_t coordinates) {
  UpdateShape shape = {.bits = bits, .coordinates = coordinates};
  shape.Append(DigitRole::kStatistic, 5, 16);
  shape.Append(DigitRole::kScale, 2, 32);
  shape.Append(DigitRole::kMetric, 5, 48);
  return shape;
}

// An update as the numbers that it means: coordinates, then the sections' numbers.
struct Update {
  Numbers coordinates;
  Numbers numbers;
};

Update RandomUpdate(const UpdateShape& shape, uint64_t stream) {
  CounterRandom random(kSeed, stream);
  Update update;
  for (int64_t i = 0; i < shape.coordinates; ++i)
    update.coordinates.push_back(random.NextBelow(1u << shape.bits));
  for (const DigitSection& section : shape.sections) {
    for (int64_t i = 0; i < section.count; ++i) {
      const uint32_t below = section.role == DigitRole::kStatistic ? 1u << 16 : 1u << 31;
      update.numbers.push_back(random.NextBelow(below));
    }
  }
  return update;
}

class Packed {
 public:
  Packed(const UpdateShape& shape, const Update& update) {
    IntegerVector values(shape.bits, shape.values());
    for (int64_t i = 0; i < shape.coordinates; ++i)
      values.Set(i, static_cast<uint32_t>(update.coordinates[i]));
    size_t at = 0;
    for (const DigitSection& section : shape.sections)
      for (int64_t i = 0; i < section.count; ++i)
        WriteNumber(update.numbers[at++], shape, section, i, values);
    bytes_ = std::make_shared<std::vector<std::byte>>(Pack(values));
  }
  UpdateBlob Blob(std::string digest, int64_t base_version) const {
    return {
        .digest = std::move(digest), .base_version = base_version, .packed = SpanReader(*bytes_)};
  }

 private:
  std::shared_ptr<std::vector<std::byte>> bytes_;
};

struct Case {
  UpdateShape shape;
  std::vector<Update> updates;
  std::vector<Packed> packed;
  std::vector<int64_t> bases;

  void Add(const Update& update, int64_t base = 6) {
    packed.emplace_back(shape, update);
    updates.push_back(update);
    bases.push_back(base);
  }
  absl::StatusOr<Published> Combine(const Strategy& strategy, std::vector<size_t> order) const {
    std::vector<UpdateBlob> blobs;
    for (const size_t u : order)
      blobs.push_back(packed[u].Blob(std::string(1, static_cast<char>('a' + u)), bases[u]));
    return strategy.Combine({.version = 7,
                             .shape = &shape,
                             .update_bits = shape.bits,
                             .modulus_bits = 32,
                             .updates = blobs});
  }
};

Case RandomCase(int bits, int64_t coordinates, int updates) {
  Case c = {.shape = ShapeOf(bits, coordinates)};
  for (int u = 0; u < updates; ++u)
    c.Add(RandomUpdate(c.shape, static_cast<uint64_t>(u)), u % 3 + 4);
  return c;
}

std::unique_ptr<Strategy> Named(const std::string& name, int64_t byzantine = 1, double trim = 0.2) {
  StrategyOptions options;
  options.name = name;
  options.byzantine = byzantine;
  options.trim = trim;
  auto strategy = MakeStrategy(options);
  EXPECT_TRUE(strategy.ok()) << strategy.status();
  return *std::move(strategy);
}

// What `group` should hold, by a function of one value's column (and of metrics, the sum).
void ExpectGroup(const Case& c, const PublishedGroup& group,
                 const std::function<int64_t(const Numbers&)>& column) {
  const auto check = [&](const std::function<int64_t(const Update&)>& get, int64_t found,
                         bool metric, int64_t at) {
    Numbers values;
    for (const Update& update : c.updates) values.push_back(get(update));
    const int64_t expected =
        metric ? std::accumulate(values.begin(), values.end(), int64_t{0}) : column(values);
    ASSERT_EQ(found, expected) << "value " << at << (metric ? " (metric)" : "");
  };
  for (int64_t i = 0; i < c.shape.coordinates; ++i)
    check([&](const Update& u) { return u.coordinates[i]; }, group.sum.Get(i), false, i);
  size_t at = 0;
  for (const DigitSection& section : c.shape.sections) {
    for (int64_t i = 0; i < section.count; ++i, ++at) {
      check([&](const Update& u) { return u.numbers[at]; },
            ReadNumber(group.sum, c.shape, section, i), section.role == DigitRole::kMetric,
            section.first + i);
    }
  }
}

// Combines in several orders, which must not matter; the one group.
PublishedGroup OneGroup(const Case& c, const Strategy& strategy) {
  std::vector<size_t> order(c.updates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto first = c.Combine(strategy, order);
  EXPECT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->version, 7);
  std::reverse(order.begin(), order.end());
  for (int shuffle = 0; shuffle < 3; ++shuffle) {
    std::rotate(order.begin(), order.begin() + shuffle % 2, order.end());
    const auto again = c.Combine(strategy, order);
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->Encode(), first->Encode()) << strategy.traits().name;
  }
  EXPECT_EQ(first->groups.size(), 1u);
  EXPECT_EQ(first->groups[0].base_version, 6);
  EXPECT_EQ(first->groups[0].updates, static_cast<int64_t>(c.updates.size()));
  return first->groups[0];
}

int64_t SumOf(Numbers values, size_t cut) {
  std::sort(values.begin(), values.end());
  return std::accumulate(values.begin() + static_cast<int64_t>(cut),
                         values.end() - static_cast<int64_t>(cut), int64_t{0});
}

TEST(StrategyTest, SumsAreExact) {
  for (const char* name : {"fedavg", "fedprox", "scaffold", "fedadam", "fedyogi", "fedavgm"}) {
    const Case c = RandomCase(4, 1003, 5);
    const PublishedGroup group = OneGroup(c, *Named(name));
    EXPECT_EQ(group.divisor, 5);
    EXPECT_EQ(group.sum.bits(), 7);  // 5 * 15 < 128
    ExpectGroup(c, group, [](const Numbers& v) { return SumOf(v, 0); });
  }
}

TEST(StrategyTest, SumsOfEveryWidth) {
  for (int bits = 1; bits <= 16; ++bits) {
    for (const int64_t coordinates : {1, 8, 40000}) {
      const Case c = RandomCase(bits, coordinates, 3);
      ExpectGroup(c, OneGroup(c, *Named("fedavg")), [](const Numbers& v) { return SumOf(v, 0); });
    }
  }
}

TEST(StrategyTest, TrimmedMeanLeavesOutBothEnds) {
  for (const int updates : {1, 2, 5, 9, 10}) {
    const Case c = RandomCase(updates == 9 ? 13 : 4, 20011, updates);
    const size_t cut = static_cast<size_t>(updates) / 5;
    const PublishedGroup group = OneGroup(c, *Named("trimmed_mean"));
    EXPECT_EQ(group.divisor, updates - 2 * static_cast<int64_t>(cut));
    ExpectGroup(c, group, [&](const Numbers& v) { return SumOf(v, cut); });
  }
}

TEST(StrategyTest, MedianIsTheMiddle) {
  for (const int updates : {1, 2, 3, 4, 7, 16}) {
    const Case c = RandomCase(updates == 4 ? 16 : 5, 777, updates);
    const size_t cut = (static_cast<size_t>(updates) - 1) / 2;
    const PublishedGroup group = OneGroup(c, *Named("median"));
    EXPECT_EQ(group.divisor, updates % 2 == 0 ? 2 : 1);
    ExpectGroup(c, group, [&](const Numbers& v) { return SumOf(v, cut); });
  }
}

// By its definition, in double, without statistics (all alike here).
std::vector<size_t> KrumOrder(const Case& c, size_t byzantine) {
  const size_t n = c.updates.size();
  std::vector<std::pair<double, size_t>> scores;
  for (size_t a = 0; a < n; ++a) {
    std::vector<double> distances;
    for (size_t b = 0; b < n; ++b) {
      if (b == a) continue;
      double distance = 0;
      for (size_t i = 0; i < c.updates[a].coordinates.size(); ++i) {
        const double d =
            static_cast<double>(c.updates[a].coordinates[i] - c.updates[b].coordinates[i]);
        distance += d * d;
      }
      distances.push_back(distance);
    }
    std::sort(distances.begin(), distances.end());
    distances.resize(n - byzantine - 2);
    scores.emplace_back(std::accumulate(distances.begin(), distances.end(), 0.0), a);
  }
  std::sort(scores.begin(), scores.end());
  std::vector<size_t> order;
  for (const auto& [score, a] : scores) order.push_back(a);
  return order;
}

TEST(StrategyTest, KrumIsTheUpdateAmongItsNeighbours) {
  for (const int bits : {2, 8, 12, 16}) {
    for (const bool multi : {false, true}) {
      Case c = RandomCase(bits, 5000, 9);
      for (Update& update : c.updates)
        std::copy_n(c.updates[0].numbers.begin(), 5, update.numbers.begin());
      Case alike = {.shape = c.shape};
      for (const Update& update : c.updates) alike.Add(update);
      std::vector<size_t> chosen = KrumOrder(alike, 2);
      chosen.resize(multi ? 5 : 1);
      const PublishedGroup group = OneGroup(alike, *Named(multi ? "multi_krum" : "krum", 2));
      EXPECT_EQ(group.divisor, static_cast<int64_t>(chosen.size()));
      ExpectGroup(alike, group, [&](const Numbers& v) {
        int64_t sum = 0;
        for (const size_t u : chosen) sum += v[u];
        return sum;
      });
    }
  }
}

// Of three, two are each other's nearest: always as good as each other.
TEST(StrategyTest, KrumDecidesBetweenEqualsByTheirDigests) {
  Case c = {.shape = ShapeOf(8, 100)};
  for (uint64_t u = 0; u < 3; ++u) c.Add(RandomUpdate(c.shape, u));
  const PublishedGroup group = OneGroup(c, *Named("krum", 0));
  EXPECT_EQ(group.divisor, 1);
}

TEST(StrategyTest, KrumSeesStatisticsToo) {
  Case c = {.shape = ShapeOf(8, 64)};
  const Update honest = RandomUpdate(c.shape, 1);
  for (int u = 0; u < 5; ++u) {
    Update update = honest;
    // The hostile one is nearest to all by its coordinates alone.
    if (u > 0) update.coordinates[static_cast<size_t>(u)] ^= 1;
    for (size_t i = 0; u == 0 && i < 5; ++i) update.numbers[i] ^= 0x8000;
    c.Add(update);
  }
  const PublishedGroup group = OneGroup(c, *Named("krum"));
  EXPECT_EQ(ReadNumber(group.sum, c.shape, c.shape.sections[0], 0), honest.numbers[0]);
}

TEST(StrategyTest, BufferedGroupsByVersionAndWeighsByStaleness) {
  const Case c = RandomCase(4, 501, 7);  // bases 4, 5, 6, 4, 5, 6, 4
  std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6};
  const auto published = c.Combine(*Named("fedbuff"), order);
  ASSERT_TRUE(published.ok()) << published.status();
  std::reverse(order.begin(), order.end());
  EXPECT_EQ(c.Combine(*Named("fedbuff"), order)->Encode(), published->Encode());
  ASSERT_EQ(published->groups.size(), 3u);
  const int64_t weights[] = {9, 11, 16};  // 16 / sqrt(3), 16 / sqrt(2), 16
  for (int64_t g = 0; g < 3; ++g) {
    const PublishedGroup& group = published->groups[g];
    Case members = {.shape = c.shape};
    for (size_t u = 0; u < c.updates.size(); ++u)
      if (c.bases[u] == 4 + g) members.Add(c.updates[u]);
    EXPECT_EQ(group.base_version, 4 + g);
    EXPECT_EQ(group.updates, static_cast<int64_t>(members.updates.size()));
    EXPECT_EQ(group.divisor, group.updates * weights[g]);
    ExpectGroup(members, group, [&](const Numbers& v) { return weights[g] * SumOf(v, 0); });
  }
  EXPECT_EQ(StalenessWeight(0), 16);
  EXPECT_EQ(StalenessWeight(3), 8);
  EXPECT_EQ(StalenessWeight(100000), 1);
}

// Eight honest updates around a mean; two hostile ones at the grid's end everywhere. How far the
// mean is moved, in levels.
double Moved(const std::string& name) {
  Case c = {.shape = {.bits = 8, .coordinates = 4096}};
  CounterRandom random(kSeed, 99);
  for (int u = 0; u < 10; ++u) {
    Update update;
    for (int64_t i = 0; i < 4096; ++i)
      update.coordinates.push_back(u < 8 ? 118 + random.NextBelow(21) : 255);
    c.Add(update);
  }
  const PublishedGroup group = OneGroup(c, *Named(name, 2));
  double moved = 0;
  for (int64_t i = 0; i < 4096; ++i)
    moved += static_cast<double>(group.sum.Get(i)) / static_cast<double>(group.divisor) - 128;
  return moved / 4096;
}

TEST(StrategyTest, AMinorityOfHostileSitesMovesOnlyTheAverage) {
  EXPECT_GT(Moved("fedavg"), 20);
  for (const char* name : {"trimmed_mean", "median"}) EXPECT_LT(std::fabs(Moved(name)), 4) << name;
  for (const char* name : {"krum", "multi_krum"}) EXPECT_LT(std::fabs(Moved(name)), 1) << name;
}

TEST(StrategyTest, WhatCannotBeCombinedIsRefused) {
  Case c = RandomCase(4, 100, 4);
  const auto few = c.Combine(*Named("krum"), {0, 1, 2, 3});
  EXPECT_EQ(few.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(few.status().message(), HasSubstr("krum needs 5 updates and has 4"));
  EXPECT_EQ(c.Combine(*Named("fedavg"), {}).status().code(), absl::StatusCode::kFailedPrecondition);
  c.packed[2] = Packed(ShapeOf(4, 101), RandomUpdate(ShapeOf(4, 101), 1));
  for (const absl::string_view name : StrategyNames()) {
    const auto wrong = c.Combine(*Named(std::string(name), 0), {0, 1, 2, 3});
    EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(wrong.status().message(), HasSubstr("update c")) << name;
  }
}

TEST(StrategyTest, BitsBehindTheLastValueAreRefused) {
  std::vector<std::byte> packed(2);
  EXPECT_TRUE(CheckUpdateBlob(*SpanReader(packed), 3, 4).ok());
  packed[1] = std::byte{0x10};
  EXPECT_EQ(CheckUpdateBlob(*SpanReader(packed), 3, 4).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckUpdateBlob(*SpanReader(packed), 5, 4).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds::federated
