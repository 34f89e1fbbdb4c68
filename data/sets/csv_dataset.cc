// A table for regression or classification: numbers and categories in, the columns of data.target
// out. Held in memory as float32; standardising is the loader's, by the training split's moments.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "base/status.h"
#include "data/sets/csv.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

// Words, sorted, to their numbers.
using Codes = std::map<std::string, int64_t, std::less<>>;

class CsvSet final : public OnlyTensors {
 public:
  CsvSet(DatasetInfo info, std::vector<float> inputs, std::vector<float> values,
         std::vector<int64_t> labels)
      : info_(std::move(info)),
        inputs_(std::move(inputs)),
        values_(std::move(values)),
        labels_(std::move(labels)) {}

  const DatasetInfo& info() const override { return info_; }
  absl::Status ReadTensors(int64_t index, absl::Span<const absl::Span<std::byte>> inputs,
                           absl::Span<std::byte> target) const override {
    DS_RETURN_IF_ERROR(CheckReadTensors(info_, index, inputs, target));
    const auto row = static_cast<size_t>(index);
    std::memcpy(inputs[0].data(),
                reinterpret_cast<const std::byte*>(inputs_.data()) + row * inputs[0].size(),
                inputs[0].size());
    const auto* const targets = labels_.empty()
                                    ? reinterpret_cast<const std::byte*>(values_.data())
                                    : reinterpret_cast<const std::byte*>(labels_.data());
    if (!target.empty()) std::memcpy(target.data(), targets + row * target.size(), target.size());
    return absl::OkStatus();
  }

 private:
  DatasetInfo info_;
  std::vector<float> inputs_;    // [size, columns]
  std::vector<float> values_;    // [size, targets], or
  std::vector<int64_t> labels_;  // [size]
};

// A file and its table, whose cells lie in it.
struct Table {
  std::shared_ptr<const MappedFile> file;
  CsvTable cells;
};

absl::StatusOr<Table> ReadTable(const std::string& path) {
  Table table;
  DS_ASSIGN_OR_RETURN(table.file, MappedFile::Open(path));
  const absl::string_view text(reinterpret_cast<const char*>(table.file->bytes().data()),
                               table.file->bytes().size());
  DS_ASSIGN_OR_RETURN(table.cells, ParseCsv(text, path, absl::EndsWith(path, ".tsv") ? '\t' : ','));
  if (table.cells.rows() > 0) return table;
  return absl::InvalidArgumentError(absl::StrCat(path, ": holds no rows below its column names"));
}

struct Files {
  std::string train, test;  // the same: dealt to both
};

absl::StatusOr<Files> FindFiles(const DatasetOptions& options) {
  std::vector<std::string> tried;
  for (const std::string& place : Places(options)) {
    std::error_code ignored;
    if (fs::is_regular_file(place, ignored)) return Files{place, place};
    for (const char* ending : {".csv", ".tsv"}) {
      const std::string train = (fs::path(place) / "train").string() + ending;
      for (const char* name : {"test", "val"}) {
        const std::string test = (fs::path(place) / name).string() + ending;
        if (fs::is_regular_file(train, ignored) && fs::is_regular_file(test, ignored))
          return Files{train, test};
      }
      tried.push_back(absl::StrCat(train, " with test", ending));
    }
  }
  return MissingData("table (csv)", tried,
                     "Layout: one .csv file, of which data's validation share is held out, or a "
                     "folder with train.csv and test.csv (or val.csv; .tsv for tabs).");
}

absl::StatusOr<size_t> Column(const CsvTable& table, const std::string& name, const char* key) {
  const auto found = std::find(table.names.begin(), table.names.end(), name);
  if (found != table.names.end()) return static_cast<size_t>(found - table.names.begin());
  return absl::NotFoundError(absl::StrCat(table.origin, ":1: no column '", name, "' (", key,
                                          "); there are ", absl::StrJoin(table.names, ", ")));
}

absl::Status WrongCell(const CsvTable& table, int64_t row, size_t column, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(table.origin, ":", table.lines[static_cast<size_t>(row)],
                                          ": column '", table.names[column], "' ", what));
}

absl::StatusOr<absl::string_view> Word(const CsvTable& table, int64_t row, size_t column) {
  const absl::string_view cell = table.cell(row, column);
  if (!cell.empty()) return cell;
  return WrongCell(table, row, column, "has no value; fill it in or remove the row");
}

absl::StatusOr<float> Number(const CsvTable& table, int64_t row, size_t column) {
  DS_ASSIGN_OR_RETURN(const absl::string_view cell, Word(table, row, column));
  float value = 0;
  if (absl::SimpleAtof(cell, &value) && std::isfinite(value)) return value;
  return WrongCell(table, row, column,
                   absl::StrCat("has '", cell,
                                "', no finite number; name the column in data.categories, or leave "
                                "it out of data.features"));
}

bool AllNumbers(const CsvTable& table, size_t column) {
  for (int64_t row = 0; row < table.rows(); ++row) {
    float value;
    if (!absl::SimpleAtof(table.cell(row, column), &value)) return false;
  }
  return true;
}

// The different words of a column, numbered in the order of their bytes.
absl::StatusOr<Codes> CodesOf(const CsvTable& table, size_t column) {
  Codes codes;
  for (int64_t row = 0; row < table.rows(); ++row) {
    DS_ASSIGN_OR_RETURN(const absl::string_view word, Word(table, row, column));
    codes.emplace(std::string(word), 0);
  }
  int64_t next = 0;
  for (auto& [word, code] : codes) code = next++;
  return codes;
}

absl::StatusOr<int64_t> Code(const Codes& codes, const CsvTable& table, int64_t row,
                             size_t column) {
  DS_ASSIGN_OR_RETURN(const absl::string_view word, Word(table, row, column));
  const auto found = codes.find(word);
  if (found != codes.end()) return found->second;
  return WrongCell(table, row, column,
                   absl::StrCat("has '", word, "', which no row of the training split has"));
}

// One column of the table as one or more of the model's.
struct Feature {
  std::string name;
  size_t column = 0;
  std::optional<Codes> codes;  // one input a word
  int64_t width() const { return codes ? static_cast<int64_t>(codes->size()) : 1; }
};

// What the training table settles for both splits.
struct Encoding {
  std::vector<Feature> features;
  std::vector<size_t> targets;
  bool classes = false;
  std::optional<Codes> class_codes;  // of words; numbers are classes as they are
  int64_t class_count = 0;
  int64_t ignored_label = 0;
  int64_t width = 0;
};

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status ChooseFeatures(const DatasetOptions& options, const CsvTable& table,
                            Encoding& encoding) {
  for (const std::string& name : options.categories)
    DS_RETURN_IF_ERROR(Column(table, name, "data.categories").status());
  std::vector<std::string> names = options.features;
  if (names.empty()) names = table.names;
  for (const std::string& name : names) {
    if (Contains(options.targets, name)) {
      if (options.features.empty()) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("data.features names '", name, "', which is a data.target"));
    }
    Feature feature{name, 0, std::nullopt};
    DS_ASSIGN_OR_RETURN(feature.column, Column(table, name, "data.features"));
    if (Contains(options.categories, name)) {
      DS_ASSIGN_OR_RETURN(feature.codes, CodesOf(table, feature.column));
    }
    encoding.width += feature.width();
    encoding.features.push_back(std::move(feature));
  }
  if (encoding.width > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(table.origin, ": no column is left to learn from"));
}

// The class that a number names, or `ignored`, or an error with the cell.
absl::StatusOr<int64_t> ClassNumber(const CsvTable& table, int64_t row, size_t column,
                                    int64_t ignored) {
  constexpr int64_t kMostClasses = 1 << 24;
  DS_ASSIGN_OR_RETURN(const float value, Number(table, row, column));
  if (value == static_cast<float>(ignored)) return ignored;
  if (value >= 0 && value < kMostClasses && value == std::floor(value))
    return static_cast<int64_t>(value);
  return WrongCell(table, row, column,
                   absl::StrCat("has ", value,
                                ", no class; classes count 0, 1, 2, ..., or are words; for values "
                                "to regress set data.target_type=number"));
}

absl::Status ChooseTargets(const DatasetOptions& options, const CsvTable& table,
                           Encoding& encoding) {
  if (options.targets.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("data.target is empty: name the column of ",
                                                   table.origin, " to be learned, one of ",
                                                   absl::StrJoin(table.names, ", ")));
  }
  for (const std::string& name : options.targets) {
    DS_ASSIGN_OR_RETURN(const size_t column, Column(table, name, "data.target"));
    encoding.targets.push_back(column);
  }
  encoding.ignored_label = options.ignored_label;
  const size_t column = encoding.targets[0];
  const bool words = !AllNumbers(table, column);
  encoding.classes = options.target_type == "class" ||
                     (options.target_type == "auto" && words && encoding.targets.size() == 1);
  if (!encoding.classes) return absl::OkStatus();
  if (encoding.targets.size() > 1) {
    return absl::InvalidArgumentError(
        "data.target_type=class takes one data.target; several are values, or 0 and 1 of several "
        "labels");
  }
  if (words) {
    DS_ASSIGN_OR_RETURN(encoding.class_codes, CodesOf(table, column));
    encoding.class_count = static_cast<int64_t>(encoding.class_codes->size());
    return absl::OkStatus();
  }
  for (int64_t row = 0; row < table.rows(); ++row) {
    DS_ASSIGN_OR_RETURN(const int64_t label,
                        ClassNumber(table, row, column, options.ignored_label));
    if (label != options.ignored_label)
      encoding.class_count = std::max(encoding.class_count, label + 1);
  }
  return absl::OkStatus();
}

absl::Status AddRow(const Encoding& encoding, const CsvTable& table, int64_t row,
                    std::vector<float>& inputs) {
  for (const Feature& feature : encoding.features) {
    if (!feature.codes.has_value()) {
      DS_ASSIGN_OR_RETURN(inputs.emplace_back(), Number(table, row, feature.column));
      continue;
    }
    DS_ASSIGN_OR_RETURN(const int64_t code, Code(*feature.codes, table, row, feature.column));
    for (int64_t i = 0; i < feature.width(); ++i) inputs.push_back(i == code ? 1.0f : 0.0f);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Label(const Encoding& encoding, const CsvTable& table, int64_t row) {
  const size_t column = encoding.targets[0];
  if (encoding.class_codes.has_value()) return Code(*encoding.class_codes, table, row, column);
  DS_ASSIGN_OR_RETURN(const int64_t label, ClassNumber(table, row, column, encoding.ignored_label));
  if (label < encoding.class_count || label == encoding.ignored_label) return label;
  return WrongCell(table, row, column,
                   absl::StrCat("has class ", label, ", but the training split's highest is ",
                                encoding.class_count - 1));
}

DatasetInfo Describe(const DatasetOptions& options, const Encoding& encoding, int64_t size) {
  DatasetInfo info;
  info.kind = SampleKind::kTensors;
  info.size = size;
  info.channels = encoding.width;  // what is standardised, each by itself
  for (const Feature& feature : encoding.features) {
    if (!feature.codes.has_value()) info.channel_names.push_back(feature.name);
    if (!feature.codes.has_value()) continue;
    for (const auto& [word, code] : *feature.codes)
      info.channel_names.push_back(absl::StrCat(feature.name, "=", word));
  }
  info.inputs = {{"", DType::kFloat32, {encoding.width}}};
  info.classes = encoding.class_count;
  const bool several = encoding.targets.size() > 1;
  Shape shape;
  if (!encoding.classes) shape = {static_cast<int64_t>(encoding.targets.size())};
  info.target = ArrayInfo{several ? "" : options.targets[0],
                          encoding.classes ? DType::kInt64 : DType::kFloat32, std::move(shape)};
  if (encoding.class_codes.has_value()) {
    for (const auto& [word, code] : *encoding.class_codes) info.class_names.push_back(word);
  }
  return info;
}

absl::StatusOr<std::vector<int64_t>> RowsOf(const DatasetOptions& options, const Files& files,
                                            const CsvTable& table) {
  if (files.train == files.test) return RowsOfSplit(table.rows(), options, table.origin);
  std::vector<int64_t> rows(static_cast<size_t>(table.rows()));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  return rows;
}

absl::Status CheckOptions(const DatasetOptions& options) {
  for (const char* type : {"auto", "class", "number"}) {
    if (options.target_type == type) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("data.target_type is \"", options.target_type, "\"; use auto, class or number"));
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenCsv(const DatasetOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  DS_ASSIGN_OR_RETURN(const Files files, FindFiles(options));
  DS_ASSIGN_OR_RETURN(Table table, ReadTable(files.train));
  Encoding encoding;
  DS_RETURN_IF_ERROR(ChooseTargets(options, table.cells, encoding));
  DS_RETURN_IF_ERROR(ChooseFeatures(options, table.cells, encoding));
  if (options.split == "test" && files.test != files.train) {
    const std::vector<std::string> names = table.cells.names;
    DS_ASSIGN_OR_RETURN(table, ReadTable(files.test));
    if (table.cells.names != names) {
      return absl::InvalidArgumentError(
          absl::StrCat(files.test, ":1: the columns are not those of ", files.train,
                       ", in their order: ", absl::StrJoin(names, ", ")));
    }
  }
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> rows, RowsOf(options, files, table.cells));
  rows.resize(static_cast<size_t>(LimitedSize(static_cast<int64_t>(rows.size()), options.limit)));
  std::vector<float> inputs, values;
  std::vector<int64_t> labels;
  for (const int64_t row : rows) {
    DS_RETURN_IF_ERROR(AddRow(encoding, table.cells, row, inputs));
    if (encoding.classes) {
      DS_ASSIGN_OR_RETURN(labels.emplace_back(), Label(encoding, table.cells, row));
      continue;
    }
    for (const size_t column : encoding.targets) {
      DS_ASSIGN_OR_RETURN(values.emplace_back(), Number(table.cells, row, column));
    }
  }
  return DatasetPtr(
      std::make_shared<CsvSet>(Describe(options, encoding, static_cast<int64_t>(rows.size())),
                               std::move(inputs), std::move(values), std::move(labels)));
}

}  // namespace ds
