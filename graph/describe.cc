#include "graph/describe.h"

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/cost.h"
#include "graph/schema/schema.h"
#include "graph/trained_values.h"

namespace ds {

namespace {

constexpr size_t kColumns = 6;
using Row = std::array<std::string, kColumns>;
// The numbers stand on the right.
constexpr std::array<bool, kColumns> kRightAligned = {false, false, false, true, true, true};

std::string ShapeText(const Graph& graph, const Node& node) {
  std::string text;
  for (ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    const auto& shape = graph.value(id).shape;
    absl::StrAppend(&text, text.empty() ? "" : " ", shape ? ShapeString(*shape) : "unknown");
  }
  return text;
}

int64_t NewParameters(const Graph& graph, const Node& node, std::set<ValueId>& counted) {
  int64_t parameters = 0;
  for (ValueId id : node.inputs) {
    auto it = graph.initializers().find(id);
    if (it == graph.initializers().end() || !it->second.trainable) continue;
    if (counted.insert(id).second) parameters += it->second.data.num_elements();
  }
  return parameters;
}

std::string Render(const std::vector<Row>& rows) {
  std::array<size_t, kColumns> widths = {};
  for (const Row& row : rows) {
    for (size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t c = 0; c < kColumns; ++c) {
      const std::string padding(widths[c] - row[c].size(), ' ');
      absl::StrAppend(&line, c == 0 ? "" : "  ",
                      kRightAligned[c] ? padding + row[c] : row[c] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

int64_t TotalMultiplyAccumulates(const Graph& graph) {
  int64_t total = 0;
  for (const Node& node : graph.nodes()) {
    if (__builtin_add_overflow(total, MultiplyAccumulates(graph, node), &total)) return INT64_MAX;
  }
  return total;
}

std::string Describe(const Graph& graph) {
  std::vector<Row> rows = {{"node", "op", "output", "parameters", "MACs", "bytes"}};
  std::set<ValueId> counted;
  int64_t bytes = 0;
  for (const Node& node : graph.nodes()) {
    const NodeCost cost = CostOf(graph, node);
    if (__builtin_add_overflow(bytes, cost.bytes, &bytes)) bytes = INT64_MAX;
    rows.push_back({node.name, node.op, ShapeText(graph, node),
                    GroupedDigits(NewParameters(graph, node, counted)), GroupedDigits(cost.macs),
                    GroupedDigits(cost.bytes)});
  }
  rows.push_back({"total", absl::StrCat(graph.nodes().size(), " nodes"), "",
                  GroupedDigits(graph.ParameterCount()),
                  GroupedDigits(TotalMultiplyAccumulates(graph)), GroupedDigits(bytes)});
  std::string text = absl::StrCat("graph ", graph.name.empty() ? "(unnamed)" : graph.name, "\n");
  for (ValueId id : graph.inputs()) {
    const Value& value = graph.value(id);
    absl::StrAppend(&text, "input ", value.name, " ", std::string(Name(value.dtype)),
                    value.shape ? ShapeString(*value.shape) : "", "\n");
  }
  for (ValueId id : graph.outputs()) {
    const Value& value = graph.value(id);
    absl::StrAppend(&text, "output ", value.name, " ", std::string(Name(value.dtype)),
                    value.shape ? ShapeString(*value.shape) : "", "\n");
  }
  return absl::StrCat(text, TrainedValuesText(graph), "\n\n", Render(rows));
}

}  // namespace ds
