// A site without data, for federated_vs_flower.py: ds_agent in all but its training, which gives a
// random update at once. Without LibTorch.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/hash/sha256.h"
#include "base/log.h"
#include "base/status.h"
#include "federated/jobs/agent_job.h"
#include "federated/model/graph_model.h"

namespace ds::federated {
namespace {

class RandomTrainer final : public LocalTrainer {
 public:
  RandomTrainer(const std::string& site, absl::Duration pause)
      : pause_(pause), seed_(std::stoull(Sha256Hex(site).substr(0, 15), nullptr, 16)) {}

  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& model_file) override {
    DS_ASSIGN_OR_RETURN(const GraphModel model, ReadGraphModel(model_file));
    return LocalModel{model.layout, model.Weights(), kSamples};
  }

  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    absl::SleepFor(pause_);
    TrainedUpdate update;
    update.delta.resize(weights.size() + control.size());
    uint64_t state = seed_ + static_cast<uint64_t>(round) * 0x9E3779B97F4A7C15u;
    for (float& value : update.delta) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      value = static_cast<float>(static_cast<int32_t>(state >> 32)) * 1e-12f;
    }
    update.metrics.samples = kSamples;
    return update;
  }

 private:
  static constexpr int64_t kSamples = 100;
  const absl::Duration pause_;
  const uint64_t seed_;
};

int Main(int argc, char** argv) {
  std::string config_file;
  std::vector<std::string> overrides;
  CLI::App app("A site of a federated run that sends random updates.");
  app.add_option("--config", config_file, "YAML, as ds_agent's")->required();
  app.add_option("overrides", overrides, "key.path=value");
  double pause_s = 0;
  app.add_option("--pause", pause_s, "that training takes, seconds");
  CLI11_PARSE(app, argc, argv);
  SetUpLog(LogLevel::kInfo, /*rank=*/-1);
  const absl::StatusOr<AgentConfig> config = ReadAgentConfig(config_file, overrides);
  absl::Status status = config.status();
  if (config.ok()) {
    AgentJobOptions job;
    job.trainer = [pause_s](const std::string& site) {
      return std::make_unique<RandomTrainer>(site, absl::Seconds(pause_s));
    };
    status = RunAgentJob(*config, job).status();
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "random_agent: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) { return ds::federated::Main(argc, argv); }
