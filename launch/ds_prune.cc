// ds_prune: takes channels, or two of every four weights, out of a trained ONNX model.
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "jobs/config/train_schema.h"
#include "jobs/prune/prune_job.h"
#include "launch/model_job.h"

namespace {

struct Arguments {
  ds::DataFlags yaml;
  ds::PruneJobOptions job;
};

void Declare(CLI::App& app, Arguments& arguments) {
  ds::PruneOptions& prune = arguments.job.channels.options;
  ds::AddModelJobFlags(app, "measure and test", ".json", arguments.job, arguments.yaml);
  const auto choice = [&app](const char* flag, std::string& field, std::vector<std::string> values,
                             const char* what) {
    app.add_option(flag, field, what)
        ->check(CLI::IsMember(std::move(values)))
        ->capture_default_str();
  };
  choice("--pattern", arguments.job.pattern, {"channels", "2:4"}, "what goes");
  choice("--importance", prune.importance, {"l1", "bn", "taylor"}, "by which channels are chosen");
  choice("--measure", prune.measure, {"filters", "macs"}, "what --amount is a share of");
  choice("--scope", prune.scope, {"global", "uniform"},
         "the least important anywhere, or the same share of each group");
  app.add_option("--amount", prune.amount, "share of the measure that goes, between 0 and 1")
      ->capture_default_str();
  app.add_option("--most-of-group", prune.most_of_group,
                 "share of one group that may go, between 0 and 1")
      ->capture_default_str();
  app.add_option("--multiple", prune.multiple, "groups shrink to multiples of this")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--keep", prune.keep, "names of layers to leave alone, by commas")->delimiter(',');
  app.add_option("--samples", arguments.job.channels.samples,
                 "images of the training split for taylor")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

absl::Status Run(const Arguments& arguments) {
  auto config = ds::ReadTrainConfig(arguments.yaml.file,
                                    ds::OverridesFor(arguments.yaml, arguments.job.model));
  if (!config.ok()) return config.status();
  return ds::RunPruneJob(*std::move(config), arguments.job).status();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Prunes a model: whole channels, or the 2:4 pattern. Fine-tune the result with ds_train and "
      "model.onnx=FILE.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  ds::SetUpLog(ds::LogLevel::kInfo, -1);
  return ds::ExitCode("ds_prune", Run(arguments));
}
