// A small aggregator for tests of agents: rounds in the open, a plain sum, every site each time,
// all in memory. It can be told to lie.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/mutex.h"
#include "federated/update/global_model.h"
#include "federated/wire/service.h"

namespace ds::federated {

class FakeAggregator : public FederationService {
 public:
  struct Options {
    RunOffer offer;  // run and options are the caller's; the model is made here
    int sites = 3;
    ModelLayout layout;
    std::vector<float> weights;
    // What each site gets, changed on its way.
    std::function<void(const std::string& site, Situation&)> tamper;
    int recent = 100;          // publications that a situation names
    int snapshot_every = 0;    // versions; 0: none
    std::string snapshot_dir;  // with snapshot_every
  };

  explicit FakeAggregator(Options options);

  absl::StatusOr<HelloReply> Hello(const Caller&, const HelloRequest&) override;
  absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) override;
  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) override;
  absl::StatusOr<CommitReply> Commit(const Caller& caller, const CommitRequest& request) override;
  absl::StatusOr<SecureReply> Secure(const Caller&, const SecureRequest&) override {
    return absl::UnimplementedError("in the open");
  }
  absl::StatusOr<int64_t> UploadStatus(const Caller&, const std::string& digest, int64_t) override;
  absl::Status Upload(const Caller&, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override;
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller&,
                                                       const std::string& digest) override;

  // The round ends without a sum.
  void Abandon();
  // The round ends with the updates that are there.
  void CloseRound();

  std::string digest() const;
  std::vector<float> weights() const;
  int64_t version() const;
  int64_t round() const;
  int committed() const;  // updates of the present round
  // How often each site's update is in a sum.
  std::map<std::string, int> counted() const;
  // Different updates that one site gave for one round; none should.
  int conflicts() const;
  int64_t uploaded_bytes() const;
  int updates() const;  // different ones that came whole

 private:
  struct Watcher {
    std::string site;
    std::function<void(const Situation&)> changed;
  };
  struct Watching;

  Situation For(const std::string& site) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Options options_;
  mutable Mutex mutex_;
  std::unique_ptr<Store> store_ = MemoryStore();
  std::unique_ptr<GlobalModel> model_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> joined_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> arriving_ ABSL_GUARDED_BY(mutex_);
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t reference_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::string> committed_ ABSL_GUARDED_BY(mutex_);  // of the round
  std::map<int64_t, std::set<std::string>> in_round_ ABSL_GUARDED_BY(mutex_);
  std::vector<PublishedRef> published_ ABSL_GUARDED_BY(mutex_);
  std::string snapshot_ ABSL_GUARDED_BY(mutex_);
  int64_t snapshot_version_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int> counted_ ABSL_GUARDED_BY(mutex_);
  int conflicts_ ABSL_GUARDED_BY(mutex_) = 0;
  int updates_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t uploaded_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
  int next_watcher_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ds::federated
