#include "federated/config/aggregator_config.h"

#include "base/status.h"
#include "config/reader.h"
#include "federated/strategy/check_options.h"

namespace ds::federated {
namespace {

constexpr double kMany = 1e6;
using Fields = std::vector<Field>;

void AddRun(AggregatorConfig& c, Fields& out) {
  out.push_back({"run", "name", &c.name, PlainName(), "name of the run's folder"});
  out.push_back({"run", "output", &c.output, Any(), "folder that holds the run's folder"});
  out.push_back({"run", "seed", &c.run.seed, AtLeast(0),
                 "seeds initial weights, the sites' training and which sites are selected"});
}

void AddListen(ListenConfig& c, Fields& out) {
  out.push_back({"listen", "address", &c.address, Any(),
                 "HOST:PORT that agents dial; port 0: any that is free"});
  out.push_back({"listen", "identity", &c.identity, Any(),
                 "folder of the server's key and certificate, as `ds_pki init` makes it"});
  out.push_back({"listen", "insecure", &c.insecure, Any(),
                 "without TLS and certificates; refused but on loopback addresses"});
  out.push_back(
      {"listen", "metrics", &c.metrics, Any(), "HOST:PORT of Prometheus' metrics; empty: none"});
  out.push_back({"listen", "connections", &c.connections, Between(1, kMany), "at once"});
}

void AddTask(TaskConfig& c, Fields& out) {
  out.push_back({"task", "config", &c.config, Any(),
                 "configuration of ds_train: the model and how sites train it; its test split is "
                 "the server's own"});
  out.push_back({"task", "overrides", &c.overrides, Any(), "of it, each as key.path=value"});
  out.push_back(
      {"task", "evaluate", &c.evaluate, Any(), "test every published model at the server"});
}

void AddRound(RoundOptions& c, Fields& out) {
  out.push_back({"round", "rounds", &c.rounds, Between(1, kMany), "to publish"});
  out.push_back({"round", "goal", &c.goal, Between(0, kMany),
                 "updates that a round waits for; 0: those of all sites that were selected"});
  out.push_back({"round", "minimum", &c.minimum, Between(1, kMany),
                 "updates without which a round is abandoned at its deadline"});
  out.push_back({"round", "wait_for", &c.wait_for, Between(1, kMany),
                 "sites that must have joined before the first round"});
  out.push_back({"round", "sample", &c.sample, Share(), "share of the present sites selected"});
  out.push_back({"round", "spare", &c.spare, Between(0, kMany), "sites selected beyond the goal"});
  out.push_back({"round", "deadline_s", &c.deadline_s, Above(0),
                 "of a round's training and upload together, seconds"});
  out.push_back({"round", "unmask_deadline_s", &c.unmask_deadline_s, Above(0),
                 "secure: of each answer that sites owe, seconds"});
  out.push_back({"round", "abandoned_in_a_row", &c.abandoned_in_a_row, Between(1, kMany),
                 "rounds, after which the run ends as failed"});
}

void AddStrategy(StrategyOptions& c, Fields& out) {
  out.push_back({"strategy", "name", &c.name,
                 OneOf({"fedavg", "fedprox", "scaffold", "fedavgm", "fedadam", "fedyogi",
                        "trimmed_mean", "median", "krum", "multi_krum", "fedbuff"}),
                 "how updates become the next model"});
  out.push_back({"strategy", "server_learning_rate", &c.server_learning_rate, Above(0),
                 "factor of the mean update"});
  out.push_back({"strategy", "momentum", &c.momentum, Fraction(),
                 "fedavgm: momentum; fedadam, fedyogi: decay of the mean"});
  out.push_back({"strategy", "second_moment", &c.second_moment, Fraction(),
                 "fedadam, fedyogi: decay of the squared mean"});
  out.push_back(
      {"strategy", "epsilon", &c.epsilon, Above(0), "fedadam, fedyogi: added to the divisor"});
  out.push_back({"strategy", "proximal", &c.proximal, AtLeast(0),
                 "fedprox: weight of the distance from the round's first weights"});
  out.push_back({"strategy",
                 "trim",
                 &c.trim,
                 {.min = 0, .max = 0.5, .below_max = true},
                 "trimmed_mean: share left out at each end"});
  out.push_back({"strategy", "byzantine", &c.byzantine, Between(0, kMany),
                 "krum, multi_krum: sites taken to be hostile"});
  out.push_back(
      {"strategy", "buffer", &c.buffer, Between(1, kMany), "fedbuff: updates a publication"});
  out.push_back({"strategy", "max_staleness", &c.max_staleness, Between(0, kMany),
                 "fedbuff: versions, beyond which an update is refused"});
}

void AddUpdate(UpdateOptions& c, Fields& out) {
  out.push_back({"update", "bits", &c.bits, Between(1, 16), "a value"});
  out.push_back({"update", "weighting", &c.weighting, OneOf({"samples", "equal"}),
                 "how much a site's update counts"});
  out.push_back({"update", "samples_reference", &c.samples_reference, Between(0, 1e12),
                 "samples that weigh 1; 0: the largest count that a site declares"});
  out.push_back({"update", "declare_samples", &c.declare_samples, Any(),
                 "sites name their sample counts when they join; else only sums are learnt"});
  out.push_back({"update", "error_feedback", &c.error_feedback, Any(),
                 "what rounding left over is added to the next update"});
  out.push_back(
      {"update", "rotate", &c.rotate, Any(), "randomised Hadamard transform before rounding"});
  out.push_back({"update", "clip_norm", &c.clip_norm, AtLeast(0),
                 "largest L2 norm of a site's update; 0: off"});
}

void AddSecure(SecureOptions& c, Fields& out) {
  out.push_back({"secure", "mode", &c.mode, OneOf({"off", "on", "strict"}),
                 "secure aggregation: the aggregator sees only the sum; strict: survivors are "
                 "echoed under signature before any share leaves"});
  out.push_back({"secure", "rounds_a_setup", &c.rounds_a_setup, Between(1, 1024),
                 "keys are made in batches for so many rounds"});
  out.push_back({"secure", "colluders", &c.colluders, Between(0, kMany),
                 "sites that may conspire with the aggregator: 2 threshold > sites + colluders"});
  out.push_back({"secure", "threshold", &c.threshold, Between(0, kMany),
                 "answers that unmask a sum; 0: the least that holds the line above"});
  out.push_back(
      {"secure", "least_difference", &c.least_difference, Between(0, kMany),
       "survivor sets that differ from an earlier one by so few sites or fewer are named"});
  out.push_back(
      {"secure", "refuse_close_sets", &c.refuse_close_sets, Any(), "and refused, not only named"});
}

void AddPrivacy(PrivacyOptions& c, Fields& out) {
  out.push_back({"privacy", "mechanism", &c.mechanism,
                 OneOf({"none", "discrete_gaussian", "skellam", "central"}),
                 "differential privacy: noise of the sites, or the aggregator's in the sum"});
  out.push_back({"privacy", "noise_multiplier", &c.noise_multiplier, Above(0),
                 "standard deviation of the sum's noise over one site's clip_norm"});
  out.push_back({"privacy", "delta", &c.delta, OpenFraction(), "of (epsilon, delta)"});
  out.push_back({"privacy", "epsilon_budget", &c.epsilon_budget, AtLeast(0),
                 "the run stops before it is exceeded; 0: no budget"});
  out.push_back({"privacy", "declare_metrics", &c.declare_metrics, Any(),
                 "the sites' losses and accuracies are summed without noise all the same"});
}

absl::Status CheckListen(const AggregatorConfig& config, const PositionOf& at) {
  if (config.listen.insecure || !config.listen.identity.empty()) return absl::OkStatus();
  return YamlError(at("listen"),
                   "'listen.identity' is missing: the folder that `ds_pki init` made (or "
                   "listen.insecure=true, on a loopback address only)");
}

absl::Status Check(const AggregatorConfig& config, const PositionOf& at) {
  if (config.task.config.empty()) {
    return YamlError(at("task"),
                     "'task.config' is missing: a configuration of ds_train with the model and "
                     "how sites train it");
  }
  DS_RETURN_IF_ERROR(CheckListen(config, at));
  const absl::Status options = CheckRunOptions(config.run);
  return options.ok() ? options : YamlError(at("strategy"), options.message());
}

}  // namespace

ConfigSchema AggregatorSchema(AggregatorConfig& config) {
  ConfigSchema schema;
  schema.sections = {
      {"run", "The run as a whole."},
      {"listen", "Where agents reach the aggregator."},
      {"task", "What is trained."},
      {"round", "Who takes part in a round, and how long it may take."},
      {"strategy",
       "How updates become the next model (federated.md). `strategy: krum` stands for "
       "`strategy: {name: krum}`.",
       "name"},
      {"update", "How updates travel (federated-updates.md)."},
      {"secure",
       "Secure aggregation (federated-security.md). `secure: on` stands for `secure: "
       "{mode: on}`.",
       "mode"},
      {"privacy", "Differential privacy (federated-privacy.md)."},
  };
  AddRun(config, schema.fields);
  AddListen(config.listen, schema.fields);
  AddTask(config.task, schema.fields);
  AddRound(config.run.round, schema.fields);
  AddStrategy(config.run.strategy, schema.fields);
  AddUpdate(config.run.update, schema.fields);
  AddSecure(config.run.secure, schema.fields);
  AddPrivacy(config.run.privacy, schema.fields);
  schema.check = [&config](const PositionOf& at) { return Check(config, at); };
  schema.example = {.yaml = "task: {config: fashion_mnist_lenet.yaml}",
                    .override = "round.rounds=20",
                    .file = "configs/federated/aggregator.yaml"};
  return schema;
}

absl::StatusOr<AggregatorConfig> ReadAggregatorConfig(const std::string& path,
                                                      const std::vector<std::string>& overrides) {
  AggregatorConfig config;
  DS_RETURN_IF_ERROR(ReadConfig(AggregatorSchema(config), path, overrides));
  return config;
}

std::string PrintAggregatorConfig(const AggregatorConfig& config) {
  AggregatorConfig copy = config;
  return PrintConfig(AggregatorSchema(copy));
}

}  // namespace ds::federated
