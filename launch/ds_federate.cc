// ds_federate: federated training tried out on one machine: a demonstration with real processes, or
// a thousand virtual sites in one.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>

#include "CLI/CLI.hpp"
#include "federated/demo/demo.h"
#include "federated/simulate/simulation.h"

namespace {

using ds::federated::SimulationOptions;
void AddDemo(CLI::App& app, ds::federated::DemoOptions& demo) {
  CLI::App* const command = app.add_subcommand(
      "demo",
      "An authority, an aggregator and a process for each site on this machine train together on "
      "Fashion-MNIST.");
  command->add_option("--output", demo.output, "a new folder for all of it")->required();
  command->add_option("--sites", demo.sites, "processes")->capture_default_str();
  command->add_option("--rounds", demo.rounds)->capture_default_str()->check(CLI::PositiveNumber);
  command
      ->add_option("--alpha", demo.alpha,
                   "of Dirichlet's distribution, by which classes are dealt to sites: the smaller, "
                   "the fewer classes a site has; 0: equal shares")
      ->capture_default_str();
  command->add_option("--bits", demo.bits, "of an update's value")
      ->capture_default_str()
      ->check(CLI::Range(1, 16));
  command->add_flag("--secure", demo.secure, "the aggregator sees only sums");
  command->add_option("--strategy", demo.strategy, "how updates become the next model")
      ->capture_default_str();
  command->add_option("--model", demo.model, "of the zoo")->capture_default_str();
  command->add_option("--data", demo.data, "folder of Fashion-MNIST; default: the usual places");
  command->add_option("--limit", demo.train_limit, "first training samples, of all sites; 0: all");
  command->add_option("--seed", demo.seed)->capture_default_str();
  command->add_option("overrides", demo.overrides,
                      "key.path=value of the training, as optimizer.learning_rate=0.02");
}

void AddSimulate(CLI::App& app, SimulationOptions& simulation, bool& secure) {
  CLI::App* const command = app.add_subcommand(
      "simulate",
      "Virtual sites in one process, each with an optimum in the place of data, over the same "
      "aggregator and agents: to try options out at scale.");
  ds::federated::RunOptions& run = simulation.run;
  command->add_option("--sites", simulation.sites)->capture_default_str();
  command->add_option("--rounds", run.round.rounds)->capture_default_str();
  command->add_option("--parameters", simulation.problem.parameters)->capture_default_str();
  command->add_option("--bits", run.update.bits, "of an update's value")->capture_default_str();
  command->add_flag("--secure", secure, "the aggregator sees only sums");
  command->add_option("--strategy", run.strategy.name)->capture_default_str();
  command->add_option("--sample", run.round.sample, "share of the sites a round")
      ->capture_default_str();
  command->add_option("--absent", simulation.absent, "share of the updates that never come")
      ->capture_default_str();
  command->add_option("--deadline", run.round.deadline_s, "of a round, seconds")
      ->capture_default_str();
  command->add_option("--goal", run.round.goal, "updates a round waits for; 0: all")
      ->capture_default_str();
}

absl::Status Simulate(SimulationOptions simulation) {
  simulation.folder = std::filesystem::temp_directory_path() / "ds_federate-XXXXXX";
  if (mkdtemp(simulation.folder.data()) == nullptr)
    return absl::UnavailableError("no folder for temporary files: " + simulation.folder);
  simulation.round_ended = [](const ds::federated::RoundReport& round) {
    std::printf("round %d: %s, %d of %d updates, %.3f s\n", static_cast<int>(round.round),
                round.published ? "published" : round.reason.c_str(),
                static_cast<int>(round.counted.size()), static_cast<int>(round.selected.size()),
                round.seconds);
  };
  const auto report = ds::federated::RunSimulation(simulation);
  std::error_code ignored;
  std::filesystem::remove_all(simulation.folder, ignored);
  if (!report.ok()) return report.status();
  std::printf(
      "%s\nversion %d, digest %.16s, the same at %d of %d sites; %.3f from the optimum; %.1f s\n",
      report->reason.c_str(), static_cast<int>(report->version), report->model_digest.c_str(),
      static_cast<int>(report->agreeing), static_cast<int>(simulation.sites), report->distance,
      report->seconds);
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Tries federated training out on this machine.");
  app.require_subcommand(1);
  ds::federated::DemoOptions demo;
  SimulationOptions simulation;
  bool secure = false;
  AddDemo(app, demo);
  AddSimulate(app, simulation, secure);
  CLI11_PARSE(app, argc, argv);
  if (secure) simulation.run.secure.mode = "on";
  if (simulation.run.round.goal > 0)
    simulation.run.round.spare = std::max<int64_t>(0, simulation.sites - simulation.run.round.goal);
  const absl::Status status =
      app.got_subcommand("demo") ? ds::federated::RunDemo(demo).status() : Simulate(simulation);
  if (status.ok()) return 0;
  std::fprintf(stderr, "ds_federate: %s\n", std::string(status.message()).c_str());
  return 1;
}
