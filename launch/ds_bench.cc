// ds_bench: how fast a .dsm file opens and runs here, and what memory it takes.
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "deploy/engine/measure/measure.h"

namespace {

using ds::engine::MeasureFormat;

struct Arguments {
  ds::engine::MeasureOptions measure;
  std::string format = "table";
};

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
                 "instruction set: scalar, avx2, avx512vnni, neon, neondot, neoni8mm "
                 "(default: DS_ISA, or the fastest)");
  app.add_option("--seed", measure.seed, "of the random inputs")->capture_default_str();
  app.add_flag("--profile", measure.session.profile, "time each operator, too");
  app.add_option("--format", arguments.format, "what is printed")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "json", "csv"}))
      ->capture_default_str();
}

MeasureFormat FormatOf(const std::string& name) {
  if (name == "json") return MeasureFormat::kJson;
  return name == "csv" ? MeasureFormat::kCsv : MeasureFormat::kTable;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures a .dsm file: time to open, to run the first time and then, memory.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  ds::engine::Measurement measurement;
  const ds::engine::Status status = ds::engine::Measure(arguments.measure, measurement);
  if (!status.ok()) {
    std::fprintf(stderr, "ds_bench: %s\n", status.message().c_str());
    return 1;
  }
  std::fputs(Print(measurement, FormatOf(arguments.format)).c_str(), stdout);
  return 0;
}
