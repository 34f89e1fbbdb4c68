#include "report/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "report/text_width.h"

namespace ds {

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TextTable::AddRow(std::vector<std::string> cells) {
  DS_CHECK(cells.size() <= columns_.size()) << cells.size() << " cells";
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::Lines(const std::vector<std::string>& cells,
                             const std::vector<int>& widths) const {
  std::vector<std::vector<std::string>> wrapped;
  size_t height = 1;
  for (size_t i = 0; i < cells.size(); ++i) {
    wrapped.push_back(WrapToWidth(cells[i], std::max(1, widths[i])));
    height = std::max(height, wrapped.back().size());
  }
  std::string text;
  for (size_t y = 0; y < height; ++y) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ",
                      PadToWidth(y < wrapped[i].size() ? wrapped[i][y] : "", widths[i],
                                 columns_[i].align == Align::kRight));
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string TextTable::ToString() const {
  std::vector<std::string> headings, rules;
  std::vector<int> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    int width = DisplayWidth(columns_[i].heading);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[i]));
    if (columns_[i].at_most > 0) width = std::min(width, columns_[i].at_most);
    headings.push_back(columns_[i].heading);
    widths.push_back(width);
    rules.push_back(std::string(static_cast<size_t>(width), '-'));
  }
  std::string text = Lines(headings, widths) + Lines(rules, widths);
  for (const auto& row : rows_) text += Lines(row, widths);
  return text;
}

}  // namespace ds
