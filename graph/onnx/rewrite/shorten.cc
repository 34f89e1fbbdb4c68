#include "graph/onnx/rewrite/shorten.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ds::onnx_io {
namespace {

// Any of these may begin a C identifier, which is what ONNX wants of a name.
constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
constexpr size_t kLetterCount = sizeof(kLetters) - 1;

// a, b, ... _, aa, ba, ...
std::string NameOf(size_t number) {
  std::string name(1, kLetters[number % kLetterCount]);
  for (number /= kLetterCount; number > 0; number /= kLetterCount) {
    --number;
    name += kLetters[number % kLetterCount];
  }
  return name;
}

bool IsDefault(const Node& node, const std::string& key, const Attribute& attribute) {
  if (const auto* ints = std::get_if<std::vector<int64_t>>(&attribute)) {
    const bool window = key == "strides" || key == "dilations" || key == "pads";
    // Of a pool it is required.
    if (key == "kernel_shape") return node.op == "Conv";
    const int64_t neutral = key == "pads" ? 0 : 1;
    return window && std::count(ints->begin(), ints->end(), neutral) ==
                         static_cast<std::ptrdiff_t>(ints->size());
  }
  if (const auto* number = std::get_if<int64_t>(&attribute)) {
    if (key == "group") return node.op == "Conv" && *number == 1;
    if (key == "axis") return node.op == "Flatten" && *number == 1;
    return *number == 0 && (key == "transA" || key == "transB" || key == "ceil_mode" ||
                            key == "count_include_pad" || key == "allowzero");
  }
  if (const auto* real = std::get_if<float>(&attribute)) {
    return node.op == "Gemm" && *real == 1.0f;
  }
  return false;
}

}  // namespace

void Shorten(Graph& graph) {
  std::vector<std::pair<int, ValueId>> mentions(graph.values().size());
  for (size_t id = 0; id < mentions.size(); ++id) mentions[id] = {0, static_cast<ValueId>(id)};
  for (Node& node : graph.mutable_nodes()) {
    std::erase_if(node.attributes, [&node](const auto& attribute) {
      return IsDefault(node, attribute.first, attribute.second);
    });
    for (const auto* ids : {&node.inputs, &node.outputs}) {
      for (const ValueId id : *ids) {
        if (id != kNoValue) ++mentions[static_cast<size_t>(id)].first;
      }
    }
  }
  for (const auto& [id, initializer] : graph.initializers()) {
    ++mentions[static_cast<size_t>(id)].first;
  }
  for (const auto* ids : {&graph.inputs(), &graph.outputs()}) {
    for (const ValueId id : *ids) mentions[static_cast<size_t>(id)].first = -1;
  }
  std::stable_sort(mentions.begin(), mentions.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::erase_if(mentions, [](const auto& entry) { return entry.first < 0; });
  // Out of the way first: a short name may be the old name of a value whose turn comes later.
  for (const auto& [count, id] : mentions) {
    std::string aside = absl::StrCat("?", id);
    while (graph.FindValue(aside) != kNoValue) aside += '?';
    graph.RenameValue(id, std::move(aside));
  }
  size_t next = 0;
  for (const auto& [count, id] : mentions) {
    std::string name = NameOf(next++);
    while (graph.FindValue(name) != kNoValue) name = NameOf(next++);
    graph.RenameValue(id, std::move(name));
  }
}

}  // namespace ds::onnx_io
