// Tables, widths, JSON, markup and axes: what turns results into text.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "report/html.h"
#include "report/json.h"
#include "report/plot_axis.h"
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

TEST(TextWidth, WrapsAtBlanksAndCutsOnlyWordsLongerThanALine) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(WrapToWidth("", 3), Lines{""});
  EXPECT_EQ(WrapToWidth("abc", 3), Lines{"abc"});
  EXPECT_EQ(WrapToWidth("abc de f", 3), (Lines{"abc", "de", "f"}));
  EXPECT_EQ(WrapToWidth("ab   cdefg", 3), (Lines{"ab", "cde", "fg"}));
  EXPECT_EQ(WrapToWidth("a\xE6\xBC\xA2z", 2), (Lines{"a", "\xE6\xBC\xA2", "z"}));
  EXPECT_EQ(WrapToWidth("\xE6\xBC\xA2z", 1), (Lines{"\xE6\xBC\xA2", "z"}));
}

TEST(TextTable, LongTextGoesOnBelowItselfAndPushesNothingAside) {
  TextTable table({{"name"}, {"a longer heading", Align::kRight, 8}, {"ms"}});
  table.AddRow({"a", "one two three", "1"});
  table.AddRow({"b", "4", "2"});
  EXPECT_EQ(table.ToString(),
            "name  a longer  ms\n"
            "       heading\n"
            "----  --------  --\n"
            "a      one two  1\n"
            "         three\n"
            "b            4  2\n");
}

TEST(Json, KeepsOrderHasNoNanAndSurvivesNamesThatAreNotUtf8) {
  EXPECT_EQ(JsonText({{"b", -1}, {"a", "x\"\n"}}, -1), R"({"b":-1,"a":"x\"\n"})");
  EXPECT_EQ(JsonText(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(JsonText("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
}

TEST(Html, NamesCannotBecomeMarkup) {
  EXPECT_EQ(EscapeHtml("a<b>&\"'\n"), "a&lt;b&gt;&amp;&quot;&#39;\xEF\xBF\xBD");
}

TEST(PlotAxis, TicksAreRoundAndWithinTheAxis) {
  EXPECT_EQ(AxisTicks(0, 1000, 5).labels,
            (std::vector<std::string>{"0", "200", "400", "600", "800", "1000"}));
  const AxisTicks fine(91.03, 91.31, 4);
  EXPECT_EQ(fine.labels,
            (std::vector<std::string>{"91.05", "91.10", "91.15", "91.20", "91.25", "91.30"}));
  EXPECT_NEAR(fine.values[0], 91.05, 1e-9);
  // 0 stays 0, without a sign and without rounding's crumbs.
  EXPECT_EQ(AxisTicks(-0.3, 0.3, 6).labels,
            (std::vector<std::string>{"-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"}));
  EXPECT_EQ(AxisTicks(2, 2, 4).labels, std::vector<std::string>{"2"});
}

}  // namespace
}  // namespace ds
