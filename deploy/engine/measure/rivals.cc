#include "deploy/engine/measure/rivals.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "deploy/engine/measure/program_output.h"
#include "deploy/engine/measure/rival_script.h"

namespace ds::engine {
namespace {

using Figures = std::map<std::string, double>;
using Environment = std::vector<std::pair<std::string, std::string>>;

const std::string& FileOf(const std::string& name, const RivalOptions& rivals) {
  if (name == "litert") return rivals.tflite;
  return name == "executorch" ? rivals.pte : rivals.onnx;
}

const char* SwitchOf(const std::string& name) {
  if (name == "litert") return "--tflite";
  return name == "executorch" ? "--pte" : "--onnx";
}

// What oneDNN calls the instruction set; AVX-512 VNNI keeps it from AMX.
Environment EnvironmentOf(const MeasureOptions& measure) {
  Environment environment = {{"OMP_NUM_THREADS", std::to_string(measure.session.threads)}};
  const std::string& isa = measure.open.isa;
  if (isa == "avx2" || isa == "avx512vnni") {
    const char* name = isa == "avx2" ? "AVX2" : "AVX512_CORE_VNNI";
    environment.emplace_back("ONEDNN_MAX_CPU_ISA", name);
    environment.emplace_back("DNNL_MAX_CPU_ISA", name);
  }
  return environment;
}

Status OfRival(const std::string& name, const MeasureOptions& measure, const RivalOptions& rivals,
               Figures& figures) {
  std::string text;
  const Status status =
      ProgramOutput({rivals.python, "-c", RivalScript(), name, FileOf(name, rivals),
                     std::to_string(measure.session.threads), std::to_string(measure.runs)},
                    EnvironmentOf(measure), text);
  if (!status.ok()) return Status::Error(name + ": " + status.message());
  // Libraries may print lines of their own.
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string field;
    double value = 0;
    if (words >> field >> value) figures[field] = value;
  }
  if (figures.count("median_ms") == 0)
    return Status::Error(name + " printed no figures for '" + FileOf(name, rivals) + "'");
  return {};
}

std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream in(line);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

Status OfEngine(const MeasureOptions& measure, const std::string& bench, Figures& figures) {
  std::vector<std::string> command = {bench,
                                      "--model",
                                      measure.model,
                                      "--threads",
                                      std::to_string(measure.session.threads),
                                      "--runs",
                                      std::to_string(measure.runs),
                                      "--format",
                                      "csv"};
  if (!measure.open.isa.empty()) command.insert(command.end(), {"--isa", measure.open.isa});
  std::string text;
  DS_ENGINE_RETURN_IF_ERROR(ProgramOutput(command, {}, text));
  std::istringstream lines(text);
  std::string names, values;
  std::getline(lines, names);
  std::getline(lines, values);
  const std::vector<std::string> fields = Words(names), numbers = Words(values);
  // From the end: the first fields are text, which may hold commas.
  for (size_t i = 1; i + 2 <= std::min(fields.size(), numbers.size()); ++i)
    figures[fields[fields.size() - i]] = std::strtod(numbers[numbers.size() - i].c_str(), nullptr);
  return {};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

Status MeasureRivals(const MeasureOptions& measure, const RivalOptions& rivals,
                     const std::string& bench, std::vector<RuntimeFigures>& runtimes) {
  for (const std::string& name : rivals.names) {
    if (FileOf(name, rivals).empty())
      return Status::Error(name + " needs the network's file: give " + SwitchOf(name));
  }
  std::vector<std::string> names = {"engine"};
  names.insert(names.end(), rivals.names.begin(), rivals.names.end());
  std::map<std::string, std::vector<Figures>> rounds;
  for (int round = 0; round < rivals.rounds; ++round) {
    for (const std::string& name : names) {
      Figures& figures = rounds[name].emplace_back();
      DS_ENGINE_RETURN_IF_ERROR(name == "engine" ? OfEngine(measure, bench, figures)
                                                 : OfRival(name, measure, rivals, figures));
    }
  }
  for (const std::string& name : names) {
    const auto median = [&](const char* field) {
      std::vector<double> values;
      for (Figures& figures : rounds[name]) values.push_back(figures[field]);
      return Median(values);
    };
    std::vector<double> ratios;
    for (size_t i = 0; i < rounds[name].size(); ++i)
      ratios.push_back(rounds[name][i]["median_ms"] / rounds["engine"][i]["median_ms"]);
    runtimes.push_back({name, median("median_ms"), median("p99_ms"), median("first_ms"),
                        median("load_ms"), median("rss_mib"), Median(ratios)});
  }
  return {};
}

}  // namespace ds::engine
