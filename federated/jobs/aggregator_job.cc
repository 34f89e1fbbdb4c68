#include "federated/jobs/aggregator_job.h"

#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/jobs/evaluation.h"
#include "federated/jobs/observers.h"
#include "federated/jobs/offer_files.h"
#include "federated/operations/metrics_exporter.h"
#include "federated/operations/run_records.h"
#include "federated/operations/run_table.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/identity.h"
#include "federated/pki/revocation.h"
#include "federated/pki/wall_time.h"
#include "federated/rpc/server.h"
#include "report/run_folder.h"
#include "report/terminal.h"

namespace ds::federated {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(100);
constexpr absl::Duration kGoodbyes = absl::Seconds(5);

// Which run: the last one where it has not ended.
absl::StatusOr<std::pair<RunFolder, bool>> FolderOf(const AggregatorConfig& config, bool new_run) {
  if (!new_run) {
    const auto is_of_name = [&config](const RunFolder& folder) {
      const absl::StatusOr<AggregatorConfig> read = ReadAggregatorConfig(folder.config(), {});
      return !read.ok() || read->name == config.name;
    };
    absl::StatusOr<RunFolder> last = RunFolder::Resume(config.output, config.name, is_of_name);
    if (last.ok() && access(last->summary().c_str(), F_OK) != 0) {
      return std::pair<RunFolder, bool>{*std::move(last), true};
    }
    if (!last.ok() && !absl::IsNotFound(last.status())) return last.status();
  }
  DS_ASSIGN_OR_RETURN(RunFolder made, RunFolder::Create(config.output, config.name));
  return std::pair<RunFolder, bool>{std::move(made), false};
}

// Who may call: the server's own identity, whose certificates are revoked, and who enrols.
struct Trust {
  std::shared_ptr<const FileSiteIdentity> identity;  // null: insecure
  std::unique_ptr<RevocationList> revoked;
  std::unique_ptr<Authority> authority;  // null: certificates are made elsewhere
};

absl::StatusOr<Trust> OpenTrust(const ListenConfig& listen) {
  Trust trust;
  if (listen.insecure) return trust;
  DS_ASSIGN_OR_RETURN(trust.revoked, RevocationList::Open(RevocationFile(listen.identity)));
  RevocationList* revoked = trust.revoked.get();
  DS_ASSIGN_OR_RETURN(trust.identity,
                      FileSiteIdentity::Open(ServerFile(listen.identity),
                                             {.is_revoked = [revoked](const std::string& serial) {
                                               return revoked->IsRevoked(serial);
                                             }}));
  absl::StatusOr<std::unique_ptr<Authority>> authority = Authority::Open(listen.identity);
  if (authority.ok()) {
    trust.authority = *std::move(authority);
  } else if (!absl::IsNotFound(authority.status())) {
    return authority.status();
  }
  return trust;
}

class AggregatorJob {
 public:
  AggregatorJob(const AggregatorConfig& config, const AggregatorJobOptions& options)
      : config_(config), options_(options) {}

  absl::StatusOr<EndState> Run() {
    DS_ASSIGN_OR_RETURN(trust_, OpenTrust(config_.listen));
    DS_RETURN_IF_ERROR(OpenFolder());
    DS_RETURN_IF_ERROR(OpenObservers());
    DS_RETURN_IF_ERROR(OpenAggregator());
    DS_RETURN_IF_ERROR(Serve());
    DS_ASSIGN_OR_RETURN(const std::optional<RunEnded> ended, Wait());
    if (!ended.has_value()) return EndState::kRunning;
    DS_RETURN_IF_ERROR(Finish());
    return ended->state;
  }

 private:
  absl::Status OpenFolder() {
    DS_ASSIGN_OR_RETURN(auto found, FolderOf(config_, options_.new_run));
    folder_.emplace(std::move(found.first));
    resumed_ = found.second;
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenFileStore(folder_->File("store")));
    store_ = std::move(store);
    // The folder is this process's now: what an earlier one left half done goes.
    if (IsFolder(Scratch())) DS_RETURN_IF_ERROR(RemoveTree(Scratch()));
    return MakeFolders(Scratch());
  }

  absl::Status OpenObservers() {
    live_ = options_.print && PersonIsLooking(STDOUT_FILENO);
    table_ = std::make_unique<RunTable>(
        RunTableOptions{.live = live_,
                        .columns = live_ ? TerminalWidth(STDOUT_FILENO) : 80,
                        .rows = 20,
                        .out = options_.print ? &std::cout : nullptr});
    DS_ASSIGN_OR_RETURN(records_, RunRecords::Open(*folder_, resumed_, /*tensorboard=*/true));
    if (!config_.listen.metrics.empty()) {
      DS_ASSIGN_OR_RETURN(exporter_, MetricsExporter::Listen(config_.listen.metrics));
    }
    evaluation_ = std::make_unique<Evaluation>(
        EvaluationOptions{.every_version = config_.task.evaluate,
                          .folder = Scratch(),
                          .evaluated = [this](int64_t version, double accuracy,
                                              double loss) { Evaluated(version, accuracy, loss); },
                          .failed =
                              [this](const absl::Status& status) {
                                table_->Warned(
                                    absl::StrCat("a version was not tested: ", status.message()));
                              }},
        EvaluatorOptions{.program = options_.evaluator,
                         .task = config_.task.config,
                         .overrides = config_.task.overrides,
                         .rounds = config_.run.round.rounds,
                         .folder = Scratch()});
    observers_ = std::make_shared<Observers>(
        std::vector<Observer*>{table_.get(), records_.get(), exporter_.get(), evaluation_.get()});
    return absl::OkStatus();
  }

  void Evaluated(int64_t version, double accuracy, double loss) {
    table_->Evaluated(version, accuracy);
    records_->Evaluated(version, accuracy, loss);
    if (exporter_ != nullptr) exporter_->Evaluated(accuracy);
  }

  absl::Status OpenAggregator() {
    DS_ASSIGN_OR_RETURN(const RunOffer offer, OfferOf(
                                                  folder_->path(), config_.name, config_.run,
                                                  [this](const std::string& model_file) {
                                                    return evaluation_->WriteOffer(model_file);
                                                  },
                                                  *store_));
    // Not before: a refused restart leaves the configuration that it is to go back to.
    DS_RETURN_IF_ERROR(
        folder_->Describe(PrintAggregatorConfig(config_), options_.command, HostVersions()));
    DS_ASSIGN_OR_RETURN(InitialModel initial, evaluation_->Open(OfferFile(folder_->path()),
                                                                OfferedModelFile(folder_->path())));
    parameters_ = initial.layout.size();
    auto model = std::make_shared<InitialModel>(std::move(initial));
    DS_ASSIGN_OR_RETURN(aggregator_,
                        Aggregator::Open({.offer = offer,
                                          .initial = [model] { return std::move(*model); },
                                          .identity = trust_.identity,
                                          .scratch = Scratch(),
                                          .wall_clock = MachineClock(),
                                          .observer = observers_},
                                         store_));
    return absl::OkStatus();
  }

  absl::Status Serve() {
    ServeOptions serve = {.address = config_.listen.address,
                          .insecure = config_.listen.insecure,
                          .max_connections = static_cast<int>(config_.listen.connections)};
    if (!config_.listen.insecure) {
      const std::string file = ServerFile(config_.listen.identity);
      serve.tls = {file, file, file};
      RevocationList* revoked = trust_.revoked.get();
      serve.revoked = [revoked](const std::string& serial) { return revoked->IsRevoked(serial); };
    }
    DS_ASSIGN_OR_RETURN(server_, ServeFederation(serve, *aggregator_, trust_.authority.get()));
    table_->Note(absl::StrFormat("%s run %s in %s; agents dial port %d%s",
                                 resumed_ ? "going on with" : "started", aggregator_->offer().run,
                                 folder_->path(), server_->port(),
                                 config_.listen.insecure ? ", WITHOUT TLS" : ""));
    if (options_.listening) options_.listening(server_->port(), folder_->path());
    return absl::OkStatus();
  }

  StopLevel Asked() const {
    return options_.stop == nullptr ? StopLevel::kRun : options_.stop->load();
  }

  // nullopt: asked to leave.
  absl::StatusOr<std::optional<RunEnded>> Wait() {
    for (bool told = false;;) {
      absl::StatusOr<RunEnded> ended = aggregator_->WaitForEnd(kLook);
      if (ended.ok()) return std::optional<RunEnded>(*std::move(ended));
      if (!absl::IsDeadlineExceeded(ended.status())) return ended.status();
      if (Asked() == StopLevel::kLeave) {
        table_->Note("leaving; the run goes on when ds_aggregator is started again");
        return std::optional<RunEnded>();
      }
      if (Asked() == StopLevel::kEndRun && !told) {
        told = true;
        table_->Note("the run ends with this round");
        DS_RETURN_IF_ERROR(aggregator_->Stop("asked to stop"));
      }
      if (!live_) continue;
      // Seconds go by without a change that observers hear of.
      const absl::StatusOr<RunReport> report = aggregator_->Report();
      if (report.ok()) table_->Changed(*report);
    }
  }

  absl::Status Finish() {
    DS_ASSIGN_OR_RETURN(const RunReport report, aggregator_->Report());
    RunFacts facts = {.model = config_.task.config,
                      .parameters = parameters_,
                      .strategy = config_.run.strategy.name,
                      .secure = config_.run.secure.mode,
                      .bits = config_.run.update.bits};
    const absl::StatusOr<std::optional<Evaluation::Last>> last =
        evaluation_->Finish(folder_->path());
    if (last.ok() && last->has_value()) {
      facts.test_accuracy = (*last)->accuracy;
      facts.test_loss = (*last)->loss;
      facts.exports = (*last)->exports;
    }
    table_->Close();
    DS_RETURN_IF_ERROR(records_->Finish(report, facts));
    if (!last.ok()) return Annotate(last.status(), "the run ended well, but its files did not");
    if (options_.print) {
      std::cout << absl::StrFormat("%s after %d rounds", report.name, report.version);
      if (!report.reason.empty()) std::cout << ": " << report.reason;
      std::cout << "\n" << folder_->Contents();
    }
    WaitForGoodbyes();
    return absl::OkStatus();
  }

  // Agents leave when they have heard of the end.
  void WaitForGoodbyes() {
    const Deadline deadline = Deadline::In(kGoodbyes);
    while (server_->open_calls() > 0 && !deadline.IsPast() && Asked() != StopLevel::kLeave) {
      absl::SleepFor(kLook);
    }
  }

  std::string Scratch() const { return folder_->File("scratch"); }

  const AggregatorConfig& config_;
  const AggregatorJobOptions& options_;
  Trust trust_;
  std::optional<RunFolder> folder_;
  bool resumed_ = false;
  bool live_ = false;  // a person is looking
  int64_t parameters_ = 0;
  std::shared_ptr<Store> store_;
  std::unique_ptr<RunTable> table_;
  std::unique_ptr<RunRecords> records_;
  std::unique_ptr<MetricsExporter> exporter_;  // null: none
  std::unique_ptr<Evaluation> evaluation_;
  std::shared_ptr<Observers> observers_;
  std::unique_ptr<Aggregator> aggregator_;
  std::unique_ptr<FederationServer> server_;  // last: it calls the aggregator
};

}  // namespace

absl::StatusOr<EndState> RunAggregatorJob(const AggregatorConfig& config,
                                          const AggregatorJobOptions& options) {
  return AggregatorJob(config, options).Run();
}

}  // namespace ds::federated
