#include "config/reader.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "config/suggestion.h"
#include "config/yaml_node.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxIncludeDepth = 8;
constexpr char kInclude[] = "include";

std::string Join(absl::string_view section, absl::string_view key) {
  return section.empty() ? std::string(key) : absl::StrCat(section, ".", key);
}

// Puts a tree of nodes where a schema points to, and remembers where each value came from.
class ConfigFiller {
 public:
  // kCheckOnly: looks at every value and changes none.
  enum Mode { kCheckOnly, kFill };

  ConfigFiller(const ConfigSchema& schema, Mode mode) : schema_(schema), mode_(mode) {}
  ConfigFiller(const ConfigFiller&) = delete;
  ConfigFiller& operator=(const ConfigFiller&) = delete;

  // A whole file: a map of sections.
  absl::Status Fill(const YamlNode& root) {
    positions_[""] = root.position;
    return FillSection("", root);
  }

  // `node` for the section or field at `path`, both from the same override.
  absl::Status FillPath(const std::string& path, const YamlNode& node) {
    size_t start = 0;
    while (true) {
      const size_t dot = path.find('.', start);
      const std::string section = start == 0 ? "" : path.substr(0, start - 1);
      const std::string key = path.substr(start, dot == std::string::npos ? dot : dot - start);
      if (dot == std::string::npos) return FillEntry(section, key, node.position, node);
      const std::string child = Join(section, key);
      if (FindField(child) != nullptr) {
        return YamlError(node.position, absl::StrCat("'", child, "' is a value and has no keys"));
      }
      if (!IsSection(child)) return UnknownKey(section, key, node.position);
      start = dot + 1;
    }
  }

  absl::Status Check() const {
    if (!schema_.check) return absl::OkStatus();
    return schema_.check([this](absl::string_view path) { return PositionOf(path); });
  }

 private:
  const Field* FindField(absl::string_view path) const {
    for (const Field& field : schema_.fields) {
      if (field.Path() == path) return &field;
    }
    return nullptr;
  }

  bool IsSection(absl::string_view path) const {
    return absl::c_any_of(schema_.sections,
                          [&](const ConfigSection& section) { return section.path == path; });
  }

  // Keys that may stand in `section` ("" is the file itself).
  std::vector<std::string> KnownKeys(absl::string_view section) const {
    std::vector<std::string> keys;
    const std::string prefix = section.empty() ? "" : absl::StrCat(section, ".");
    for (const ConfigSection& candidate : schema_.sections) {
      if (!absl::StartsWith(candidate.path, prefix)) continue;
      const std::string key = candidate.path.substr(prefix.size());
      if (!key.empty() && key.find('.') == std::string::npos) keys.push_back(key);
    }
    for (const Field& field : schema_.fields) {
      if (field.section == section) keys.push_back(field.key);
    }
    if (section.empty()) keys.push_back(kInclude);
    return keys;
  }

  absl::Status UnknownKey(absl::string_view section, absl::string_view key,
                          const YamlPosition& position) const {
    const std::vector<std::string> known = KnownKeys(section);
    std::string hint = Suggestion(key, known);
    // A field put into the wrong section (or none) is as common as a slip of the keyboard.
    for (const Field& field : schema_.fields) {
      if (hint.empty() && field.key == key)
        hint = absl::StrCat("; did you mean '", field.Path(), "'?");
    }
    if (absl::StrContains(key, '.')) {
      hint = "; in a file a section's keys are written below it, indented";
    }
    if (hint.empty()) hint = absl::StrCat("; known keys: ", absl::StrJoin(known, ", "));
    const std::string where = section.empty() ? "" : absl::StrCat(" in '", section, "'");
    return YamlError(position, absl::StrCat("unknown key '", key, "'", where, hint));
  }

  // The key that `section: VALUE` sets; empty where the section has none.
  std::string Shorthand(absl::string_view path) const {
    for (const ConfigSection& section : schema_.sections) {
      if (section.path == path) return section.shorthand;
    }
    return "";
  }

  absl::Status FillSection(const std::string& section, const YamlNode& node) {
    const std::string shorthand = Shorthand(section);
    if (node.kind == YamlNode::Kind::kScalar && !shorthand.empty()) {
      return FillEntry(section, shorthand, node.position, node);
    }
    if (node.kind != YamlNode::Kind::kMap) {
      return YamlError(node.position,
                       section.empty()
                           ? absl::StrCat("a configuration is a mapping of sections, as '",
                                          schema_.example.yaml, "'")
                           : absl::StrCat("'", section,
                                          "' is a section and needs keys below it, "
                                          "indented (or remove it)"));
    }
    for (const auto& [key, value] : node.entries) {
      DS_RETURN_IF_ERROR(FillEntry(section, key.text, key.position, value));
    }
    return absl::OkStatus();
  }

  absl::Status FillEntry(const std::string& section, const std::string& key,
                         const YamlPosition& key_position, const YamlNode& value) {
    const std::string path = Join(section, key);
    if (absl::StrContains(key, '.')) return UnknownKey(section, key, key_position);
    if (IsSection(path)) {
      positions_[path] = key_position;
      return FillSection(path, value);
    }
    const Field* field = FindField(path);
    if (field == nullptr || key.empty()) return UnknownKey(section, key, key_position);
    if (value.kind == YamlNode::Kind::kNull) {
      return YamlError(value.position, absl::StrCat("'", path,
                                                    "' has no value; give it one, or "
                                                    "remove the key for its default, ",
                                                    FormatField(*field)));
    }
    positions_[path] = value.position;
    return mode_ == kFill ? ReadField(*field, value) : CheckField(*field, value);
  }

  // Of `path`, or of the nearest section around it that was written.
  YamlPosition PositionOf(absl::string_view path) const {
    std::string at(path);
    while (true) {
      const auto found = positions_.find(at);
      if (found != positions_.end()) return found->second;
      const size_t dot = at.rfind('.');
      if (at.empty()) return {};
      at = dot == std::string::npos ? "" : at.substr(0, dot);
    }
  }

  const ConfigSchema& schema_;
  const Mode mode_;
  std::map<std::string, YamlPosition> positions_;
};

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return absl::NotFoundError("no such file");
  if (!fs::is_regular_file(status)) return absl::InvalidArgumentError("not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::PermissionDeniedError("cannot be opened for reading");
  // One byte more than allowed is enough for the parser to refuse it.
  std::string text(kMaxYamlBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return absl::DataLossError("cannot be read");
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// `over` wins; maps are merged by key, everything else is replaced. Nodes keep their own positions.
YamlNode Merge(YamlNode base, const YamlNode& over) {
  if (base.kind != YamlNode::Kind::kMap || over.kind != YamlNode::Kind::kMap) return over;
  base.position = over.position;
  for (const YamlEntry& entry : over.entries) {
    auto same = std::find_if(base.entries.begin(), base.entries.end(), [&](const YamlEntry& other) {
      return other.key.text == entry.key.text;
    });
    if (same == base.entries.end()) {
      base.entries.push_back(entry);
    } else {
      same->value = Merge(std::move(same->value), entry.value);
      same->key = entry.key;
    }
  }
  return base;
}

// Takes `include: FILE` out of `root`; empty where there is none.
absl::StatusOr<std::string> TakeInclude(YamlNode* root, YamlPosition* position) {
  for (size_t i = 0; i < root->entries.size(); ++i) {
    auto& [key, value] = root->entries[i];
    if (key.text != kInclude) continue;
    if (value.kind != YamlNode::Kind::kScalar || value.text.empty() ||
        value.text.find('\0') != std::string::npos) {
      return YamlError(value.kind == YamlNode::Kind::kNull ? key.position : value.position,
                       "'include' must be the name of one file");
    }
    *position = value.position;
    std::string file = value.text;
    root->entries.erase(root->entries.begin() + static_cast<std::ptrdiff_t>(i));
    return file;
  }
  return std::string();
}

absl::StatusOr<YamlNode> ParseRoot(const ConfigSchema& schema, absl::string_view text,
                                   absl::string_view origin) {
  DS_ASSIGN_OR_RETURN(YamlNode root, ParseYaml(text, origin));
  if (root.kind == YamlNode::Kind::kNull) {
    return YamlError(root.position, absl::StrCat("the configuration is empty; write something as '",
                                                 schema.example.yaml, "'"));
  }
  return root;
}

// `chain`: the files on the way here, as named, `path` the last; `seen`: the same, canonical.
absl::StatusOr<YamlNode> LoadTree(const ConfigSchema& schema, std::vector<std::string> chain,
                                  std::vector<fs::path> seen, const std::string& text) {
  const std::string path = chain.back();
  DS_ASSIGN_OR_RETURN(YamlNode root, ParseRoot(schema, text, path));
  YamlPosition at;
  DS_ASSIGN_OR_RETURN(const std::string include, TakeInclude(&root, &at));
  // Every file by itself, so that a fault in a base is found even where the including file
  // overrides it.
  DS_RETURN_IF_ERROR(ConfigFiller(schema, ConfigFiller::kCheckOnly).Fill(root));
  if (include.empty()) return root;

  const std::string base_path =
      (fs::path(path).parent_path() / include).lexically_normal().string();
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(base_path, error);
  chain.push_back(base_path);
  if (std::find(seen.begin(), seen.end(), canonical) != seen.end()) {
    return YamlError(at, absl::StrCat("files include each other: ", absl::StrJoin(chain, " -> ")));
  }
  if (static_cast<int>(chain.size()) > kMaxIncludeDepth + 1) {
    return YamlError(at, absl::StrCat("includes go deeper than ", kMaxIncludeDepth, ": ",
                                      absl::StrJoin(chain, " -> ")));
  }
  seen.push_back(canonical);
  const absl::StatusOr<std::string> base_text = ReadText(base_path);
  if (!base_text.ok()) {
    return YamlError(at,
                     absl::StrCat("included file '", base_path, "': ", base_text.status().message(),
                                  " (names are relative to the including file)"));
  }
  DS_ASSIGN_OR_RETURN(YamlNode base,
                      LoadTree(schema, std::move(chain), std::move(seen), *base_text));
  return Merge(std::move(base), root);
}

// "optimizer.learning_rate=0.05"
absl::Status ApplyOverride(const ConfigSchema& schema, const std::string& text,
                           ConfigFiller& filler) {
  const std::string origin = absl::StrCat("override '", text, "'");
  YamlPosition here;
  here.origin = std::make_shared<const std::string>(origin);
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return YamlError(
        here, absl::StrCat("an override is written key.path=value, as ", schema.example.override));
  }
  const std::string path = text.substr(0, equals);
  if (path == kInclude) return YamlError(here, "'include' cannot be overridden; name another file");
  DS_ASSIGN_OR_RETURN(YamlNode node, ParseYaml(text.substr(equals + 1), origin, false));
  if (equals + 1 == text.size()) {  // "data.path=": the empty string, as in a shell
    node.kind = YamlNode::Kind::kScalar;
    node.quoted = true;
  }
  return filler.FillPath(path, node);
}

absl::Status Finish(const ConfigSchema& schema, const YamlNode& root,
                    const std::vector<std::string>& overrides) {
  ConfigFiller filler(schema, ConfigFiller::kFill);
  DS_RETURN_IF_ERROR(filler.Fill(root));
  for (const std::string& text : overrides) DS_RETURN_IF_ERROR(ApplyOverride(schema, text, filler));
  return filler.Check();
}

}  // namespace

absl::Status ReadConfig(const ConfigSchema& schema, const std::string& path,
                        const std::vector<std::string>& overrides) {
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) {
    return absl::Status(text.status().code(),
                        absl::StrCat(path, ": ", text.status().message(), "; give a YAML file, as ",
                                     schema.example.file));
  }
  std::error_code error;
  DS_ASSIGN_OR_RETURN(const YamlNode root,
                      LoadTree(schema, {path}, {fs::weakly_canonical(path, error)}, *text));
  return Finish(schema, root, overrides);
}

absl::Status ParseConfig(const ConfigSchema& schema, absl::string_view yaml,
                         absl::string_view origin, const std::vector<std::string>& overrides) {
  DS_ASSIGN_OR_RETURN(YamlNode root, ParseRoot(schema, yaml, origin));
  YamlPosition at;
  DS_ASSIGN_OR_RETURN(const std::string include, TakeInclude(&root, &at));
  if (!include.empty()) return YamlError(at, "'include' works in files only, not in text");
  return Finish(schema, root, overrides);
}

}  // namespace ds
