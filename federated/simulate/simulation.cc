#include "federated/simulate/simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/cpu/available_cores.h"
#include "base/mutex.h"
#include "base/status.h"
#include "federated/aggregator/aggregator.h"
#include "federated/simulate/virtual_identity.h"
#include "federated/simulate/virtual_site.h"

namespace ds::federated {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(20);
// A thread waits most of the time, for an answer of the aggregator's one thread.
constexpr int kThreadsACore = 4;

class Recorder final : public Observer {
 public:
  explicit Recorder(std::function<void(const RoundReport&)> round_ended)
      : round_ended_(std::move(round_ended)) {}
  void RoundEnded(const RoundReport& report) override {
    if (round_ended_) round_ended_(report);
    MutexLock lock(mutex_);
    rounds_.push_back(report);
  }
  void Ended(const RunReport&, const GlobalModel* model) override {
    MutexLock lock(mutex_);
    if (model == nullptr) return;
    weights_.assign(model->weights().begin(), model->weights().end());
  }
  std::vector<RoundReport> rounds() const {
    MutexLock lock(mutex_);
    return rounds_;
  }
  std::vector<float> weights() const {
    MutexLock lock(mutex_);
    return weights_;
  }

 private:
  const std::function<void(const RoundReport&)> round_ended_;
  mutable Mutex mutex_;
  std::vector<RoundReport> rounds_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> weights_ ABSL_GUARDED_BY(mutex_);
};

std::string SiteName(int64_t site) { return absl::StrCat("site-", site); }

// Each site's share of the mean is what its updates weigh.
double DistanceToMean(const SimulationOptions& options, absl::Span<const float> weights) {
  std::vector<double> mean(weights.size());
  double total = 0;
  for (int64_t i = 0; i < options.sites; ++i) {
    const std::vector<float> optimum = VirtualOptimum(options.problem, SiteName(i));
    const double weight = options.run.update.weighting == "equal"
                              ? 1.0
                              : static_cast<double>(VirtualSamples(options.problem, SiteName(i)));
    total += weight;
    for (size_t j = 0; j < mean.size(); ++j) mean[j] += weight * static_cast<double>(optimum[j]);
  }
  double sum = 0;
  for (size_t j = 0; j < mean.size(); ++j)
    sum += std::pow(static_cast<double>(weights[j]) - mean[j] / total, 2);
  return weights.empty() ? 0 : std::sqrt(sum / static_cast<double>(weights.size()));
}

absl::StatusOr<std::unique_ptr<Aggregator>> OpenAggregator(const SimulationOptions& options,
                                                           std::shared_ptr<Observer> observer) {
  std::shared_ptr<Store> store = MemoryStore();
  const absl::string_view model = "the model of a simulation";
  AggregatorOptions aggregator;
  aggregator.offer.name = "simulation";
  aggregator.offer.options = options.run;
  aggregator.offer.options.round.wait_for = options.sites;
  aggregator.offer.task = "{}";
  DS_ASSIGN_OR_RETURN(
      aggregator.offer.model,
      PutBlob(*store,
              absl::MakeConstSpan(reinterpret_cast<const std::byte*>(model.data()), model.size())));
  aggregator.initial = [problem = options.problem]() -> absl::StatusOr<InitialModel> {
    LocalModel initial = VirtualModel(problem);
    return InitialModel{std::move(initial.layout), std::move(initial.weights)};
  };
  aggregator.identity = MakeVirtualIdentity("aggregator");
  aggregator.scratch = options.folder;
  aggregator.observer = std::move(observer);
  return Aggregator::Open(std::move(aggregator), std::move(store));
}

class Simulation {
 public:
  Simulation(const SimulationOptions& options, std::unique_ptr<Aggregator> aggregator,
             std::unique_ptr<SiteFiles> files)
      : options_(options),
        aggregator_(std::move(aggregator)),
        files_(std::move(files)),
        pool_(options.threads > 0 ? options.threads : kThreadsACore * AvailableCores()) {
    for (int64_t i = 0; i < options.sites; ++i) {
      VirtualSiteOptions site{.site = SiteName(i),
                              .problem = options.problem,
                              .faults = options.faults,
                              .absent = options.absent};
      site.faults.seed += static_cast<uint64_t>(i) << 32;
      sites_.push_back(std::make_unique<VirtualSite>(site, *aggregator_, *files_, pool_));
    }
  }
  ~Simulation() {
    for (const auto& site : sites_) site->Close();
    pool_.Wait();
  }

  absl::Status Run() {
    for (const auto& site : sites_) site->Start();
    const Deadline deadline = Deadline::In(options_.patience);
    while (true) {
      int64_t done = 0;
      for (const auto& site : sites_) {
        DS_RETURN_IF_ERROR(site->status());
        if (site->done()) ++done;
      }
      if (done == options_.sites) return absl::OkStatus();
      if (deadline.IsPast())
        return absl::DeadlineExceededError(absl::StrCat(
            "after ", absl::FormatDuration(options_.patience), " ", done, " of ", options_.sites,
            " sites had reached the run's end; mend: fewer sites or "
            "rounds, a shorter round.deadline_s, or more patience"));
      absl::SleepFor(kLookEvery);
    }
  }

  absl::Status Fill(SimulationReport& report) {
    DS_ASSIGN_OR_RETURN(const RunReport run, aggregator_->Report());
    report.end = run.end;
    report.reason = run.reason;
    report.version = run.version;
    report.model_digest = run.model_digest;
    for (const auto& site : sites_)
      if (site->report().model_digest == run.model_digest) ++report.agreeing;
    return absl::OkStatus();
  }
  absl::Status WaitForEnd() { return aggregator_->WaitForEnd(absl::Seconds(60)).status(); }

 private:
  const SimulationOptions& options_;
  // In this order: sites use all before them.
  const std::unique_ptr<Aggregator> aggregator_;
  const std::unique_ptr<SiteFiles> files_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<VirtualSite>> sites_;
};

}  // namespace

absl::StatusOr<SimulationReport> RunSimulation(const SimulationOptions& options) {
  if (options.sites < 1 || options.absent < 0 || options.absent >= 1 ||
      options.problem.parameters < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("a simulation has 1 or more sites and parameters, and a share of absent "
                     "updates from 0 to below 1; these are ",
                     options.sites, ", ", options.problem.parameters, " and ", options.absent));
  const absl::Duration began = SteadyTime();
  auto recorder = std::make_shared<Recorder>(options.round_ended);
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Aggregator> aggregator, OpenAggregator(options, recorder));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<SiteFiles> files,
                      SiteFiles::Open(absl::StrCat(options.folder, "/files")));
  SimulationReport report;
  {
    Simulation simulation(options, std::move(aggregator), std::move(files));
    DS_RETURN_IF_ERROR(simulation.Run());
    DS_RETURN_IF_ERROR(simulation.WaitForEnd());
    DS_RETURN_IF_ERROR(simulation.Fill(report));
  }
  report.rounds = recorder->rounds();
  report.distance = DistanceToMean(options, recorder->weights());
  report.seconds = absl::ToDoubleSeconds(SteadyTime() - began);
  return report;
}

}  // namespace ds::federated
