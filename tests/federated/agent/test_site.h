// A site for tests: its folder outlives its process, which a crash point can end at any of its
// calls and any of its writes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "federated/agent/faulty_client.h"
#include "federated/agent/file_vault.h"
#include "federated/agent/inprocess.h"
#include "federated/agent/run_agent.h"
#include "federated/simulate/virtual_trainer.h"
#include "tests/federated/secure/test_identity.h"

namespace ds::federated {

// The nth step of a process, calls and writes alike, is its last: with its effect or without.
struct CrashPoint {
  int at = 0;      // from 1; 0: never
  std::string in;  // or the first step whose name begins so ("commit", "put update/")
  bool with_effect = false;
  std::atomic<int> steps = 0;
  std::atomic<bool> dead = false;

  absl::Status Step(const std::string& name, const std::function<absl::Status()>& effect);
};

// `client` and `crash` must outlive it.
class CrashingClient final : public FederationClient {
 public:
  CrashingClient(FederationClient& client, CrashPoint& crash) : client_(client), crash_(crash) {}

  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override;
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override;
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override;
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override;
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override;
  absl::Status Upload(const std::string& digest, const BlobReader& blob) override;
  absl::Status Download(const std::string& digest, BlobWriter& into) override;
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override;

 private:
  FederationClient& client_;
  CrashPoint& crash_;
};

class CrashingVault final : public Vault {
 public:
  CrashingVault(std::shared_ptr<Vault> vault, CrashPoint& crash)
      : vault_(std::move(vault)), crash_(crash) {}
  absl::Status Put(const std::string& name, absl::string_view value) override;
  absl::StatusOr<std::string> Get(const std::string& name) const override;
  absl::Status Remove(const std::string& name) override;
  absl::StatusOr<std::vector<std::string>> Names() const override;

 private:
  const std::shared_ptr<Vault> vault_;
  CrashPoint& crash_;
};

// Trains only once `go` is set or it is interrupted.
class HeldTrainer final : public LocalTrainer {
 public:
  HeldTrainer(const VirtualProblem& problem, const std::string& site)
      : trainer_(MakeVirtualTrainer(problem, site)) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override;
  void Interrupt() override { interrupted = true; }

  std::atomic<bool> go = false, training = false, interrupted = false;
  std::atomic<bool> gave_up = false;  // a training, interrupted

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
};

// What stays of a site when its process ends.
struct SiteHome {
  std::string site;
  std::string folder;
  std::shared_ptr<const SiteIdentity> identity;
  VirtualProblem problem;
  RunAgentOptions options = Quick();
  LinkFaults faults;  // of its link
  // Null: files in the folder, opened by each process. Else as if they were.
  std::shared_ptr<Vault> vault;
  std::shared_ptr<SiteFiles> files;

  static RunAgentOptions Quick();
  Caller caller() const;
};

// One process of the site, until the run's end, an error or its crash. `trainer` (may be null):
// instead of the virtual one.
absl::StatusOr<AgentReport> LiveOnce(const SiteHome& home, FederationService& service,
                                     CrashPoint& crash, LocalTrainer* trainer = nullptr);

}  // namespace ds::federated
