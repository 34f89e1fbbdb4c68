// data.type tensors: which arrays feed which inputs, splits, labels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "tests/data/array_testing.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using testing::Npy;

template <typename T>
std::vector<T> Range(int64_t count, int64_t from = 0) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<T>(from + i);
  return values;
}

DatasetOptions Options(const std::string& path, const std::string& split = "train") {
  DatasetOptions options;
  options.type = "tensors";
  options.path = path;
  options.split = split;
  return options;
}

std::string Error(const DatasetOptions& options) {
  const auto data = OpenDataset(options);
  return data.ok() ? "" : std::string(data.status().message());
}

// Tokens [n, 3] and a mask [n, 3], with labels.
void WriteText(const testing::TempFolder& folder, const std::string& split, int64_t n,
               const std::vector<int64_t>& labels) {
  const std::string shape = absl::StrCat("(", n, ", 3)");
  folder.Write(split + "/input_ids.npy", Npy("<i8", shape, Range<int64_t>(n * 3)));
  folder.Write(split + "/attention_mask.npy", Npy("<i4", shape, Range<int32_t>(n * 3, 100)));
  folder.Write(split + "/labels.npy", Npy("<i8", absl::StrCat("(", n, ",)"), labels));
}

TEST(Tensors, EachInputIsAnArrayByItsNameAndLabelsAreTargets) {
  const testing::TempFolder folder;
  WriteText(folder, "train", 5, {0, 2, 1, 0, 2});
  const auto data = OpenDataset(Options(folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  const DatasetInfo& info = (*data)->info();
  EXPECT_EQ(info.kind, SampleKind::kTensors);
  EXPECT_EQ(info.size, 5);
  EXPECT_EQ(info.classes, 3);
  ASSERT_EQ(info.inputs.size(), 2u);
  EXPECT_EQ(info.inputs[0].name, "attention_mask");
  EXPECT_EQ(info.inputs[0].dtype, DType::kInt32);
  EXPECT_EQ(info.inputs[1].shape, (Shape{3}));
  auto loader = DataLoader::Create(*data, {.batch_size = 2, .shuffle = false, .drop_last = false});
  ASSERT_TRUE(loader.ok()) << loader.status();
  ASSERT_TRUE((*loader)->StartEpoch(0).ok());
  std::vector<int64_t> labels;
  for (int64_t first = 0; first < 5; first += 2) {
    const auto batch = (*loader)->Next();
    ASSERT_TRUE(batch.ok() && batch->has_value()) << batch.status();
    const int64_t n = std::min<int64_t>(2, 5 - first);
    EXPECT_EQ((*batch)->size(), n);
    const auto& inputs = (*batch)->inputs;
    EXPECT_EQ(inputs[1].values.shape(), (Shape{n, 3}));
    for (int64_t i = 0; i < n * 3; ++i) {
      EXPECT_EQ(inputs[1].values.span<int64_t>()[i], first * 3 + i);
      EXPECT_EQ(inputs[0].values.span<int32_t>()[i], 100 + first * 3 + i);
    }
    const auto part = (*batch)->targets->span<int64_t>();
    labels.insert(labels.end(), part.begin(), part.end());
  }
  EXPECT_EQ(labels, (std::vector<int64_t>{0, 2, 1, 0, 2}));
}

TEST(Tensors, LabelsMayBeAbsentOrOfAnyKind) {
  const testing::TempFolder folder;
  folder.Write("train/x.npy", Npy("<f8", "(2, 4)", Range<double>(8)));
  const auto target = [&]() -> std::optional<ArrayInfo> {
    const auto data = OpenDataset(Options(folder.path()));
    EXPECT_TRUE(data.ok()) << data.status();
    return data.ok() ? (*data)->info().target : std::nullopt;
  };
  EXPECT_FALSE(target().has_value());
  const auto expect = [&](const std::string& file, DType dtype, const Shape& shape) {
    folder.Write("train/labels.npy", file);
    const auto info = target();
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->dtype, dtype);
    EXPECT_EQ(info->shape, shape);
  };
  expect(Npy("|u1", "(2, 1)", Range<uint8_t>(2)), DType::kInt64, {});
  expect(Npy("<i4", "(2, 3)", Range<int32_t>(6)), DType::kInt64, {3});
  expect(Npy("|u1", "(2, 2, 2)", Range<uint8_t>(8)), DType::kInt64, {2, 2});
  expect(Npy("<f8", "(2,)", Range<double>(2)), DType::kFloat32, {});
  expect(Npy("|b1", "(2, 3)", Range<uint8_t>(6)), DType::kFloat32, {3});
}

TEST(Tensors, HalvesAndDoublesBecomeTheFloatsTheyStandFor) {
  const testing::TempFolder folder;
  folder.Write("train/x.npy", Npy("<f4", "(2, 1)", Range<float>(2)));
  folder.Write("train/labels.npy",
               Npy("<f2", "(2, 2)", std::vector<uint16_t>{0x3c00, 0xc000, 0x3800, 0x0001}));
  const auto data = OpenDataset(Options(folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  float x = 0, labels[2] = {};
  const absl::Span<std::byte> inputs[] = {{reinterpret_cast<std::byte*>(&x), sizeof(x)}};
  const absl::Span<std::byte> out(reinterpret_cast<std::byte*>(labels), sizeof(labels));
  ASSERT_TRUE((*data)->ReadTensors(0, inputs, out).ok());
  EXPECT_EQ(labels[0], 1.0f);
  EXPECT_EQ(labels[1], -2.0f);
  ASSERT_TRUE((*data)->ReadTensors(1, inputs, out).ok());
  EXPECT_EQ(labels[0], 0.5f);
  EXPECT_EQ(labels[1], 0x1p-24f);
  EXPECT_FALSE((*data)->ReadTensors(2, inputs, out).ok());
  EXPECT_FALSE((*data)->ReadTensors(0, {}, out).ok());
}

TEST(Tensors, AFolderWithoutSplitsIsDealtToBothOnce) {
  const testing::TempFolder folder;
  folder.Write("x.npy", Npy("<i8", "(50,)", Range<int64_t>(50)));
  std::set<int64_t> all;
  for (const auto& [split, size] : {std::pair("train", 40), std::pair("test", 10)}) {
    DatasetOptions options = Options(folder.path(), split);
    options.validation_fraction = 0.2;
    const auto data = OpenDataset(options);
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ((*data)->info().size, size);
    for (int64_t i = 0; i < size; ++i) {
      int64_t x = -1;
      const absl::Span<std::byte> inputs[] = {{reinterpret_cast<std::byte*>(&x), sizeof(x)}};
      ASSERT_TRUE((*data)->ReadTensors(i, inputs, {}).ok());
      EXPECT_TRUE(all.insert(x).second) << x << " is in both";
    }
  }
  EXPECT_EQ(all.size(), 50u);
}

TEST(Tensors, OneFileASplitDoesToo) {
  const testing::TempFolder folder;
  for (const char* split : {"train", "val"}) {
    folder.Write(absl::StrCat(split, ".npz"),
                 testing::Zip({{"x.npy", Npy("<f4", "(3,)", Range<float>(3)), false},
                               {"y.npy", Npy("<i8", "(3,)", Range<int64_t>(3)), false}},
                              false));
  }
  DatasetOptions options = Options(folder.path(), "test");
  options.targets = {"y"};
  const auto data = OpenDataset(options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->info().inputs.size(), 1u);
  EXPECT_EQ((*data)->info().classes, 3);
  options.targets = {"z"};
  EXPECT_THAT(Error(options), HasSubstr("no array 'z' (data.target); there are x, y"));
}

TEST(Tensors, WhatDoesNotFitIsSaidWithFileArrayAndShape) {
  const testing::TempFolder folder;
  EXPECT_THAT(Error(Options(folder.path())), HasSubstr("Layout"));
  WriteText(folder, "train", 3, {0, 1, -5});
  EXPECT_THAT(Error(Options(folder.path())), HasSubstr("sample 2: label -5 is no class"));
  DatasetOptions ignoring = Options(folder.path());
  ignoring.ignored_label = -5;
  EXPECT_EQ(Error(ignoring), "");
  folder.Write("train/labels.npy", Npy("<i8", "(2,)", Range<int64_t>(2)));
  EXPECT_THAT(Error(Options(folder.path())), HasSubstr("'labels' has shape [2], 2 samples, but"));
  folder.Write("train/labels.npy", Npy("<i8", "(0,)", std::vector<int64_t>{}));
  EXPECT_THAT(Error(Options(folder.path())), HasSubstr("no samples"));
  folder.Write("train/labels.npy", Npy("<u8", "(3,)", std::vector<uint64_t>{0, 1, ~uint64_t{0}}));
  EXPECT_THAT(Error(Options(folder.path())), HasSubstr("is no class"));
}

TEST(Tensors, AStrayLabelIsSaidWithItsSample) {
  const testing::TempFolder folder;
  WriteText(folder, "train", 4, {0, 1, 200, 2});
  const auto data = OpenDataset(Options(folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ((*data)->info().notes.size(), 1u);
  EXPECT_THAT((*data)->info().notes[0], HasSubstr("sample 2 has label 200"));
}

TEST(Tensors, ATargetThatIsNotFiniteIsNamedWhenItIsRead) {
  const testing::TempFolder folder;
  folder.Write("train/x.npy", Npy("<f4", "(2,)", Range<float>(2)));
  folder.Write("train/labels.npy", Npy("<f4", "(2,)", std::vector<float>{0, NAN}));
  const auto data = OpenDataset(Options(folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  auto loader = DataLoader::Create(*data, {.batch_size = 2});
  ASSERT_TRUE(loader.ok() && (*loader)->StartEpoch(0).ok());
  EXPECT_THAT(std::string((*loader)->Next().status().message()), HasSubstr("'labels', sample 1"));
}

TEST(Tensors, OneFloatInputMayBeStandardisedChannelByChannel) {
  const testing::TempFolder folder;
  folder.Write("train/x.npy", Npy("<f4", "(2, 2, 3)", Range<float>(12)));
  const auto data = OpenDataset(Options(folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  LoaderOptions options = {.batch_size = 2, .shuffle = false, .mean = {1, 2}, .stddev = {2, 4}};
  auto loader = DataLoader::Create(*data, options);
  ASSERT_TRUE(loader.ok()) << loader.status();
  ASSERT_TRUE((*loader)->StartEpoch(0).ok());
  const auto batch = (*loader)->Next();
  ASSERT_TRUE(batch.ok() && batch->has_value());
  for (int i = 0; i < 12; ++i) {
    const float expected = i / 3 % 2 == 0 ? (i - 1) / 2.0f : (i - 2) / 4.0f;
    EXPECT_EQ((*batch)->inputs[0].values.span<float>()[i], expected) << i;
  }
  options.mean = {1, 2, 3};
  options.stddev = {1, 1, 1};
  EXPECT_FALSE(DataLoader::Create(*data, options).ok());
  options.mean = options.stddev = {};
  options.augment.horizontal_flip = true;
  EXPECT_FALSE(DataLoader::Create(*data, options).ok());
}

}  // namespace
}  // namespace ds
