// Any bytes as a table: an error, or as many cells as rows and columns make.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "data/sets/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char separator : {',', '\t'}) {
    const auto table = ds::ParseCsv(text, "fuzz.csv", separator);
    if (!table.ok()) {
      DS_CHECK(!table.status().message().empty());
      continue;
    }
    DS_CHECK(table->cells.size() == table->names.size() * static_cast<size_t>(table->rows()));
    int64_t line = 0;
    for (const int64_t of_row : table->lines) {
      DS_CHECK(of_row > line);
      line = of_row;
    }
  }
  return 0;
}
