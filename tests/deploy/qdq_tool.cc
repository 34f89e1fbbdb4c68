// For the Python tests of exports:
//   qdq_tool fold IN OUT                  IN (an ONNX file) with its batch norms folded
//   qdq_tool export IN PLAN OUT [FLAG..]  IN by PLAN (JSON, the fields of QuantPlan); the report
//                                         goes to stdout as JSON
//     FLAG: direct (small weights without Cast), readable (not compact), opset=N, tensorrt (its
//           exporter)
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "base/status.h"
#include "deploy/onnx_exporter.h"
#include "deploy/tensorrt_exporter.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

std::map<std::string, QuantParams> ReadParams(const Json& entries) {
  std::map<std::string, QuantParams> params;
  for (const auto& [name, entry] : entries.items()) {
    params[name] = {.type = {.bits = entry.at("bits"),
                             .is_signed = entry.at("signed"),
                             .narrow = entry.value("narrow", false)},
                    .axis = entry.value("axis", QuantParams::kWholeTensor),
                    .group = entry.value("group", int64_t{0}),
                    .scales = entry.at("scales"),
                    .zero_points = entry.at("zero_points")};
  }
  return params;
}

absl::StatusOr<QuantPlan> ReadPlan(const std::string& path) {
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError(path + ": no JSON");
  QuantPlan plan;
  plan.activations = ReadParams(json.at("activations"));
  plan.weights = ReadParams(json.at("weights"));
  plan.left_in_float = json.value("left_in_float", std::map<std::string, std::string>());
  return plan;
}

absl::Status Fold(const std::vector<std::string>& arguments) {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(arguments[0]));
  DS_RETURN_IF_ERROR(FoldBatchNorms(graph));
  return ExportOnnx(graph, arguments[1]);
}

absl::Status ExportForTensorRT(const Graph& graph, const QuantPlan& plan, const std::string& path) {
  DS_ASSIGN_OR_RETURN(const TensorRTExportResult result,
                      TensorRTExporter().Export(graph, plan, path));
  Json nodes = Json::array();
  for (const TrtVerdict& verdict : result.lint.nodes) {
    nodes.push_back({{"node", verdict.node},
                     {"op", verdict.op},
                     {"fate", Name(verdict.fate)},
                     {"reason", verdict.reason}});
  }
  std::printf("%s\n", Json({{"nodes", nodes}, {"opset", result.opset}}).dump().c_str());
  return absl::OkStatus();
}

absl::Status Export(const std::vector<std::string>& arguments) {
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(arguments[0]));
  DS_ASSIGN_OR_RETURN(const QuantPlan plan, ReadPlan(arguments[1]));
  OnnxExporterOptions options;
  for (size_t i = 3; i < arguments.size(); ++i) {
    if (arguments[i] == "tensorrt") return ExportForTensorRT(graph, plan, arguments[2]);
    if (arguments[i] == "direct") options.qdq.small_weights = SmallWeights::kDirect;
    if (arguments[i] == "readable") options.onnx.compact = false;
    if (absl::StartsWith(arguments[i], "opset=")) {
      if (!absl::SimpleAtoi(arguments[i].substr(6), &options.onnx.opset))
        return absl::InvalidArgumentError("opset");
    }
  }
  DS_ASSIGN_OR_RETURN(const OnnxExportResult result,
                      OnnxExporter(options).Export(graph, plan, arguments[2]));
  Json nodes = Json::array();
  for (const NodeFate& fate : result.report.nodes) {
    nodes.push_back({{"node", fate.node},
                     {"op", fate.op},
                     {"quantised", fate.quantised},
                     {"reason", fate.reason}});
  }
  const Json report = {{"nodes", nodes},
                       {"enlarged", result.report.enlarged},
                       {"opset", result.opset},
                       {"bytes", result.bytes}};
  std::printf("%s\n", report.dump().c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  absl::Status status =
      absl::InvalidArgumentError("usage: qdq_tool fold IN OUT | export IN PLAN OUT [FLAG...]");
  const std::vector<std::string> rest(arguments.begin() + (argc > 1), arguments.end());
  if (argc == 4 && arguments[0] == "fold") status = ds::Fold(rest);
  if (argc >= 5 && arguments[0] == "export") status = ds::Export(rest);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
