#include "report/text_width.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"

namespace ds {
namespace {

struct Character {
  size_t bytes = 1;
  int columns = 1;
};

int ColumnsOf(uint32_t code) {
  const auto in = [code](uint32_t first, uint32_t last) { return code >= first && code <= last; };
  if (in(0x300, 0x36F) || in(0x200B, 0x200F) || in(0x20D0, 0x20FF) || in(0xFE00, 0xFE0F)) return 0;
  const bool wide = in(0x1100, 0x115F) || in(0x2E80, 0x303E) || in(0x3041, 0xA4CF) ||
                    in(0xAC00, 0xD7A3) || in(0xF900, 0xFAFF) || in(0xFE30, 0xFE6F) ||
                    in(0xFF00, 0xFF60) || in(0xFFE0, 0xFFE6) || in(0x1F300, 0x1F64F) ||
                    in(0x1F680, 0x1F6FF) || in(0x1F900, 0x1F9FF) || in(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

Character First(absl::string_view text) {
  const uint8_t lead = static_cast<uint8_t>(text[0]);
  const size_t bytes = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 1;
  if (bytes == 1 || bytes > text.size()) return {};
  uint32_t code = lead & (0x7F >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    const uint8_t next = static_cast<uint8_t>(text[i]);
    if ((next & 0xC0) != 0x80) return {};
    code = code << 6 | (next & 0x3F);
  }
  return {bytes, ColumnsOf(code)};
}

}  // namespace

int DisplayWidth(absl::string_view text) {
  int columns = 0;
  while (!text.empty()) {
    const Character first = First(text);
    columns += first.columns;
    text.remove_prefix(first.bytes);
  }
  return columns;
}

std::string ClipToWidth(absl::string_view text, int columns) {
  size_t bytes = 0;
  for (int used = 0; bytes < text.size();) {
    const Character first = First(text.substr(bytes));
    used += first.columns;
    if (used > columns) break;
    bytes += first.bytes;
  }
  return std::string(text.substr(0, bytes));
}

std::vector<std::string> WrapToWidth(absl::string_view text, int columns) {
  std::vector<std::string> lines;
  while (DisplayWidth(text) > columns) {
    // One blank may stand behind the last column.
    const std::string start = ClipToWidth(text, columns);
    const bool ends_a_word = start.size() < text.size() && text[start.size()] == ' ';
    const size_t blank = ends_a_word ? start.size() : start.rfind(' ');
    // A character wider than the line is taken whole.
    const size_t end =
        blank != std::string::npos && blank > 0 ? blank : std::max(start.size(), First(text).bytes);
    lines.emplace_back(absl::StripTrailingAsciiWhitespace(text.substr(0, end)));
    text = absl::StripLeadingAsciiWhitespace(text.substr(end));
  }
  if (!text.empty() || lines.empty()) lines.emplace_back(text);
  return lines;
}

std::string PadToWidth(absl::string_view text, int columns, bool right) {
  const std::string clipped = ClipToWidth(text, columns);
  const std::string blanks(static_cast<size_t>(columns - DisplayWidth(clipped)), ' ');
  return right ? blanks + clipped : clipped + blanks;
}

}  // namespace ds
