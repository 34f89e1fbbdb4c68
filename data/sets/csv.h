// Tables of comma-separated values (RFC 4180), from bytes: a line of names, then a line a row;
// fields may be quoted, quotes within are doubled, lines end in LF or CR LF. Nothing is guessed: a
// row of another length or an empty field is an error with its line and column.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds {

struct CsvTable {
  std::string origin;                    // the file, for messages
  std::vector<std::string> names;        // of the columns, unique
  std::vector<absl::string_view> cells;  // rows * names.size(), row by row; they lie in the bytes
  std::vector<int64_t> lines;            // of each row in the file, from 1
  std::deque<std::string> unquoted;      // fields that lay in the bytes in another form

  int64_t rows() const { return static_cast<int64_t>(lines.size()); }
  absl::string_view cell(int64_t row, size_t column) const {
    return cells[static_cast<size_t>(row) * names.size() + column];
  }
};

// `separator` is ',' or a tab. The cells share `bytes`. DataLoss names file, line and column.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view bytes, absl::string_view origin,
                                  char separator);

}  // namespace ds
