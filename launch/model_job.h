// What ds_quantize and ds_prune have in common: they read a model and data, change the model and
// write it.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace ds {

// The YAML of the data, as flags give it.
struct DataFlags {
  std::string file;
  std::vector<std::string> overrides;
};

// `purpose` is what the data is for, `reports` the endings of what goes beside the output. What is
// referred to must outlive `app`.
template <typename JobOptions>
void AddModelJobFlags(CLI::App& app, const std::string& purpose, const std::string& reports,
                      JobOptions& job, DataFlags& flags) {
  app.add_option("--model", job.model, "float ONNX file, for instance a run's model.onnx")
      ->required();
  app.add_option("--data", flags.file,
                 "YAML whose data section says what to " + purpose +
                     " on, for instance a run's config.yaml; no other section is needed")
      ->required();
  app.add_option("--output", job.output,
                 "ONNX file to write; the report goes beside it as " + reports)
      ->required();
  app.add_option("overrides", flags.overrides, "key.path=value of the YAML, e.g. data.path=DIR");
  app.add_option("--threads", job.threads, "0: all cores")->check(CLI::NonNegativeNumber);
}

// The overrides, with `model` in the place of what the YAML may say of a model: what is changed is
// the file.
inline std::vector<std::string> OverridesFor(const DataFlags& flags, const std::string& model) {
  std::vector<std::string> overrides = flags.overrides;
  std::string quoted;
  for (const char c : model) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  overrides.push_back("model.onnx=\"" + quoted + "\"");
  overrides.push_back("model.name=\"\"");
  overrides.push_back("model.plugin=\"\"");
  return overrides;
}

// The program's exit code; an error goes to stderr.
inline int ExitCode(const char* program, const absl::Status& status) {
  constexpr int kBadInput = 1;
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", program, std::string(status.message()).c_str());
  return kBadInput;
}

}  // namespace ds
