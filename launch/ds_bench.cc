// ds_bench: how fast a .dsm file opens and runs here, what memory it takes, and how other runtimes
// do beside it.
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "deploy/engine/measure/measure.h"
#include "deploy/engine/measure/print.h"
#include "deploy/engine/measure/rivals.h"

namespace {

using ds::engine::MeasureFormat;

struct Arguments {
  ds::engine::MeasureOptions measure;
  ds::engine::RivalOptions rivals;
  std::string format = "table";
};

void DeclareRivals(CLI::App& app, ds::engine::RivalOptions& rivals) {
  CLI::Option* names =
      app.add_option("--vs", rivals.names, "other runtimes on the same network, in turns")
          ->delimiter(',')
          ->check(CLI::IsMember(
              std::vector<std::string>{"onnxruntime", "openvino", "litert", "executorch"}));
  const auto add = [&](const char* flag, std::string& value, const char* about) {
    app.add_option(flag, value, about)->needs(names)->check(CLI::ExistingFile);
  };
  add("--onnx", rivals.onnx, "the network's file for onnxruntime and openvino");
  add("--tflite", rivals.tflite, "the network's file for litert");
  add("--pte", rivals.pte, "the network's file for executorch");
  app.add_option("--python", rivals.python, "Python that can import them")->capture_default_str();
  app.add_option("--rounds", rivals.rounds, "processes of each runtime")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void Declare(CLI::App& app, Arguments& arguments) {
  ds::engine::MeasureOptions& measure = arguments.measure;
  app.add_option("--model", measure.model, "a .dsm file, as ds_export --format dsm writes it")
      ->required();
  app.add_option("--threads", measure.session.threads, "threads, this one included")
      ->check(CLI::Range(1, ds::engine::kMostThreads))
      ->capture_default_str();
  app.add_option("--runs", measure.runs, "timed runs")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--warm-up", measure.warm_up, "runs before them")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--isa", measure.open.isa,
                 "instruction set: scalar, avx2, avx512vnni (default: DS_ISA, or the fastest)");
  app.add_option("--seed", measure.seed, "of the random inputs")->capture_default_str();
  app.add_flag("--profile", measure.session.profile,
               "time each operator, too, and say its share of what the processor can do");
  app.add_flag("--second-process", measure.second_process,
               "also what memory a second process that opens the file adds");
  app.add_option("--format", arguments.format, "what is printed")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "json", "csv"}))
      ->capture_default_str();
  DeclareRivals(app, arguments.rivals);
}

MeasureFormat FormatOf(const std::string& name) {
  if (name == "json") return MeasureFormat::kJson;
  return name == "csv" ? MeasureFormat::kCsv : MeasureFormat::kTable;
}

// The file of the running program, whatever it was called by.
std::string ThisProgram(const char* name) {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? name : path.string();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures a .dsm file: time to open, to run the first time and then, memory.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  ds::engine::Measurement measurement;
  std::vector<ds::engine::RuntimeFigures> runtimes;
  ds::engine::Status status = ds::engine::Measure(arguments.measure, measurement);
  if (status.ok() && !arguments.rivals.names.empty())
    status = MeasureRivals(arguments.measure, arguments.rivals, ThisProgram(argv[0]), runtimes);
  if (!status.ok()) {
    std::fprintf(stderr, "ds_bench: %s\n", status.message().c_str());
    return 1;
  }
  std::fputs(Print(measurement, runtimes, FormatOf(arguments.format)).c_str(), stdout);
  return 0;
}
