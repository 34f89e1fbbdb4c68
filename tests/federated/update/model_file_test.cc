// A saved model goes on as if it had never been away; a damaged one is refused.
#include <filesystem>
#include <functional>

#include "base/file/file.h"
#include "base/tensor/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

RunOptions With(const std::string& strategy) {
  RunOptions options = Options(4);
  options.strategy.name = strategy;
  return options;
}

void Advance(GlobalModel& model, uint64_t round) {
  const size_t size = model.weights().size() * (model.control().empty() ? 1 : 2);
  std::vector<float> residual;
  const auto update = model.Encode(Noise(size, 0.02f, round), {.samples = 1}, {}, 1, &residual);
  ASSERT_TRUE(update.ok()) << update.status();
  ASSERT_TRUE(model.Advance(Summed(model, {*update}), nullptr, nullptr).ok());
}

TEST(FederatedModelFileTest, ALoadedModelGoesOnAsTheSame) {
  const TempFolder folder;
  for (const char* strategy : {"fedavg", "fedavgm", "fedadam", "fedyogi", "scaffold", "fedbuff"}) {
    const std::string path = folder.path() + "/" + strategy;
    const auto model = Made(With(strategy), 3);
    for (uint64_t round = 0; round < 4; ++round) {
      ASSERT_TRUE(model->Save(path).ok());
      const auto loaded = GlobalModel::Load(path, With(strategy));
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_EQ((*loaded)->version(), model->version());
      EXPECT_EQ((*loaded)->digest(), model->digest());
      EXPECT_EQ((*loaded)->modulus_bits(), model->modulus_bits());
      Advance(**loaded, round);
      Advance(*model, round);
      EXPECT_EQ((*loaded)->digest(), model->digest()) << strategy << ", round " << round;
    }
  }
}

TEST(FederatedModelFileTest, AnotherRunsModelIsRefused) {
  const TempFolder folder;
  const std::string path = folder.path() + "/model";
  ASSERT_TRUE(Made(With("fedavg"), 3)->Save(path).ok());
  RunOptions other = With("fedavg");
  other.seed = 2;
  EXPECT_EQ(GlobalModel::Load(path, other).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GlobalModel::Load(path + "2", other).status().code(), absl::StatusCode::kNotFound);
}

// Files of an earlier build: formats, digests and the step itself are a contract among all parties.
TEST(FederatedModelFileTest, FilesOfAnEarlierBuildAreStillRead) {
  const std::string corpus = DS_SOURCE_DIR "/tests/fuzz/corpus/";
  RunOptions options;
  options.strategy.name = "fedadam";
  const auto model = GlobalModel::Load(corpus + "federated_model/fedadam", options);
  ASSERT_TRUE(model.ok()) << model.status();
  options.strategy.name = "fedavg";
  options.update.bits = 2;
  options.strategy.max_staleness = 2;
  const auto old = GlobalModel::Create({{{.name = "a", .count = 5}}},
                                       {0.1f, 0.2f, 0.3f, 0.4f, 0.5f}, options, 3, 1);
  ASSERT_TRUE(old.ok()) << old.status();
  const auto published = Published::Decode(*ReadFile(corpus + "federated_published/fedavg"));
  ASSERT_TRUE(published.ok()) << published.status();
  SiteMetrics sums;
  ASSERT_TRUE((*old)->Advance(*published, &sums, nullptr).ok());
  EXPECT_EQ(sums.samples, 14);
  EXPECT_EQ((*old)->digest(), "67974fae21d5ca2b93ad777ea7fe57f2bc85adcf5a2872d3fb72f07085d6f2ef");
}

// Each change alone is well-formed safetensors.
TEST(FederatedModelFileTest, ChangedFilesAreRefused) {
  const TempFolder folder;
  const std::string path = folder.path() + "/model";
  const RunOptions options = With("fedadam");
  const auto model = Made(options, 3);
  Advance(*model, 1);
  ASSERT_TRUE(model->Save(path).ok());
  StringMap metadata;
  const auto read = ReadSafetensors(path, &metadata);
  ASSERT_TRUE(read.ok());
  const std::vector<std::function<void(TensorMap&, StringMap&)>> changes = {
      [](TensorMap& t, StringMap&) {
        t["weights"] = t["weights"].Clone();
        t["weights"].mutable_span<float>()[7] += 1e-7f;
      },
      [](TensorMap& t, StringMap&) {
        t["scales"] = t["scales"].Clone();
        t["scales"].mutable_span<float>()[1] *= 2;
      },
      [](TensorMap& t, StringMap&) { t.erase("weights"); },
      [](TensorMap& t, StringMap&) { t.erase("second"); },
      [](TensorMap& t, StringMap&) { t.erase("scales"); },
      [](TensorMap& t, StringMap&) { t["first"] = Tensor::From<float>({1}, {1}); },
      [](TensorMap& t, StringMap&) { t["scales"] = Tensor(DType::kFloat32, {5}); },
      [](TensorMap& t, StringMap&) { t["weights"] = Tensor(DType::kInt32, {3521}); },
      [](TensorMap&, StringMap& m) { m["version"] = "2"; },
      [](TensorMap&, StringMap& m) { m["version"] = "-1"; },
      [](TensorMap&, StringMap& m) { m["version"] = "9999999999999999999"; },
      [](TensorMap&, StringMap& m) { m["maximum_sites"] = "4"; },
      [](TensorMap&, StringMap& m) { m["maximum_sites"] = "0"; },
      [](TensorMap&, StringMap& m) { m["samples_reference"] = "2"; },
      [](TensorMap&, StringMap& m) { m["layout"] = "[[\"a\",3521,\"parameter\"]]"; },
      [](TensorMap&, StringMap& m) { m["layout"] = "[[\"a\",3521]]"; },
      [](TensorMap&, StringMap& m) { m["layout"] = "[[\"a\",-1,\"parameter\"]]"; },
      [](TensorMap&, StringMap& m) { m["layout"] = "["; },
      [](TensorMap&, StringMap& m) { m["format"] = "downstream federated model 0"; },
      [](TensorMap&, StringMap& m) { m.erase("digest"); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    TensorMap tensors = *read;
    StringMap changed = metadata;
    changes[i](tensors, changed);
    const std::string bad = folder.path() + "/bad";
    ASSERT_TRUE(WriteSafetensors(bad, tensors, changed).ok());
    const auto loaded = GlobalModel::Load(bad, options);
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kDataLoss) << "change " << i;
    EXPECT_THAT(loaded.status().message(), HasSubstr("/bad: ")) << "change " << i;
  }
}

TEST(FederatedPublishedTest, BytesComeBack) {
  const auto model = Made(With("fedbuff"), 3);
  Published published = {.version = 9};
  for (int64_t g = 0; g < 3; ++g) {
    IntegerVector sum(5 + static_cast<int>(6 * g), 1001);
    for (int64_t i = 0; i < 1001; ++i) sum.Set(i, static_cast<uint32_t>(i * 7919 * (g + 1)));
    published.groups.push_back(
        {.base_version = g, .divisor = 16 * (g + 1), .updates = g + 1, .sum = std::move(sum)});
  }
  const std::string bytes = published.Encode();
  const auto decoded = Published::Decode(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->version, 9);
  ASSERT_EQ(decoded->groups.size(), 3u);
  EXPECT_EQ(decoded->groups[2].divisor, 48);
  EXPECT_EQ(decoded->groups[2].updates, 3);
  EXPECT_EQ(decoded->groups[2].sum.bytes(), published.groups[2].sum.bytes());
  EXPECT_EQ(decoded->Encode(), bytes);
  // Header, and 36 bytes a group beside its packed values.
  EXPECT_EQ(bytes.size(), 16u + 3 * 36 + 626 + 1377 + 2128);
  for (size_t size = 0; size < bytes.size(); size += size < 100 ? 1 : 97)
    EXPECT_EQ(Published::Decode(bytes.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  EXPECT_EQ(Published::Decode(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace ds::federated
