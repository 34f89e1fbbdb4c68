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
    int at_most = 0;  // terminal columns; longer text goes on in lines below. 0: any width
  };

  explicit TextTable(std::vector<Column> columns);

  // Missing cells are empty; more cells than columns is a programming error.
  void AddRow(std::vector<std::string> cells);
  // Lines with '\n' at the end and no blanks before it. A column is as wide as its widest cell (in
  // terminal columns), or as its `at_most`.
  std::string ToString() const;

 private:
  // One row: as many lines as its longest cell needs.
  std::string Lines(const std::vector<std::string>& cells, const std::vector<int>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ds
