// Tables, widths and JSON: what turns results into text.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "report/json_text.h"
#include "report/table.h"
#include "report/text_width.h"

namespace ds {
namespace {

TEST(TextWidth, CountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth(""), 0);
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("\xC3\xBC"), 1);          // u with diaeresis
  EXPECT_EQ(DisplayWidth("u\xCC\x88"), 1);         // the same, combining
  EXPECT_EQ(DisplayWidth("\xE6\xBC\xA2"), 2);      // a Chinese character
  EXPECT_EQ(DisplayWidth("\xF0\x9F\x98\x80"), 2);  // an emoji
  EXPECT_EQ(DisplayWidth("\xFF\x80"), 2);          // not UTF-8
  EXPECT_EQ(DisplayWidth("a\xC3"), 2);             // cut off
}

TEST(TextWidth, ClippingNeverCutsACharacter) {
  EXPECT_EQ(ClipToWidth("a\xE6\xBC\xA2z", 2), "a");
  EXPECT_EQ(ClipToWidth("a\xE6\xBC\xA2z", 3), "a\xE6\xBC\xA2");
  EXPECT_EQ(ClipToWidth("abc", 0), "");
  EXPECT_EQ(PadToWidth("a\xE6\xBC\xA2z", 2), "a ");
  EXPECT_EQ(PadToWidth("7", 3, true), "  7");
}

TEST(TextTable, ColumnsAreAsWideAsTheirWidestCell) {
  TextTable table({{"name"}, {"ms", Align::kRight}});
  table.AddRow({"a", "1.5"});
  table.AddRow({"\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2", "10"});
  table.AddRow({"b"});
  EXPECT_EQ(table.ToString(),
            "name     ms\n"
            "------  ---\n"
            "a       1.5\n"
            "\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2   10\n"
            "b\n");
}

TEST(TextTable, WithoutRowsIsItsHeading) {
  EXPECT_EQ(TextTable({{"a"}, {"bb"}}).ToString(), "a  bb\n-  --\n");
}

TEST(Json, StringsAreEscaped) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\u000a\\u0001\"");
}

TEST(Json, NumbersAreShortestExactAndNeverNan) {
  EXPECT_EQ(JsonNumber(0.1), "0.1");
  EXPECT_EQ(JsonNumber(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(JsonNumber(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(JsonNumber(-std::numeric_limits<double>::infinity()), "null");
}

TEST(Json, ObjectsKeepTheOrderOfTheirKeys) {
  JsonObject object, indented(2);
  EXPECT_EQ(object.ToString(), "{}");
  object.Add("b", int64_t{-1});
  object.Add("a", "x");
  EXPECT_EQ(object.ToString(), "{\"b\": -1, \"a\": \"x\"}");
  indented.Add("b", 0.5);
  indented.AddJson("c", "[]");
  EXPECT_EQ(indented.ToString(), "{\n  \"b\": 0.5,\n  \"c\": []\n}");
}

}  // namespace
}  // namespace ds
