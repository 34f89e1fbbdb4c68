#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "config/reader.h"
#include "config/reference.h"
#include "jobs/config/fields.h"

namespace ds {

std::string PrintTrainConfig(const TrainConfig& config) {
  TrainConfig copy = config;
  const std::vector<Field> fields = ConfigFields(copy);
  std::string text;
  for (const Section& section : ConfigSections()) {
    // At most one dot: sections nest one deep.
    const size_t dot = section.path.find('.');
    const bool nested = dot != std::string::npos;
    const std::string indent = nested ? "    " : "  ";
    absl::StrAppend(&text, nested ? "  " : "", nested ? section.path.substr(dot + 1) : section.path,
                    ":\n");
    for (const Field& field : fields) {
      if (field.section != section.path) continue;
      absl::StrAppend(&text, indent, field.key, ": ", FormatField(field), "\n");
    }
  }
  return text;
}

std::string ConfigReferenceMarkdown() {
  TrainConfig defaults;
  const std::vector<Field> fields = ConfigFields(defaults);
  std::string text;
  for (const Section& section : ConfigSections()) {
    absl::StrAppend(
        &text, "### `", section.path, "`\n\n", section.doc, "\n\n",
        "| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (const Field& field : fields) {
      if (field.section != section.path) continue;
      const std::string rule = field.rule.ToString();
      const std::string range =
          rule.empty() ? "" : absl::StrCat("`", absl::StrReplaceAll(rule, {{"|", "\\|"}}), "`");
      absl::StrAppend(&text, "| `", field.key, "` | ", FieldTypeName(field), " | `",
                      FormatField(field), "` | ", range, " | ", field.doc, " |\n");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace ds
