#include "deploy/engine/compile/lone_norms.h"

#include "absl/strings/str_cat.h"
#include "graph/passes/uses.h"

namespace ds::engine::compile {

std::map<std::string, std::string> WhyNormsStay(const Graph& graph) {
  const Uses uses(graph);
  std::map<std::string, std::string> reasons;
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization") continue;
    const ValueId input = node.inputs[0];
    const int producer = uses.ProducerIndex(input);
    std::string& reason = reasons[node.name];
    if (producer < 0) {
      reason = absl::StrCat("batch norm of '", graph.value(input).name, "', which no node makes");
    } else if (graph.nodes()[producer].op != "Conv") {
      reason = absl::StrCat("batch norm behind '", graph.nodes()[producer].name, "' (",
                            graph.nodes()[producer].op, "), which is no convolution");
    } else if (uses.Count(input) != 1) {
      reason = absl::StrCat("batch norm of '", graph.value(input).name, "', which has ",
                            uses.Count(input), " readers");
    } else {
      reason = "batch norm whose numbers, or the convolution's weights, are no constants";
    }
  }
  return reasons;
}

}  // namespace ds::engine::compile
