#include "graph/schema/nearest_ops.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/edit_distance.h"
#include "graph/schema/schema.h"

namespace ds {

std::string NearestOps(absl::string_view op) {
  constexpr size_t kMost = 3, kLongest = 64;
  if (op.size() > kLongest) return "";
  const std::string wanted = absl::AsciiStrToLower(op);
  std::vector<std::pair<size_t, std::string>> near;
  for (const std::string& known : SupportedOps()) {
    const std::string name = absl::AsciiStrToLower(known);
    const bool part = wanted.size() > 3 && (name.find(wanted) != std::string::npos ||
                                            wanted.find(name) != std::string::npos);
    const size_t distance = part ? 0 : EditDistance(wanted, name);
    if (part || distance <= wanted.size() / 3) near.emplace_back(distance, known);
  }
  std::sort(near.begin(), near.end());
  if (near.size() > kMost) near.resize(kMost);
  std::string text;
  for (const auto& [distance, name] : near) {
    absl::StrAppend(&text, text.empty() ? "; nearest to it are " : ", ", name);
  }
  return text;
}

}  // namespace ds
