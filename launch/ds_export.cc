// ds_export: converts a model (an ONNX file, or one of the zoo) to ONNX, safetensors or the edge
// engine's .dsm, or describes it.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "deploy/engine/compile/compile.h"
#include "deploy/qdq/options.h"
#include "deploy/tensorrt/lint.h"
#include "graph/describe.h"
#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "launch/word_flag.h"

namespace {

constexpr int kBadInput = 1, kBadUsage = 2;
constexpr char kZooPrefix[] = "zoo:";

struct Arguments {
  std::string model;
  std::string plugin;
  std::string format;
  std::string output;
  std::string profile;
  std::vector<std::string> input_shapes;
  std::vector<std::string> input_values;
  bool describe = false;
  bool explain = false;
  bool lint_tensorrt = false;
  ds::ModelOptions zoo;
  ds::OnnxExportOptions onnx;
  std::vector<std::string> isas;
  ds::engine::compile::CompileOptions dsm;
};

void Declare(CLI::App& app, Arguments& arguments) {
  app.add_option("--model", arguments.model, "ONNX file, or zoo:NAME (zoo:resnet20)")->required();
  app.add_option(
      "--input-shape", arguments.input_shapes,
      "NAME=1x3x224x224: fixes extents of an input that the file leaves open (? keeps one "
      "open); may be given for each input. dsm: NAME=1x3x224x224,1x3x320x320 makes a file that "
      "runs "
      "in each of these shapes; of several inputs, the first go together, the second, and so on");
  app.add_option("--input-value", arguments.input_values,
                 "NAME=16000: the value of an input that is the same at every run (several with "
                 "commas between them); the input becomes a constant; may be given for each input");
  app.add_option("--plugin", arguments.plugin, "shared library that registers more zoo models");
  app.add_option("--format", arguments.format, "what to write")
      ->check(CLI::IsMember({"dsm", "onnx", "safetensors"}));
  app.add_option("--output", arguments.output, "file to write")->needs("--format");
  app.add_flag("--describe", arguments.describe,
               "list nodes, shapes, parameters, MACs and bytes moved");
  app.add_flag("--explain", arguments.explain,
               "dsm: list the operators, what was fused into each, and the memory");
  app.add_option("--batch", arguments.dsm.batches,
                 "dsm: the batch, where the model leaves it open; several with commas between them "
                 "make a file that runs in each")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->capture_default_str();
  app.add_option("--isa", arguments.isas,
                 "dsm: instruction sets that weights are packed for: scalar, avx2, avx512vnni, "
                 "neon, neondot, neoni8mm (all); several with commas between them")
      ->delimiter(',')
      ->check(CLI::IsMember({"scalar", "avx2", "avx512vnni", "neon", "neondot", "neoni8mm"}));
  app.add_option("--chain-bytes", arguments.dsm.chain_bytes,
                 "dsm: convolutions become one operator wherever an image between them has so many "
                 "bytes or more (by default: where that makes the memory of activations smaller)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--lint-tensorrt", arguments.lint_tensorrt,
               "say of a quantised model, node by node, what TensorRT will make of it");
  app.add_option("--profile", arguments.profile,
                 "refused: the runtime is chosen where a model is quantised, ds_quantize --profile")
      ->check(CLI::IsMember(ds::WordsOf(ds::QdqProfileWords())));
  app.add_option("--opset", arguments.onnx.opset,
                 "ONNX opset to write, or the least later one that holds the model")
      ->check(CLI::Range(13, 28))
      ->capture_default_str();
  const auto extent = [&app](const char* flag, int64_t& field, int64_t most, const char* what) {
    app.add_option(flag, field, what)->check(CLI::Range(int64_t{1}, most))->capture_default_str();
  };
  extent("--channels", arguments.zoo.channels, 65536, "zoo: input channels");
  extent("--height", arguments.zoo.height, 65536, "zoo: input height, pixels");
  extent("--width", arguments.zoo.width, 65536, "zoo: input width, pixels");
  extent("--classes", arguments.zoo.classes, 1000000, "zoo: classes, or vocabulary size");
  extent("--sequence-length", arguments.zoo.sequence_length, 65536, "zoo: tokens of text models");
  app.add_option("--seed", arguments.zoo.seed, "zoo: seed of the initial weights")
      ->capture_default_str();
}

using InputShapes = std::map<std::string, std::vector<ds::Shape>>;

// "NAME=1x3x?,1x3x8": an input's extents, "?" for one that stays open, in each shape of the file.
absl::Status ReadInputShape(const std::string& text, InputShapes& shapes) {
  const size_t equals = text.rfind('=');
  bool read = equals != std::string::npos && equals > 0;
  for (const absl::string_view one :
       absl::StrSplit(read ? absl::string_view(text).substr(equals + 1) : "", ',')) {
    ds::Shape shape;
    for (const absl::string_view part : absl::StrSplit(one, 'x')) {
      int64_t extent = ds::kDynamicDim;
      read = read && (part == "?" || (absl::SimpleAtoi(part, &extent) && extent > 0));
      shape.push_back(extent);
    }
    if (read) shapes[text.substr(0, equals)].push_back(std::move(shape));
  }
  if (read) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--input-shape ", text, ": write it as NAME=1x3x224x224, with ? for an open extent"));
}

// The shapes of every input, one set a shape of the file; at least one set. An input with one shape
// has it in all of them.
absl::StatusOr<std::vector<std::map<std::string, ds::Shape>>> ShapeSets(
    const std::vector<std::string>& texts) {
  InputShapes shapes;
  for (const std::string& text : texts) DS_RETURN_IF_ERROR(ReadInputShape(text, shapes));
  size_t count = 1;
  for (const auto& [name, list] : shapes) count = std::max(count, list.size());
  std::vector<std::map<std::string, ds::Shape>> sets(count);
  for (const auto& [name, list] : shapes) {
    if (list.size() != 1 && list.size() != count) {
      return absl::InvalidArgumentError(
          absl::StrCat("--input-shape ", name, "=...: ", list.size(), " shapes, another input has ",
                       count, "; give each input one shape or as many as the others"));
    }
    for (size_t i = 0; i < count; ++i) sets[i][name] = list[list.size() == 1 ? 0 : i];
  }
  return sets;
}

// "NAME=1,2.5": an input's values.
absl::Status ReadInputValue(const std::string& text, ds::OnnxImportOptions& options) {
  const size_t equals = text.rfind('=');
  std::vector<double> values;
  bool read = equals != std::string::npos && equals > 0;
  if (read) {
    for (const absl::string_view part : absl::StrSplit(text.substr(equals + 1), ',')) {
      double value = 0;
      read = read && absl::SimpleAtod(part, &value);
      values.push_back(value);
    }
  }
  if (!read) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--input-value ", text, ": write it as NAME=16000, or NAME=1,2,3 for several numbers"));
  }
  options.input_values[text.substr(0, equals)] = std::move(values);
  return absl::OkStatus();
}

// The model with its inputs in each set of shapes.
absl::StatusOr<std::vector<ds::Graph>> Load(const Arguments& arguments,
                                            std::vector<std::string>& notes) {
  if (!arguments.plugin.empty()) DS_RETURN_IF_ERROR(ds::LoadModelPlugin(arguments.plugin));
  std::vector<ds::Graph> graphs;
  if (absl::StartsWith(arguments.model, kZooPrefix)) {
    DS_ASSIGN_OR_RETURN(
        ds::Graph graph,
        ds::BuildModel(arguments.model.substr(sizeof(kZooPrefix) - 1), arguments.zoo));
    graphs.push_back(std::move(graph));
    return graphs;
  }
  DS_ASSIGN_OR_RETURN(const auto shape_sets, ShapeSets(arguments.input_shapes));
  if (shape_sets.size() > 1 && arguments.format != "dsm") {
    return absl::InvalidArgumentError(
        "--input-shape with several shapes of an input is for --format dsm; give one shape");
  }
  for (const auto& shapes : shape_sets) {
    ds::OnnxImportOptions options = {
        .read_weights = !arguments.output.empty() || arguments.lint_tensorrt,
        .notes = graphs.empty() ? &notes : nullptr};
    options.input_shapes.insert(shapes.begin(), shapes.end());
    for (const std::string& text : arguments.input_values) {
      DS_RETURN_IF_ERROR(ReadInputValue(text, options));
    }
    DS_ASSIGN_OR_RETURN(ds::Graph graph, ds::ImportOnnx(arguments.model, options));
    graphs.push_back(std::move(graph));
  }
  return graphs;
}

absl::Status WriteDsm(const std::vector<ds::Graph>& graphs, const Arguments& arguments) {
  ds::engine::compile::CompileOptions options = arguments.dsm;
  for (int i = 0; i < ds::engine::kIsaCount; ++i) {
    const auto isa = static_cast<ds::engine::Isa>(i);
    for (const std::string& name : arguments.isas) {
      if (name == ds::engine::IsaName(isa)) options.isas.push_back(isa);
    }
  }
  ds::engine::compile::CompileReport report;
  DS_RETURN_IF_ERROR(ds::engine::compile::WriteDsm(graphs, arguments.output, options, &report));
  if (arguments.explain) std::printf("%s", ds::engine::compile::Explain(report).c_str());
  return absl::OkStatus();
}

absl::Status Write(const std::vector<ds::Graph>& graphs, const Arguments& arguments) {
  if (arguments.format == "dsm") return WriteDsm(graphs, arguments);
  const ds::Graph& graph = graphs.front();
  if (arguments.format == "onnx") return ds::ExportOnnx(graph, arguments.output, arguments.onnx);
  ds::TensorMap tensors;
  for (const auto& [id, initializer] : graph.initializers()) {
    tensors[graph.value(id).name] = initializer.data;
  }
  return ds::WriteSafetensors(arguments.output, tensors, graph.metadata);
}

// The profiles do not differ in where nodes stand alone: TensorRT's codes are symmetric, and no
// range of the one says what calibration would have chosen for the other.
absl::Status RefuseProfile(const ds::Graph& graph, const Arguments& arguments) {
  bool placed = false;
  for (const ds::Node& node : graph.nodes()) placed |= node.op == "QuantizeLinear";
  return absl::InvalidArgumentError(absl::StrCat(
      "--profile ", arguments.profile, ": '", arguments.model, "' ",
      placed ? "was calibrated for one runtime and cannot be turned into a file for the other"
             : "is not quantised, and a profile says how integers are laid out",
      "; quantise the float model with ds_quantize --profile ", arguments.profile));
}

absl::Status Run(const Arguments& arguments) {
  std::vector<std::string> notes;
  DS_ASSIGN_OR_RETURN(const std::vector<ds::Graph> graphs, Load(arguments, notes));
  const ds::Graph& graph = graphs.front();
  if (!arguments.profile.empty()) return RefuseProfile(graph, arguments);
  if (arguments.describe) std::printf("%s", ds::Describe(graph).c_str());
  for (const std::string& note : notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  if (arguments.lint_tensorrt) std::printf("%s", ds::LintText(ds::LintForTensorRT(graph)).c_str());
  if (arguments.output.empty()) return absl::OkStatus();
  DS_RETURN_IF_ERROR(Write(graphs, arguments));
  std::printf("wrote %s\n", arguments.output.c_str());
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Converts a model to ONNX, safetensors or the edge engine's .dsm, or describes it.");
  Arguments arguments;
  Declare(app, arguments);
  try {
    app.parse(argc, argv);
    if (arguments.output.empty() && arguments.profile.empty() && !arguments.describe &&
        !arguments.lint_tensorrt) {
      throw CLI::ValidationError(
          "nothing to do: give --format and --output, --describe or --lint-tensorrt");
    }
    if (arguments.format.empty() != arguments.output.empty()) {
      throw CLI::ValidationError("--format and --output go together");
    }
    if (arguments.explain && arguments.format != "dsm") {
      throw CLI::ValidationError("--explain says what --format dsm makes: give that, too");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  const absl::Status status = Run(arguments);
  if (status.ok()) return 0;
  std::fprintf(stderr, "ds_export: %s\n", std::string(status.message()).c_str());
  return kBadInput;
}
