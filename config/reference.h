// The table of every key for docs/configuration.md, made from the same table that the reader uses.
#pragma once

#include <string>

namespace ds {

// Markdown: one heading and one table a section (key, type, default, range, meaning).
std::string ConfigReferenceMarkdown();

}  // namespace ds
