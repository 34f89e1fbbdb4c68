// SecureServer of one epoch: what it has collected.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "federated/secure/history.h"
#include "federated/secure/secure_server.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"
#include "federated/secure/unmasking.h"

namespace ds::federated::secure {

class EpochServer : public SecureServer {
 public:
  EpochServer(const SecureOptions& options, Header header, std::vector<std::string> asked,
              std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<History> history)
      : options_(options),
        header_(std::move(header)),
        asked_(asked.begin(), asked.end()),
        identity_(std::move(identity)),
        history_(std::move(history)) {}

  void SetReplaying(bool replaying) override { replaying_ = replaying; }
  absl::Status AddKeys(const std::string& site, absl::string_view payload) override;
  absl::StatusOr<std::string> CloseKeys() override;
  const std::string& request() const override { return request_; }
  std::vector<std::string> Awaited() const override;
  absl::Status AddShares(const std::string& site, absl::string_view payload) override;
  absl::Status CloseShares() override;
  absl::StatusOr<std::string> Inbox(const std::string& site) const override;
  const std::vector<std::string>& participants() const override { return participant_names_; }
  int64_t threshold() const override { return setup_ == nullptr ? 0 : setup_->threshold(); }
  absl::Status AddNotes(const std::string& site, const std::vector<std::string>& notes) override;
  absl::StatusOr<std::string> Survivors(const SecureRound& round,
                                        const std::vector<std::string>& sites,
                                        std::string* warning) override;
  absl::Status AddEcho(const SecureRound& round, const std::string& site,
                       absl::string_view payload) override;
  int64_t echoes(const SecureRound& round) const override;
  absl::StatusOr<std::string> SurvivorsWithEchoes(const SecureRound& round) const override;
  absl::Status AddAnswer(const SecureRound& round, const std::string& site,
                         absl::string_view payload) override;
  int64_t answers(const SecureRound& round) const override;
  bool Answered(const SecureRound& round) const override;
  absl::Status Unmask(const SecureRound& round, IntegerVector& sum) const override;
  std::vector<std::string> Blamed(const SecureRound& round) const override;

 private:
  struct Round {
    Unmasking unmasking;
    secure::Survivors message;
    std::map<uint32_t, Signature> echoes;
  };

  absl::Status AddOpening(int position, absl::string_view payload);
  absl::Status CheckShares(int position, const secure::Shares& shares) const;
  absl::StatusOr<Round*> Find(const SecureRound& round);
  const Round* Find(const SecureRound& round) const;
  // -1: none.
  int ParticipantAt(const std::string& site) const;
  absl::Status CheckSet(const SecureRound& round, const std::vector<std::string>& names,
                        std::string* warning) const;
  void FillPrevious(int64_t round, secure::Survivors* message) const;

  const SecureOptions options_;
  const Header header_;
  const std::set<std::string> asked_;
  const std::shared_ptr<const SiteIdentity> identity_;
  const std::shared_ptr<History> history_;
  bool replaying_ = false;
  std::map<std::string, std::string> keys_;  // site → payload
  std::shared_ptr<Setup> setup_;             // after CloseKeys
  std::string request_;
  std::map<int, Bytes32> nonces_;
  std::map<int, secure::Shares> shares_;  // by owner's position
  std::vector<bool> participants_;        // after CloseShares
  std::vector<std::string> participant_names_;
  std::map<int64_t, Round> rounds_;  // by index
};

}  // namespace ds::federated::secure
