// ds_run: a .dsm file on a data set, or on one picture.
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "deploy/engine/runtime/session.h"
#include "jobs/config/train_schema.h"
#include "jobs/run/run_job.h"
#include "launch/model_job.h"

namespace {

struct Arguments {
  ds::DataFlags yaml;
  ds::RunJobOptions job;
  std::string picture, format = "table";
};

void Declare(CLI::App& app, Arguments& arguments) {
  ds::RunJobOptions& job = arguments.job;
  app.add_option("--model", job.model, "a .dsm file, as ds_export --format dsm writes it")
      ->required();
  CLI::Option* data = app.add_option(
      "--data", arguments.yaml.file,
      "YAML whose data section says what to run on, for instance a run's config.yaml");
  app.add_option("--image", arguments.picture,
                 "one picture (JPEG, PNG or WebP) instead of the data set; its mean and stddev are "
                 "those of --data, where that is given");
  app.add_option("overrides", arguments.yaml.overrides, "key.path=value of the YAML")->needs(data);
  app.add_option("--split", job.split, "of the data")
      ->check(CLI::IsMember(std::vector<std::string>{"train", "test"}))
      ->capture_default_str();
  app.add_option("--limit", job.limit, "samples; 0: as the YAML says, or all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top", job.top, "classes shown of a picture")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", job.threads, "threads, this one included")
      ->check(CLI::Range(1, ds::engine::kMostThreads))
      ->capture_default_str();
  app.add_option("--isa", job.isa,
                 "instruction set: scalar, avx2, avx512vnni, neon, neondot, neoni8mm "
                 "(default: DS_ISA, or the fastest)");
  app.add_option("--format", arguments.format, "what is printed")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "json"}))
      ->capture_default_str();
}

void Print(const ds::RunScore& score, bool json) {
  const auto share = [&](int64_t count) {
    return score.samples > 0
               ? 100.0 * static_cast<double>(count) / static_cast<double>(score.samples)
               : 0.0;
  };
  const double milliseconds =
      score.samples > 0 ? 1000 * score.seconds / static_cast<double>(score.samples) : 0;
  std::printf(
      json ? "{\"samples\": %lld, \"accuracy\": %.3f, \"top5\": %.3f, \"ms_a_sample\": %.4f}\n"
           : "samples      %lld\naccuracy     %.2f %%\ntop5         %.2f %%\nms a sample  %.3f\n",
      static_cast<long long>(score.samples), share(score.correct), share(score.correct_of_five),
      milliseconds);
}

absl::Status RunPicture(const Arguments& arguments, const ds::TrainConfig& config) {
  const auto classes = ds::RunOnPicture(config, arguments.picture, arguments.job);
  if (!classes.ok()) return classes.status();
  for (const auto& [label, score] : *classes)
    std::printf("%6lld  %.5g\n", static_cast<long long>(label), score);
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  ds::TrainConfig config;
  if (!arguments.yaml.file.empty()) {
    auto read = ds::ReadTrainConfig(arguments.yaml.file,
                                    ds::OverridesFor(arguments.yaml, arguments.job.model));
    if (!read.ok()) return read.status();
    config = *std::move(read);
  }
  if (!arguments.picture.empty()) return RunPicture(arguments, config);
  if (arguments.yaml.file.empty())
    return absl::InvalidArgumentError("give --data, a data set's YAML, or --image, a picture");
  const auto score = ds::RunOnData(config, arguments.job);
  if (!score.ok()) return score.status();
  Print(*score, arguments.format == "json");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs a .dsm file on a data set (accuracy of a classifier) or on a picture.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  return ds::ExitCode("ds_run", Run(arguments));
}
