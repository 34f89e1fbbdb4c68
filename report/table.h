// Text tables for results: aligned columns, one rule under the heading, plain ASCII around the
// cells.
#pragma once

#include <string>
#include <vector>

namespace ds {

enum class Align { kLeft, kRight };

class TextTable {
 public:
  struct Column {
    std::string heading;
    Align align = Align::kLeft;
  };

  explicit TextTable(std::vector<Column> columns);

  // Missing cells are empty; more cells than columns is a programming error.
  void AddRow(std::vector<std::string> cells);
  // Lines with '\n' at the end and no blanks before it. A column is as wide as its widest cell (in
  // terminal columns).
  std::string ToString() const;

 private:
  std::string Line(const std::vector<std::string>& cells, const std::vector<int>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ds
