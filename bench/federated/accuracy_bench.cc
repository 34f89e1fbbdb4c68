// How well sites learn together: real training and real updates (federated/update/), without any
// transport, so that many runs can be compared. Prints one JSON object: the accuracy of every
// version on the whole test split, bytes and seconds. bits 0: plain means of float32 updates, what
// low bits are held against. Secure aggregation gives the same sums bit for bit, hence this model.
//   federated_accuracy_bench --task configs/federated_fashion_mnist.yaml --sites 8 --alpha 0.5
//   --bits 4
#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "federated/training/server_evaluator.h"
#include "federated/training/task.h"
#include "federated/training/torch_trainer.h"
#include "federated/update/global_model.h"
#include "nlohmann/json.hpp"
#include "report/json.h"

namespace ds::federated {
namespace {

struct Arguments {
  std::string task;
  std::vector<std::string> overrides;
  std::string strategy = "fedavg", folder = "/tmp";
  int64_t sites = 8, rounds = 10;
  double alpha = 0.5, proximal = 0.01;
  int bits = 4, threads = 2;
  uint64_t seed = 1;
};

struct Site {
  std::unique_ptr<LocalTrainer> trainer;
  std::vector<float> residual, own_control;
  TrainedUpdate update;
  absl::Status status;
};

class Simulation {
 public:
  explicit Simulation(const Arguments& arguments) : arguments_(arguments) {}

  absl::StatusOr<nlohmann::ordered_json> Run() {
    DS_RETURN_IF_ERROR(Open());
    nlohmann::ordered_json accuracies = nlohmann::ordered_json::array(), seconds = accuracies;
    for (int64_t round = 0; round < arguments_.rounds; ++round) {
      const double start = SteadySeconds();
      DS_RETURN_IF_ERROR(TrainAll(round));
      DS_RETURN_IF_ERROR(arguments_.bits == 0 ? AddInFloat() : Publish());
      seconds.push_back(SteadySeconds() - start);
      DS_ASSIGN_OR_RETURN(const SiteMetrics metrics, evaluator_->Evaluate(round + 1, weights_));
      accuracies.push_back(static_cast<double>(metrics.correct) /
                           static_cast<double>(metrics.evaluated));
      std::fprintf(stderr, "round %d: %.4f\n", static_cast<int>(round + 1),
                   accuracies.back().get<double>());
    }
    DS_ASSIGN_OR_RETURN(const std::vector<QuantizedExport> files,
                        evaluator_->WriteModels(weights_, arguments_.folder));
    nlohmann::ordered_json exports = nlohmann::ordered_json::object();
    for (const QuantizedExport& file : files) exports[file.file] = file.accuracy;
    return nlohmann::ordered_json{{"strategy", arguments_.strategy},
                                  {"sites", arguments_.sites},
                                  {"alpha", arguments_.alpha},
                                  {"bits", arguments_.bits},
                                  {"seed", arguments_.seed},
                                  {"parameters", weights_.size()},
                                  {"upload_bytes_per_parameter", BytesPerParameter()},
                                  {"test_accuracy", accuracies},
                                  {"exports", exports},
                                  {"round_seconds", seconds}};
  }

 private:
  absl::Status Open() {
    std::vector<std::string> overrides = arguments_.overrides;
    overrides.push_back(absl::StrCat("run.seed=", arguments_.seed));
    overrides.push_back("run.threads=1");
    DS_ASSIGN_OR_RETURN(const FederatedTask task,
                        ReadTask(arguments_.task, overrides, arguments_.rounds));
    options_.seed = arguments_.seed;
    options_.round.rounds = arguments_.rounds;
    options_.strategy.name = arguments_.strategy;
    options_.strategy.proximal = arguments_.proximal;
    options_.update.bits = arguments_.bits;
    const std::string model = absl::StrCat(arguments_.folder, "/offered.onnx");
    RunOffer offer = {.run = "accuracy", .options = options_};
    DS_ASSIGN_OR_RETURN(offer.task, WriteOffer(task, model));
    TrainConfig server = task.train;
    server.run.threads = arguments_.threads;
    DS_ASSIGN_OR_RETURN(evaluator_, MakeServerEvaluator(offer, model, server));
    weights_ = evaluator_->model().weights;
    sites_.resize(static_cast<size_t>(arguments_.sites));
    for (size_t s = 0; s < sites_.size(); ++s) {
      TorchTrainerOptions options = {.site = absl::StrCat("site-", s), .config = task.train};
      options.config.data.partition = {.sites = arguments_.sites,
                                       .site = static_cast<int64_t>(s),
                                       .alpha = arguments_.alpha,
                                       .seed = arguments_.seed};
      sites_[s].trainer = MakeTorchTrainer(options);
      DS_ASSIGN_OR_RETURN(const LocalModel local, sites_[s].trainer->Open(offer, model));
      most_samples_ = std::max(most_samples_, local.samples);
      if (arguments_.strategy == "scaffold") sites_[s].own_control.resize(weights_.size());
    }
    if (arguments_.bits == 0) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(model_, GlobalModel::Create(evaluator_->model().layout, weights_, options_,
                                                    arguments_.sites, most_samples_));
    return absl::OkStatus();
  }

  absl::Status TrainAll(int64_t round) {
    std::atomic<size_t> next = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < arguments_.threads; ++t) {
      threads.emplace_back([&] {
        for (size_t s = next++; s < sites_.size(); s = next++) {
          Site& site = sites_[s];
          const auto control = model_ == nullptr ? absl::Span<const float>() : model_->control();
          auto update = site.trainer->Train(round, weights_, control, site.own_control);
          site.status = update.status();
          if (update.ok()) site.update = *std::move(update);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Site& site : sites_) DS_RETURN_IF_ERROR(site.status);
    return absl::OkStatus();
  }

  absl::Status AddInFloat() {
    if (arguments_.strategy == "scaffold")
      return absl::InvalidArgumentError("scaffold's server step needs --bits of 1 to 16");
    double samples = 0;
    std::vector<double> sum(weights_.size(), 0.0);
    for (const Site& site : sites_) {
      const auto weight = static_cast<double>(site.update.metrics.samples);
      samples += weight;
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] += weight * static_cast<double>(site.update.delta[i]);
    }
    for (size_t i = 0; i < sum.size(); ++i) weights_[i] += static_cast<float>(sum[i] / samples);
    return absl::OkStatus();
  }

  absl::Status Publish() {
    Published published;
    published.version = model_->version() + 1;
    PublishedGroup group = {.base_version = model_->version(),
                            .divisor = arguments_.sites,
                            .updates = arguments_.sites,
                            .sum = IntegerVector(model_->modulus_bits(), model_->values())};
    for (size_t s = 0; s < sites_.size(); ++s) {
      Site& site = sites_[s];
      DS_ASSIGN_OR_RETURN(const IntegerVector values,
                          model_->Encode(site.update.delta, site.update.metrics, site.residual,
                                         /*noise_key=*/s, &site.residual));
      upload_bytes_ = PackedSize(model_->values(), model_->update_bits());
      secure_bytes_ = PackedSize(model_->values(), model_->modulus_bits());
      group.sum.Add(values.Widen(model_->modulus_bits()));
      for (size_t i = 0; i < site.own_control.size(); ++i)
        site.own_control[i] += site.update.delta[weights_.size() + i];
    }
    published.groups.push_back(std::move(group));
    DS_RETURN_IF_ERROR(model_->Advance(published, nullptr, nullptr));
    weights_.assign(model_->weights().begin(), model_->weights().end());
    return absl::OkStatus();
  }

  nlohmann::ordered_json BytesPerParameter() const {
    const auto parameters = static_cast<double>(weights_.size());
    if (arguments_.bits == 0) return {{"open", sizeof(float)}};
    return {{"open", static_cast<double>(upload_bytes_) / parameters},
            {"secure", static_cast<double>(secure_bytes_) / parameters}};
  }

  const Arguments arguments_;
  RunOptions options_;
  std::unique_ptr<ServerEvaluator> evaluator_;
  std::unique_ptr<GlobalModel> model_;  // null: in float
  std::vector<float> weights_;
  std::vector<Site> sites_;
  int64_t most_samples_ = 1, upload_bytes_ = 0, secure_bytes_ = 0;
};

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) {
  ds::federated::Arguments arguments;
  CLI::App app("Trains sites together in one process and says how well.");
  app.add_option("--task", arguments.task, "a configuration of ds_train")->required();
  app.add_option("--sites", arguments.sites);
  app.add_option("--rounds", arguments.rounds);
  app.add_option("--alpha", arguments.alpha, "Dirichlet's; 0: equal shares");
  app.add_option("--bits", arguments.bits, "0: float32");
  app.add_option("--strategy", arguments.strategy, "fedavg | fedprox | scaffold");
  app.add_option("--proximal", arguments.proximal, "fedprox: mu");
  app.add_option("--seed", arguments.seed);
  app.add_option("--threads", arguments.threads, "sites trained at once");
  app.add_option("--folder", arguments.folder, "for the models");
  app.add_option("overrides", arguments.overrides, "key.path=value of the task");
  CLI11_PARSE(app, argc, argv);
  const auto result = ds::federated::Simulation(arguments).Run();
  if (!result.ok()) {
    std::fprintf(stderr, "federated_accuracy_bench: %s\n",
                 std::string(result.status().message()).c_str());
    return 1;
  }
  std::cout << ds::JsonText(*result, /*indent=*/-1) << "\n";
  return 0;
}
