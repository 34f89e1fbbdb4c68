// A YAML document as a plain tree in which every node knows where it was written.
//
// The subset that a configuration needs: one document of mappings, sequences and scalars.
// Everything that makes YAML surprising is refused with its position: duplicate keys (yaml-cpp
// would keep both), anchors, aliases, merge keys, tags, several documents, control characters, text
// that is not UTF-8, nesting deeper than 16, more than 10000 values, text over 1 MiB.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds {

inline constexpr size_t kMaxYamlBytes = size_t{1} << 20;
inline constexpr int kMaxYamlDepth = 16;
inline constexpr int kMaxYamlNodes = 10000;

// Where something was written. `line` and `column` count from 1; line 0: the origin alone (an
// override) is the place.
struct YamlPosition {
  std::shared_ptr<const std::string> origin;
  int line = 0;
  int column = 0;

  std::string ToString() const;  // "a.yaml:12:5" or "override 'run.seed=2'"
};

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  YamlPosition position;
  std::string text;     // scalars
  bool quoted = false;  // scalars: written in quotes or as a block, so never a number or a bool
  std::vector<YamlNode> items;     // sequences
  std::vector<YamlEntry> entries;  // maps: key (a scalar), value; in the order written

  // Null if this is not a map or has no such key.
  const YamlNode* Find(absl::string_view key) const;
};

struct YamlEntry {
  YamlNode key;
  YamlNode value;
};

// InvalidArgument with `position: ` in front.
absl::Status YamlError(const YamlPosition& position, absl::string_view message);

// `origin` stands for the file in positions. With `with_lines` false every position is the origin
// alone. Empty text is a kNull node. InvalidArgument as above.
absl::StatusOr<YamlNode> ParseYaml(absl::string_view text, absl::string_view origin,
                                   bool with_lines = true);

}  // namespace ds
