#include "graph/trained_values.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/edit_distance.h"
#include "base/status.h"
#include "graph/finite_weights.h"

namespace ds {
namespace {

constexpr size_t kFirstStatistic = 3;  // inputs of BatchNormalization: mean, variance

// Floating-point initialisers that operators read and that may train, in the order of their ids.
std::vector<ValueId> Candidates(const Graph& graph) {
  std::set<ValueId> read, other;
  for (const Node& node : graph.nodes()) {
    const bool codes = node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const bool statistic = node.op == "BatchNormalization" && slot >= kFirstStatistic;
      (codes || statistic ? other : read).insert(node.inputs[slot]);
    }
  }
  std::vector<ValueId> candidates;
  for (const auto& [id, initializer] : graph.initializers()) {
    if (IsFloatingPoint(initializer.data.dtype()) && read.contains(id) && !other.contains(id))
      candidates.push_back(id);
  }
  return candidates;
}

std::vector<ValueId> Matching(const Graph& graph, const std::vector<ValueId>& candidates,
                              const std::string& pattern) {
  std::vector<ValueId> matching;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(matching), [&](ValueId id) {
    return ::fnmatch(pattern.c_str(), graph.value(id).name.c_str(), 0) == 0;
  });
  return matching;
}

// The names nearest to a pattern that matches none: the one that it may be a slip of, else some of
// those there are.
std::string Suggestion(const Graph& graph, const std::vector<ValueId>& candidates,
                       const std::string& pattern) {
  constexpr size_t kShown = 5;
  std::vector<std::string> names;
  for (const ValueId id : candidates) names.push_back(graph.value(id).name);
  std::string plain = pattern;
  std::erase_if(plain, [](char c) { return c == '*' || c == '?'; });
  // Below a module, also the module alone may be meant.
  std::set<std::string> modules;
  for (const std::string& name : names) {
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      modules.insert(name.substr(0, dot + 1));
  }
  if (const std::string near = NearestName(plain, names); !near.empty())
    return absl::StrCat("did you mean '", near, "'?");
  const std::string near = NearestName(plain, {modules.begin(), modules.end()});
  if (!near.empty()) return absl::StrCat("did you mean '", near, "*'?");
  std::string some;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i)
    absl::StrAppend(&some, i == 0 ? "" : ", ", names[i]);
  return absl::StrCat("there are ", names.size(), " tensors that may train: ", some,
                      names.size() > kShown ? ", ..." : "",
                      " (ds_export --describe lists them by node)");
}

absl::Status Choose(Graph& graph, const std::vector<ValueId>& candidates,
                    const std::vector<std::string>& patterns, bool trains) {
  const char* key = trains ? "model.train" : "model.freeze";
  for (const std::string& pattern : patterns) {
    const std::vector<ValueId> matching = Matching(graph, candidates, pattern);
    if (matching.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("'", key, "': no tensor matches '", pattern,
                                                     "'; ",
                                                     Suggestion(graph, candidates, pattern)));
    }
    for (const ValueId id : matching) {
      Initializer& initializer = graph.mutable_initializers().at(id);
      if (trains && !AllFinite(initializer.data)) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", key, "': '", pattern, "' matches '", graph.value(id).name,
                         "', which holds NaN or Inf, as masks do, and cannot train; narrow the "
                         "pattern"));
      }
      initializer.trainable = trains;
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string GroupedDigits(int64_t number) {
  const std::string digits = std::to_string(number);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string TrainedValuesText(const Graph& graph) {
  constexpr size_t kNamed = 10;
  int64_t trained = 0, trained_values = 0, frozen_values = 0;
  std::vector<std::pair<int64_t, std::string>> frozen;  // negated sizes, so that large ones lead
  for (const ValueId id : Candidates(graph)) {
    const Initializer& initializer = graph.initializers().at(id);
    const int64_t count = initializer.data.num_elements();
    if (initializer.trainable) {
      ++trained;
      trained_values += count;
    } else if (count > 1) {
      frozen_values += count;
      frozen.emplace_back(-count, graph.value(id).name);
    }
  }
  std::string text = absl::StrCat(GroupedDigits(trained_values), " values in ", trained,
                                  trained == 1 ? " tensor train, " : " tensors train, ");
  if (frozen.empty()) return absl::StrCat(text, "none is frozen");
  std::sort(frozen.begin(), frozen.end());
  absl::StrAppend(&text, GroupedDigits(frozen_values), " in ", frozen.size(),
                  frozen.size() == 1 ? " is frozen: " : " are frozen: ");
  for (size_t i = 0; i < std::min(kNamed, frozen.size()); ++i)
    absl::StrAppend(&text, i == 0 ? "" : ", ", frozen[i].second);
  if (frozen.size() > kNamed) absl::StrAppend(&text, " and ", frozen.size() - kNamed, " more");
  return text;
}

absl::Status ChooseTrained(Graph& graph, const std::vector<std::string>& freeze,
                           const std::vector<std::string>& train) {
  const std::vector<ValueId> candidates = Candidates(graph);
  DS_RETURN_IF_ERROR(Choose(graph, candidates, freeze, /*trains=*/false));
  return Choose(graph, candidates, train, /*trains=*/true);
}

}  // namespace ds
