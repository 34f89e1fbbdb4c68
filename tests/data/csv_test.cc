// Tables: how they are read, what they become, and what is refused with line and column.
#include "data/sets/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ParseError(const std::string& text) {
  const auto table = ParseCsv(text, "t.csv", ',');
  return table.ok() ? "" : std::string(table.status().message());
}

TEST(Csv, FieldsAreReadAsTheStandardWritesThem) {
  const std::string text =
      "\xef\xbb\xbf"
      "a, b ,\"c, d\"\r\n1, two ,\"say \"\"three\"\"\"\r\n\r\n4,\"five\nlines\",6\n7,8,9\n";
  const auto table = ParseCsv(text, "t.csv", ',');
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a", "b", "c, d"));
  EXPECT_THAT(table->cells,
              ElementsAre("1", "two", "say \"three\"", "4", "five\nlines", "6", "7", "8", "9"));
  EXPECT_THAT(table->lines, ElementsAre(2, 4, 6));
}

TEST(Csv, WhatIsNoTableIsRefusedWithItsLine) {
  EXPECT_THAT(ParseError("a,b\n1,2\n3\n"), HasSubstr("t.csv:3: 1 fields, but 2 columns"));
  EXPECT_THAT(ParseError("a,a\n1,2\n"), HasSubstr("t.csv:1: two columns are named 'a'"));
  EXPECT_THAT(ParseError("a,\n1,2\n"), HasSubstr("column 2 has no name"));
  EXPECT_THAT(ParseError("a,b\n1,\"2\n3,4\n"), HasSubstr("t.csv:2: a quoted field does not end"));
  EXPECT_THAT(ParseError("a,b\n1,\"2\"x\n"), HasSubstr("text follows a quoted field"));
  EXPECT_THAT(ParseError("a,b\n1,2\"\n"), HasSubstr("a quote within field"));
  EXPECT_NE(ParseError(""), "");
}

struct Tables {
  testing::TempFolder folder;
  DatasetOptions options;
  Tables() {
    options.type = "csv";
    options.path = folder.path();
    options.targets = {"y"};
  }
  std::string Error(const std::string& split = "train") {
    options.split = split;
    const auto data = OpenDataset(options);
    return data.ok() ? "" : std::string(data.status().message());
  }
  std::shared_ptr<const Dataset> Open(const std::string& split = "train") {
    options.split = split;
    auto data = OpenDataset(options);
    EXPECT_TRUE(data.ok()) << data.status();
    return data.ok() ? *data : nullptr;
  }
};

// Inputs and target of a row.
std::vector<float> Row(const Dataset& data, int64_t row) {
  std::vector<float> all(static_cast<size_t>(data.info().channels));
  std::vector<std::byte> target(data.info().target->shape.empty()
                                    ? 8
                                    : 4 * static_cast<size_t>(data.info().target->shape[0]));
  const absl::Span<std::byte> inputs[] = {
      {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(float)}};
  EXPECT_TRUE(data.ReadTensors(row, inputs, absl::MakeSpan(target)).ok());
  if (data.info().target->dtype == DType::kInt64) {
    all.push_back(static_cast<float>(*reinterpret_cast<const int64_t*>(target.data())));
  } else {
    for (size_t i = 0; i < target.size() / 4; ++i)
      all.push_back(reinterpret_cast<const float*>(target.data())[i]);
  }
  return all;
}

TEST(CsvData, NumbersAreInputsWordsAreClassesAndCategoriesOneInputAValue) {
  Tables tables;
  tables.folder.Write("train.csv", "size,city,y\n1.5,Rome,cat\n2,Bern,dog\n-3e1,Rome,cat\n");
  tables.folder.Write("test.csv", "size,city,y\n7,Bern,cat\n");
  EXPECT_THAT(tables.Error(), HasSubstr("train.csv:2: column 'city' has 'Rome', no finite number"));
  tables.options.categories = {"city"};
  const auto train = tables.Open();
  EXPECT_THAT(train->info().channel_names, ElementsAre("size", "city=Bern", "city=Rome"));
  EXPECT_THAT(train->info().class_names, ElementsAre("cat", "dog"));
  EXPECT_EQ(train->info().classes, 2);
  EXPECT_THAT(Row(*train, 0), ElementsAre(1.5f, 0, 1, 0));
  EXPECT_THAT(Row(*train, 1), ElementsAre(2, 1, 0, 1));
  EXPECT_THAT(Row(*train, 2), ElementsAre(-30, 0, 1, 0));
  EXPECT_THAT(Row(*tables.Open("test"), 0), ElementsAre(7, 1, 0, 0));
  tables.options.features = {"city"};
  EXPECT_THAT(Row(*tables.Open(), 0), ElementsAre(0, 1, 0));
}

TEST(CsvData, TargetsMayBeValuesSeveralOrClassesByNumber) {
  Tables tables;
  tables.folder.Write("train.csv", "a,y,z\n1,0,5\n2,3,6.5\n");
  tables.folder.Write("test.csv", "a,y,z\n1,4,5\n");
  tables.options.features = {"a"};
  EXPECT_THAT(Row(*tables.Open(), 1), ElementsAre(2, 3));
  EXPECT_EQ(tables.Open()->info().target->shape, (Shape{1}));
  tables.options.target_type = "class";
  EXPECT_EQ(tables.Open()->info().classes, 4);
  EXPECT_THAT(
      tables.Error("test"),
      HasSubstr("test.csv:2: column 'y' has class 4, but the training split's highest is 3"));
  tables.options.ignored_label = 3;
  EXPECT_EQ(tables.Open()->info().classes, 1);
  EXPECT_THAT(Row(*tables.Open(), 1), ElementsAre(2, 3));
  tables.options.targets = {"z"};
  EXPECT_THAT(tables.Error(), HasSubstr("column 'z' has 6.5, no class"));
  tables.options.targets = {"y", "z"};
  EXPECT_THAT(tables.Error(), HasSubstr("takes one data.target"));
  tables.options.target_type = "auto";
  EXPECT_THAT(Row(*tables.Open(), 1), ElementsAre(2, 3, 6.5f));
}

TEST(CsvData, MissingAndUnknownValuesAreRefusedWithLineAndColumn) {
  Tables tables;
  tables.folder.Write("train.csv", "a,city,y\n1,Rome,2\n,Bern,3\n");
  tables.folder.Write("test.csv", "a,city,y\n1,Oslo,2\n");
  tables.options.categories = {"city"};
  EXPECT_THAT(tables.Error(), HasSubstr("train.csv:3: column 'a' has no value"));
  tables.folder.Write("train.csv", "a,city,y\n1,Rome,2\nnan,Bern,3\n");
  EXPECT_THAT(tables.Error(), HasSubstr("train.csv:3: column 'a' has 'nan', no finite number"));
  tables.folder.Write("train.csv", "a,city,y\n1,Rome,2\n4,Bern,3\n");
  EXPECT_EQ(tables.Error(), "");
  EXPECT_THAT(tables.Error("test"), HasSubstr("column 'city' has 'Oslo', which no row"));
  tables.folder.Write("test.csv", "a,y,city\n1,2,Rome\n");
  EXPECT_THAT(tables.Error("test"), HasSubstr("the columns are not those of"));
  tables.options.targets = {"why"};
  EXPECT_THAT(tables.Error(), HasSubstr("no column 'why' (data.target); there are a, city, y"));
}

TEST(CsvData, InputsAreStandardisedByTheTrainingRows) {
  Tables tables;
  tables.folder.Write("train.csv", "a,b,y\n1,5,0\n2,5,0\n6,5,0\n");
  tables.folder.Write("test.csv", "a,b,y\n9,5,0\n");
  std::vector<float> mean, stddev;
  ASSERT_TRUE(MeanAndStddev(*tables.Open(), 0, &mean, &stddev).ok());
  EXPECT_THAT(mean, ElementsAre(3, 5));
  EXPECT_FLOAT_EQ(stddev[0], std::sqrt(14.0f / 3));
  EXPECT_EQ(stddev[1], 0);
  auto loader = DataLoader::Create(tables.Open("test"),
                                   {.batch_size = 1, .mean = {3, 5}, .stddev = {stddev[0], 1}});
  ASSERT_TRUE(loader.ok()) << loader.status();
  ASSERT_TRUE((*loader)->StartEpoch(0).ok());
  const auto batch = (*loader)->Next();
  ASSERT_TRUE(batch.ok() && batch->has_value());
  EXPECT_FLOAT_EQ((*batch)->inputs[0].values.span<float>()[0], 6 / std::sqrt(14.0f / 3));
  EXPECT_EQ((*batch)->inputs[0].values.span<float>()[1], 0);
}

TEST(CsvData, OneFileIsDealtToBothSplits) {
  Tables tables;
  std::string text = "a,y\n";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&text, i, ",", 2 * i, "\n");
  tables.options.path = tables.folder.Write("all.csv", text);
  tables.options.validation_fraction = 0.25;
  const auto train = tables.Open(), test = tables.Open("test");
  ASSERT_EQ(train->info().size, 30);
  ASSERT_EQ(test->info().size, 10);
  std::vector<int> seen(40);
  for (const auto& data : {train, test}) {
    for (int64_t i = 0; i < data->info().size; ++i) {
      const std::vector<float> row = Row(*data, i);
      EXPECT_EQ(row[1], 2 * row[0]);
      ++seen[static_cast<size_t>(row[0])];
    }
  }
  EXPECT_THAT(seen, ::testing::Each(1));
}

}  // namespace
}  // namespace ds
