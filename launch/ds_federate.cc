// ds_federate: federated training tried out on one machine: a demonstration with real processes.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "federated/demo/demo.h"

namespace {

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

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Tries federated training out on this machine.");
  app.require_subcommand(1);
  ds::federated::DemoOptions demo;
  AddDemo(app, demo);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = ds::federated::RunDemo(demo).status();
  if (status.ok()) return 0;
  std::fprintf(stderr, "ds_federate: %s\n", std::string(status.message()).c_str());
  return 1;
}
