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

std::string TextTable::Line(const std::vector<std::string>& cells,
                            const std::vector<int>& widths) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    absl::StrAppend(&line, i == 0 ? "" : "  ",
                    PadToWidth(cells[i], widths[i], columns_[i].align == Align::kRight));
  }
  absl::StripTrailingAsciiWhitespace(&line);
  return line + "\n";
}

std::string TextTable::ToString() const {
  std::vector<std::string> headings, rules;
  std::vector<int> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    int width = DisplayWidth(columns_[i].heading);
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[i]));
    headings.push_back(columns_[i].heading);
    widths.push_back(width);
    rules.push_back(std::string(static_cast<size_t>(width), '-'));
  }
  std::string text = Line(headings, widths) + Line(rules, widths);
  for (const auto& row : rows_) text += Line(row, widths);
  return text;
}

}  // namespace ds
