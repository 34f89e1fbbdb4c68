// ds_export: converts a model (an ONNX file, or one of the zoo) to ONNX, safetensors or the edge
// engine's .dsm, or describes it.
#include <cstdio>
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
      "open); may be given for each input");
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
  app.add_option("--batch", arguments.dsm.batch, "dsm: the batch, where the model leaves it open")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->capture_default_str();
  app.add_option("--isa", arguments.isas,
                 "dsm: instruction sets that weights are packed for: scalar, avx2, avx512vnni, "
                 "neon, neondot, neoni8mm (all); several with commas between them")
      ->delimiter(',')
      ->check(CLI::IsMember({"scalar", "avx2", "avx512vnni", "neon", "neondot", "neoni8mm"}));
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

// "NAME=1x3x?": an input's extents, "?" for one that stays open.
absl::Status ReadInputShape(const std::string& text, ds::OnnxImportOptions& options) {
  const size_t equals = text.rfind('=');
  ds::Shape shape;
  bool read = equals != std::string::npos && equals > 0;
  if (read) {
    for (const absl::string_view part : absl::StrSplit(text.substr(equals + 1), 'x')) {
      int64_t extent = ds::kDynamicDim;
      read = read && (part == "?" || (absl::SimpleAtoi(part, &extent) && extent > 0));
      shape.push_back(extent);
    }
  }
  if (!read) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--input-shape ", text, ": write it as NAME=1x3x224x224, with ? for an open extent"));
  }
  options.input_shapes[text.substr(0, equals)] = std::move(shape);
  return absl::OkStatus();
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

absl::StatusOr<ds::Graph> Load(const Arguments& arguments, std::vector<std::string>& notes) {
  if (!arguments.plugin.empty()) DS_RETURN_IF_ERROR(ds::LoadModelPlugin(arguments.plugin));
  if (absl::StartsWith(arguments.model, kZooPrefix)) {
    return ds::BuildModel(arguments.model.substr(sizeof(kZooPrefix) - 1), arguments.zoo);
  }
  ds::OnnxImportOptions options = {
      .read_weights = !arguments.output.empty() || arguments.lint_tensorrt, .notes = &notes};
  for (const std::string& text : arguments.input_shapes) {
    DS_RETURN_IF_ERROR(ReadInputShape(text, options));
  }
  for (const std::string& text : arguments.input_values) {
    DS_RETURN_IF_ERROR(ReadInputValue(text, options));
  }
  return ds::ImportOnnx(arguments.model, options);
}

absl::Status WriteDsm(const ds::Graph& graph, const Arguments& arguments) {
  ds::engine::compile::CompileOptions options = arguments.dsm;
  for (int i = 0; i < ds::engine::kIsaCount; ++i) {
    const auto isa = static_cast<ds::engine::Isa>(i);
    for (const std::string& name : arguments.isas) {
      if (name == ds::engine::IsaName(isa)) options.isas.push_back(isa);
    }
  }
  ds::engine::compile::CompileReport report;
  DS_RETURN_IF_ERROR(ds::engine::compile::WriteDsm(graph, arguments.output, options, &report));
  if (arguments.explain) std::printf("%s", ds::engine::compile::Explain(report).c_str());
  return absl::OkStatus();
}

absl::Status Write(const ds::Graph& graph, const Arguments& arguments) {
  if (arguments.format == "dsm") return WriteDsm(graph, arguments);
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
  DS_ASSIGN_OR_RETURN(const ds::Graph graph, Load(arguments, notes));
  if (!arguments.profile.empty()) return RefuseProfile(graph, arguments);
  if (arguments.describe) std::printf("%s", ds::Describe(graph).c_str());
  for (const std::string& note : notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  if (arguments.lint_tensorrt) std::printf("%s", ds::LintText(ds::LintForTensorRT(graph)).c_str());
  if (arguments.output.empty()) return absl::OkStatus();
  DS_RETURN_IF_ERROR(Write(graph, arguments));
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
