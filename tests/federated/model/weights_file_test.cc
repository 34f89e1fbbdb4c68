// The flat file: what comes back, and damage of its layout.
#include "federated/model/weights_file.h"

#include "base/tensor/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

TEST(FlatModel, ComesBack) {
  const TempFolder folder;
  const std::string path = folder.path() + "/weights.safetensors";
  const ModelLayout layout = {.slots = {{"a", 2, SlotKind::kParameter},
                                        {"m", 1, SlotKind::kStatistic},
                                        {"v", 1, SlotKind::kVariance}}};
  const std::vector<float> weights = {1, -2, 0.5f, 3};
  ASSERT_TRUE(WriteFlatModel(path, layout, weights).ok());
  const auto read = ReadFlatModel(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->weights, weights);
  ASSERT_EQ(read->layout.slots.size(), 3u);
  EXPECT_EQ(read->layout.slots[2].name, "v");
  EXPECT_EQ(read->layout.slots[2].kind, SlotKind::kVariance);
}

TEST(FlatModel, ALayoutThatDoesNotFitIsRefused) {
  const TempFolder folder;
  const std::string path = folder.path() + "/weights.safetensors";
  const TensorMap tensors = {{"weights", Tensor::From<float>({3}, {1, 2, 3})}};
  for (const char* layout :
       {"", "{}", "[[\"a\", 2, \"parameter\"]]", "[[\"a\", 4, \"parameter\"]]",
        "[[\"a\", -3, \"parameter\"]]", "[[\"a\", 3, \"other\"]]", "[[\"a\", 3]]",
        "[[\"a\", 9223372036854775807, \"parameter\"], [\"b\", 9223372036854775807, "
        "\"parameter\"]]"}) {
    ASSERT_TRUE(WriteSafetensors(path, tensors, {{"layout", layout}}).ok());
    const auto read = ReadFlatModel(path);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << layout;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(path));
  }
}

}  // namespace
}  // namespace ds::federated
