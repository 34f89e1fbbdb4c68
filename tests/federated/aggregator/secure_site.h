// A fake site with a real SecureAgent.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "federated/secure/secure_agent.h"
#include "tests/federated/aggregator/fake_site.h"
#include "tests/federated/secure/test_identity.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {

// What a site does not do any more, as if it had been killed just before.
enum class Silent { kNever, kKeys, kShares, kUpload, kAnswer };

class SecureSite : public FakeSite {
 public:
  SecureSite(FederationService& service, const std::string& name,
             std::shared_ptr<const TestAuthority> authority,
             std::shared_ptr<TestVault> vault = std::make_shared<TestVault>())
      : FakeSite(service, name),
        identity_(std::make_shared<TestIdentity>(name, std::move(authority))),
        vault_(std::move(vault)) {}
  ~SecureSite() override { Stop(); }

  // Whether it has opened its inbox of the set-up.
  bool IsReady(int64_t epoch) const { return ready_epoch_ >= epoch; }

  // From `round` on.
  void SilentFrom(Silent what, int64_t round) {
    silent_ = what;
    silent_from_ = round;
  }

 protected:
  absl::StatusOr<std::string> Finished(const Situation& situation,
                                       const IntegerVector& update) override {
    const SecureRound round = RoundOf(situation);
    auto masked = agent_->Mask(round, update.Widen(round.bits));
    if (!masked.ok()) return masked.status();
    return FakeSite::Finished(situation, *masked);
  }
  std::vector<std::string> Notes() override { return agent_->Notes(); }

  absl::Status ActSecure(const Situation& situation) override {
    if (agent_ == nullptr) {
      auto agent = SecureAgent::Open(offer_.options.secure, {}, offer_.run, identity_, vault_);
      if (!agent.ok()) return agent.status();
      agent_ = *std::move(agent);
    }
    if (situation.phase == Phase::kEnded || situation.secure_epoch < 0) return absl::OkStatus();
    if (situation.secure_payload.empty()) {
      if (IsSilent(Silent::kKeys, situation)) return absl::OkStatus();
      return Give(SecureStep::kKeys, situation, -1, agent_->OfferKeys(situation.secure_epoch));
    }
    auto payload = Fetch(situation.secure_payload);
    if (!payload.ok()) return payload.status();
    auto asked = WhatIsAsked(offer_.options.secure, *payload);
    if (!asked.ok()) return asked.status();
    const int64_t round = situation.plan.round;
    switch (asked->ask) {
      case SecureAsk::kShares:
        if (IsSilent(Silent::kShares, situation)) return absl::OkStatus();
        return Give(SecureStep::kShares, situation, -1, agent_->SealShares(asked->epoch, *payload));
      case SecureAsk::kInbox:
        if (!agent_->Ready(asked->epoch)) {
          const absl::Status opened = agent_->OpenInbox(asked->epoch, *payload);
          if (!opened.ok()) return opened;
        }
        ready_epoch_ = asked->epoch;
        return absl::OkStatus();
      case SecureAsk::kEcho:
        return Give(SecureStep::kEcho, situation, round,
                    agent_->Echo(RoundOf(situation), *payload));
      case SecureAsk::kAnswer:
        if (IsSilent(Silent::kAnswer, situation)) return absl::OkStatus();
        return Give(SecureStep::kAnswer, situation, round,
                    agent_->AnswerUnmask(RoundOf(situation), *payload));
    }
    return absl::OkStatus();
  }
  bool IsDue(const Situation& situation) override {
    return FakeSite::IsDue(situation) && !IsSilent(Silent::kUpload, situation) &&
           agent_->Ready(situation.plan.secure_epoch);
  }

 private:
  bool IsSilent(Silent what, const Situation& situation) const {
    return silent_ != Silent::kNever && silent_ <= what &&
           std::max<int64_t>(situation.plan.round, 0) >= silent_from_;
  }
  SecureRound RoundOf(const Situation& situation) const {
    return {.run = offer_.run,
            .epoch = situation.plan.secure_epoch,
            .index = situation.plan.secure_index,
            .round = situation.plan.round,
            .base_digest = situation.plan.base_digest,
            .bits = model_->modulus_bits(),
            .values = model_->values()};
  }
  absl::Status Give(SecureStep step, const Situation& situation, int64_t round,
                    const absl::StatusOr<std::string>& payload) {
    if (!payload.ok()) return payload.status();
    return service_.Secure(caller_, {offer_.run, situation.secure_epoch, round, step, *payload})
        .status();
  }

  const std::shared_ptr<TestIdentity> identity_;
  const std::shared_ptr<TestVault> vault_;
  std::unique_ptr<SecureAgent> agent_;
  std::atomic<Silent> silent_ = Silent::kNever;
  std::atomic<int64_t> silent_from_ = 0;
  std::atomic<int64_t> ready_epoch_ = -1;
};

}  // namespace ds::federated
