#include "config/yaml_node.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace ds {
namespace {

// Length of the UTF-8 sequence at the start of `text`; 0 if it is malformed (overlong, surrogate,
// cut off).
size_t Utf8Length(absl::string_view text) {
  const auto byte = [&](size_t i) -> uint32_t {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint32_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    const uint32_t code = (first & 0xF) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    const uint32_t code = (first & 0x7) << 18 | (byte(1) & 0x3F) << 12;
    return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

// yaml-cpp takes byte 4 for the end of the file and guesses at UTF-16; so what is not plain UTF-8
// never reaches it.
absl::Status CheckText(absl::string_view text, YamlPosition at) {
  if (text.size() > kMaxYamlBytes) {
    at.line = 0;
    return YamlError(at, absl::StrCat("longer than a configuration may be (", kMaxYamlBytes,
                                      " bytes); is it a YAML file?"));
  }
  const bool with_lines = at.line > 0;
  bool indenting = true;  // only blanks so far on this line
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8Length(text.substr(i));
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if (length == 0) {
      return YamlError(at,
                       absl::StrFormat("byte 0x%02x is not UTF-8 text; save the file as UTF-8", c));
    }
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F) {
      return YamlError(at, absl::StrFormat("control character 0x%02x; remove it", c));
    }
    if (c == '\t' && indenting) return YamlError(at, "tab in the indentation; use spaces");
    indenting = c == '\n' || (indenting && c == ' ');
    i += length;
    if (!with_lines) continue;
    at.line += c == '\n';
    at.column = c == '\n' ? 1 : at.column + 1;
  }
  return absl::OkStatus();
}

// Thrown through yaml-cpp's parser, which has no other way of being stopped; caught in ParseYaml.
struct Refusal {
  absl::Status status;
};

// Builds the tree from yaml-cpp's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const YamlPosition& start) : start_(start) {}

  YamlNode TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) {
      Refuse(mark, "a second document or stray text begins here; a configuration is one document");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(NewNode(YamlNode::Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { RefuseAnchor(mark, 1); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    YamlNode node = NewNode(YamlNode::Kind::kScalar, mark);
    node.quoted =
        tag == "!";  // yaml-cpp marks scalars that are not plain with the non-specific tag
    node.text = value;
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A collection under construction, and the key that waits for its value.
  struct Level {
    YamlNode node;
    std::optional<YamlNode> key;
  };

  YamlPosition PositionOf(const YAML::Mark& mark) const {
    YamlPosition position = start_;
    if (start_.line > 0 && !mark.is_null()) {
      position.line = mark.line + 1;
      position.column = mark.column + 1;
    }
    return position;
  }

  YamlNode NewNode(YamlNode::Kind kind, const YAML::Mark& mark) const {
    YamlNode node;
    node.kind = kind;
    node.position = PositionOf(mark);
    return node;
  }

  [[noreturn]] void Refuse(const YAML::Mark& mark, absl::string_view message) const {
    throw Refusal{YamlError(PositionOf(mark), message)};
  }

  void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor == 0) return;
    Refuse(mark,
           "anchors (&name) and aliases (*name) are not supported; write the value out, or "
           "share a base file with 'include:'");
  }

  void RefuseTag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    Refuse(mark, absl::StrCat("tag '", tag, "' is not supported; write the value without it"));
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (static_cast<int>(levels_.size()) >= kMaxYamlDepth) {
      Refuse(mark, absl::StrCat("nested deeper than ", kMaxYamlDepth, " levels"));
    }
    levels_.push_back({NewNode(kind, mark), std::nullopt});
  }

  void Close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    // Bounds the quadratic search for duplicates, too.
    if (++nodes_ > kMaxYamlNodes) {
      throw Refusal{YamlError(node.position, absl::StrCat("more than ", kMaxYamlNodes, " values"))};
    }
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::kSequence) {
      level.node.items.push_back(std::move(node));
    } else if (!level.key.has_value()) {
      TakeKey(level, std::move(node));
    } else {
      level.node.entries.push_back({std::move(*level.key), std::move(node)});
      level.key.reset();
    }
  }

  void TakeKey(Level& level, YamlNode key) {
    if (key.kind != YamlNode::Kind::kScalar) {
      throw Refusal{YamlError(key.position, "a key must be a plain word")};
    }
    if (key.text == "<<") {
      throw Refusal{YamlError(
          key.position, "merge keys (<<) are not supported; share a base file with 'include:'")};
    }
    if (const YamlNode* first = level.node.Find(key.text)) {
      throw Refusal{YamlError(key.position,
                              absl::StrCat("duplicate key '", key.text, "' (its first value is at ",
                                           first->position.ToString(), "); remove one of them"))};
    }
    level.key = std::move(key);
  }

  YamlPosition start_;
  int documents_ = 0;
  int nodes_ = 0;
  YamlNode root_;
  std::vector<Level> levels_;
};

// yaml-cpp's words, with a hint where they are known to puzzle people.
std::string SyntaxMessage(const YAML::Exception& error) {
  absl::string_view hint = "check quotes, brackets and indentation";
  if (absl::StrContains(error.msg, "map value")) hint = "a ': ' inside a value needs quotes";
  if (absl::StrContains(error.msg, "end of map not found")) {
    hint = "the line is indented differently from those above, or lacks its ':'";
  }
  return absl::StrCat("not valid YAML: ", error.msg, " (", hint, ")");
}

}  // namespace

std::string YamlPosition::ToString() const {
  const std::string name = origin == nullptr ? "config" : *origin;
  return line > 0 ? absl::StrCat(name, ":", line, ":", column) : name;
}

const YamlNode* YamlNode::Find(absl::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

absl::Status YamlError(const YamlPosition& position, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(position.ToString(), ": ", message));
}

absl::StatusOr<YamlNode> ParseYaml(absl::string_view text, absl::string_view origin,
                                   bool with_lines) {
  YamlPosition start;
  start.origin = std::make_shared<const std::string>(origin);
  if (with_lines) start.line = start.column = 1;
  DS_RETURN_IF_ERROR(CheckText(text, start));
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(start);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refusal& refusal) {
    return refusal.status;
  } catch (const YAML::Exception& error) {
    YamlPosition at = start;
    if (with_lines && !error.mark.is_null()) {
      at.line = error.mark.line + 1;
      at.column = error.mark.column + 1;
    }
    return YamlError(at, SyntaxMessage(error));
  } catch (const std::exception& error) {
    return YamlError(start, absl::StrCat("not valid YAML: ", error.what()));
  }
  YamlNode root = builder.TakeRoot();
  if (root.position.origin == nullptr) root.position = start;
  return root;
}

}  // namespace ds
