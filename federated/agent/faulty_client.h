// A client on a bad network: loses, repeats, replays, delays and cuts the calls of another one, by
// a seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/random.h"
#include "federated/wire/service.h"

namespace ds::federated {

// Shares of calls that go wrong, each in [0, 1].
struct LinkFaults {
  uint64_t seed = 1;
  double lose_request = 0;  // never arrives: Unavailable
  double lose_reply = 0;    // has its effect, the caller gets Unavailable
  double duplicate = 0;     // arrives twice, the first reply counts
  double replay = 0;        // an earlier commit or secure call of this client arrives before it
  double cut_upload = 0;    // at a random byte: Unavailable
  double delay = 0;         // by up to longest_delay
  absl::Duration longest_delay = absl::Milliseconds(5);
};

// Thread-safe; the same seed and the same order of calls give the same faults.
class FaultyClient final : public FederationClient {
 public:
  // `client` must outlive it.
  FaultyClient(FederationClient& client, const LinkFaults& faults);

  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override;
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override;
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override;
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override;
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override;
  absl::Status Upload(const std::string& digest, const BlobReader& blob) override;
  absl::Status Download(const std::string& digest, BlobWriter& into) override;
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override;

 private:
  struct Fate {
    bool lose_request = false, lose_reply = false, duplicate = false;
  };

  bool Happens(double share) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Draws what happens to a call, and sleeps its delay.
  Fate Draw();
  template <typename Call>
  auto Send(const Call& call) -> decltype(call());
  void ReplayAnEarlierCall();

  FederationClient& client_;
  const LinkFaults faults_;
  Mutex mutex_;
  CounterRandom random_ ABSL_GUARDED_BY(mutex_);
  std::vector<CommitRequest> commits_ ABSL_GUARDED_BY(mutex_);
  std::vector<SecureRequest> secures_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
