// What a job makes of its data section: statistics, what is said of them, what the splits must
// share.
#include "jobs/data/data_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/data/array_testing.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Npy;

TrainConfig Table(const TempFolder& folder) {
  TrainConfig config;
  config.data.set.type = "csv";
  config.data.set.path = folder.path();
  config.data.set.targets = {"y"};
  return config;
}

TEST(DataSetup, AColumnThatTellsNothingIsSaidAndDividesNothing) {
  const TempFolder folder;
  folder.Write("train.csv", "a,b,y\n1,5,0\n3,5,1\n");
  folder.Write("test.csv", "a,b,y\n2,5,1\n");
  TrainConfig config = Table(folder);
  const auto splits = OpenSplits(config);
  ASSERT_TRUE(splits.ok()) << splits.status();
  EXPECT_THAT(config.data.loader.mean, ElementsAre(2, 5));
  EXPECT_THAT(config.data.loader.stddev, ElementsAre(1, 1));
  ASSERT_EQ(splits->notes.size(), 1u);
  EXPECT_THAT(splits->notes[0], HasSubstr("column 'b' is 5 everywhere"));
}

TEST(DataSetup, ATablesTargetIsAClassWhereTheLossIsForClasses) {
  const TempFolder folder;
  folder.Write("train.csv", "a,y\n1,0\n3,1\n");
  folder.Write("test.csv", "a,y\n2,1\n");
  TrainConfig config = Table(folder);
  EXPECT_EQ((*OpenSplits(config)).train->info().classes, 2);
  config.data.set.target_type = "number";
  EXPECT_EQ((*OpenSplits(config)).train->info().classes, 0);
}

TEST(DataSetup, SplitsOfTensorsMustBeAlike) {
  const TempFolder folder;
  const auto write = [&](const std::string& split, const std::string& shape, int64_t label) {
    folder.Write(split + "/x.npy", Npy("<f4", "(2, " + shape + ")", std::vector<float>(4)));
    folder.Write(split + "/labels.npy", Npy("<i8", "(2,)", std::vector<int64_t>{0, label}));
  };
  TrainConfig config;
  config.data.set.type = "tensors";
  config.data.set.path = folder.path();
  write("train", "2", 1);
  write("test", "1, 2", 1);
  EXPECT_THAT(std::string(OpenSplits(config).status().message()),
              HasSubstr("'x' of float32 [2], labels 'labels' of int64 [] against 'x' of float32 "
                        "[1, 2]"));
  write("test", "2", 7);
  EXPECT_THAT(std::string(OpenSplits(config).status().message()),
              HasSubstr("the test data has class 7, the training data's highest is 1"));
  write("test", "2", 0);
  EXPECT_TRUE(OpenSplits(config).ok());
}

}  // namespace
}  // namespace ds
