#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "config/reader.h"

namespace ds {

std::string PrintConfig(const ConfigSchema& schema) {
  std::string text;
  for (const ConfigSection& section : schema.sections) {
    // At most one dot: sections nest one deep.
    const size_t dot = section.path.find('.');
    const bool nested = dot != std::string::npos;
    const std::string indent = nested ? "    " : "  ";
    absl::StrAppend(&text, nested ? "  " : "", nested ? section.path.substr(dot + 1) : section.path,
                    ":\n");
    for (const Field& field : schema.fields) {
      if (field.section != section.path) continue;
      absl::StrAppend(&text, indent, field.key, ": ", FormatField(field), "\n");
    }
  }
  return text;
}

std::string ConfigReference(const ConfigSchema& schema) {
  std::string text;
  for (const ConfigSection& section : schema.sections) {
    absl::StrAppend(
        &text, "### `", section.path, "`\n\n", section.doc, "\n\n",
        "| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (const Field& field : schema.fields) {
      if (field.section != section.path) continue;
      const std::string allowed = field.Allowed();
      const std::string range =
          allowed.empty() ? ""
                          : absl::StrCat("`", absl::StrReplaceAll(allowed, {{"|", "\\|"}}), "`");
      absl::StrAppend(&text, "| `", field.key, "` | ", FieldTypeName(field), " | `",
                      FormatField(field), "` | ", range, " | ", field.doc, " |\n");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace ds
