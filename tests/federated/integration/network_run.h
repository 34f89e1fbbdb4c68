// A run over the network: an aggregator behind gRPC and TLS 1.3, and agents with certificates of an
// authority, in one process.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "federated/agent/file_vault.h"
#include "federated/agent/run_agent.h"
#include "federated/aggregator/aggregator.h"
#include "federated/jobs/site_connection.h"
#include "federated/pki/renewed_identity.h"
#include "federated/rpc/client.h"
#include "federated/rpc/server.h"
#include "federated/simulate/virtual_trainer.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {

// As slow as a round of real training, so that a renewal takes place in the middle of rounds.
class SlowTrainer final : public LocalTrainer {
 public:
  explicit SlowTrainer(std::unique_ptr<LocalTrainer> trainer) : trainer_(std::move(trainer)) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    absl::SleepFor(absl::Milliseconds(200));
    return trainer_->Train(round, weights, control, own_control);
  }

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
};

// Calls of another client, to be changed one by one.
class ForwardingClient : public FederationClient {
 public:
  explicit ForwardingClient(FederationClient& client) : client_(client) {}
  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override {
    return client_.Hello(request);
  }
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override {
    return client_.Join(request);
  }
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override {
    return client_.Next(known, patience);
  }
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override {
    return client_.Commit(request);
  }
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override {
    return client_.Secure(request);
  }
  absl::Status Upload(const std::string& digest, const BlobReader& blob) override {
    return client_.Upload(digest, blob);
  }
  absl::Status Download(const std::string& digest, BlobWriter& into) override {
    return client_.Download(digest, into);
  }
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override {
    return client_.DownloadSize(digest);
  }

 private:
  FederationClient& client_;
};

class NetworkRun : public PkiTest {
 protected:
  std::string Serial(const std::string& site) {
    return Must(ReadCertificate(Must(ReadCredentials(IdentityFile(SiteFolder(site)))).certificate))
        .serial;
  }
  bool IsRefused(const std::string& serial) {
    MutexLock lock(mutex_);
    return refused_.count(serial) > 0;
  }
  void Refuse(const std::string& serial) {
    MutexLock lock(mutex_);
    refused_.insert(serial);
  }

  // `authority_` is made and its server's certificate issued before.
  void OpenAggregator(const RunOptions& run, std::shared_ptr<Observer> observer) {
    const absl::string_view model = "a model's file";
    AggregatorOptions options;
    options.offer = {.name = "test", .task = "{}"};
    options.offer.model =
        Must(PutBlob(*store_, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(model.data()),
                                                  model.size())));
    options.offer.options = run;
    options.initial = [this]() -> absl::StatusOr<InitialModel> {
      LocalModel initial = VirtualModel(problem_);
      return InitialModel{std::move(initial.layout), std::move(initial.weights)};
    };
    const std::string served = ServerFile(folder_.File("federation"));
    options.identity = Must(FileSiteIdentity::Open(
        served, {.is_revoked = [this](const std::string& serial) { return IsRefused(serial); }}));
    options.scratch = folder_.path();
    options.observer = std::move(observer);
    aggregator_ = Must(Aggregator::Open(options, store_));
    server_ = Must(ServeFederation(
        {.address = "127.0.0.1:0",
         .tls = {served, served, served},
         .revoked = [this](const std::string& serial) { return IsRefused(serial); }},
        *aggregator_, authority_.get()));
  }
  void Connect(const std::string& site) {
    const auto source = Must(IdentitySource::Open(IdentityFile(SiteFolder(site))));
    clients_[site] = Must(ConnectFederation({.address = absl::StrCat("127.0.0.1:", server_->port()),
                                             .identity = [source] { return source->Get(); },
                                             .patience = absl::Seconds(20)}));
  }
  absl::StatusOr<AgentReport> Live(const std::string& site, FederationClient& client) {
    const auto files = Must(SiteFiles::Open(SiteFolder(site) + "/files"));
    SlowTrainer trainer(MakeVirtualTrainer(problem_, site));
    const std::shared_ptr<const SiteIdentity> identity =
        Must(FollowIdentity(IdentityFile(SiteFolder(site))));
    RunAgentOptions options;
    options.give_up_after = absl::Seconds(30);
    return RunAgent(options,
                    {.client = &client,
                     .trainer = &trainer,
                     .files = files.get(),
                     .vault = Must(OpenFileVault(SiteFolder(site) + "/vault")),
                     .identity = identity},
                    nullptr);
  }

  const VirtualProblem problem_;
  const std::shared_ptr<Store> store_ = MemoryStore();
  Mutex mutex_;
  std::set<std::string> refused_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<RpcClient>> clients_;
  std::unique_ptr<Aggregator> aggregator_;
  std::unique_ptr<FederationServer> server_;
};

}  // namespace ds::federated
