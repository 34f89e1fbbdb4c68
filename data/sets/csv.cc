#include "data/sets/csv.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

class Parser {
 public:
  Parser(absl::string_view bytes, char separator, CsvTable& table)
      : bytes_(bytes), separator_(separator), table_(table) {}

  absl::Status Run() {
    DS_RETURN_IF_ERROR(Header());
    while (at_ < bytes_.size()) {
      if (SkipEmptyLine()) continue;
      row_.clear();
      const int64_t line = line_;
      DS_RETURN_IF_ERROR(Line(row_));
      if (row_.size() != table_.names.size()) {
        return Wrong(line, absl::StrCat(row_.size(), " fields, but ", table_.names.size(),
                                        " columns are named in the first line"));
      }
      table_.cells.insert(table_.cells.end(), row_.begin(), row_.end());
      table_.lines.push_back(line);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Wrong(int64_t line, absl::string_view what) const {
    return absl::DataLossError(absl::StrCat(table_.origin, ":", line, ": ", what));
  }

  absl::Status Header() {
    absl::ConsumePrefix(&bytes_, kByteOrderMark);
    DS_RETURN_IF_ERROR(Line(row_));
    std::set<absl::string_view> seen;
    for (size_t i = 0; i < row_.size(); ++i) {
      if (row_[i].empty()) return Wrong(1, absl::StrCat("column ", i + 1, " has no name"));
      if (!seen.insert(row_[i]).second)
        return Wrong(1, absl::StrCat("two columns are named '", row_[i], "'"));
      table_.names.emplace_back(row_[i]);
    }
    return absl::OkStatus();
  }

  bool SkipEmptyLine() {
    const absl::string_view rest = bytes_.substr(at_);
    const size_t length = rest[0] == '\n' ? 1 : rest.substr(0, 2) == "\r\n" ? 2 : 0;
    at_ += length;
    line_ += length > 0;
    return length > 0;
  }

  // The fields up to the line's end, which is taken too.
  absl::Status Line(std::vector<absl::string_view>& fields) {
    while (true) {
      absl::string_view field;
      DS_RETURN_IF_ERROR(Field(field));
      fields.push_back(field);
      if (at_ == bytes_.size()) return absl::OkStatus();
      if (bytes_[at_++] == separator_) continue;
      // Field stops at the end of a line alone.
      ++line_;
      return absl::OkStatus();
    }
  }

  absl::Status Field(absl::string_view& field) {
    if (at_ < bytes_.size() && bytes_[at_] == '"') return Quoted(field);
    const size_t begin = at_;
    while (at_ < bytes_.size() && bytes_[at_] != separator_ && bytes_[at_] != '\n') ++at_;
    // A carriage return before the line's end is white space, too.
    field = absl::StripAsciiWhitespace(bytes_.substr(begin, at_ - begin));
    if (field.find('"') == absl::string_view::npos) return absl::OkStatus();
    return Wrong(line_, absl::StrCat("a quote within field '", field,
                                     "'; quote the whole field and double the quote"));
  }

  absl::Status Quoted(absl::string_view& field) {
    const int64_t line = line_;
    const size_t begin = ++at_;
    bool doubled = false;
    for (; at_ < bytes_.size(); ++at_) {
      line_ += bytes_[at_] == '\n';
      if (bytes_[at_] != '"') continue;
      if (at_ + 1 == bytes_.size() || bytes_[at_ + 1] != '"') break;
      doubled = true;
      ++at_;
    }
    if (at_ == bytes_.size()) return Wrong(line, "a quoted field does not end");
    field = bytes_.substr(begin, at_ - begin);
    ++at_;
    if (doubled) {
      std::string plain;
      for (size_t i = 0; i < field.size(); ++i) {
        plain.push_back(field[i]);
        i += field[i] == '"';
      }
      field = table_.unquoted.emplace_back(std::move(plain));
    }
    if (at_ < bytes_.size() && bytes_[at_] == '\r') ++at_;
    if (at_ == bytes_.size() || bytes_[at_] == separator_ || bytes_[at_] == '\n')
      return absl::OkStatus();
    return Wrong(line_, "text follows a quoted field");
  }

  absl::string_view bytes_;
  char separator_;
  CsvTable& table_;
  size_t at_ = 0;
  int64_t line_ = 1;
  std::vector<absl::string_view> row_;
};

}  // namespace

absl::StatusOr<CsvTable> ParseCsv(absl::string_view bytes, absl::string_view origin,
                                  char separator) {
  CsvTable table;
  table.origin = std::string(origin);
  DS_RETURN_IF_ERROR(Parser(bytes, separator, table).Run());
  return table;
}

}  // namespace ds
