// Drives a RoundMachine by hand: a clock that stands until it is told, and records in short.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

inline std::string TestDigest(int64_t number) { return absl::StrFormat("%064x", number); }
inline std::string SiteName(int64_t number) { return absl::StrFormat("site-%02d", number); }

inline RunOffer TestOffer(int64_t rounds = 3) {
  RunOffer offer{.run = "run", .name = "test", .task = "{}", .model = TestDigest(9)};
  offer.options.round.rounds = rounds;
  return offer;
}

class MachineDriver {
 public:
  explicit MachineDriver(const RunOffer& offer, const MachineLimits& limits = {})
      : limits_(limits), machine_(limits) {
    Must(RunStarted{offer});
  }

  RoundMachine& machine() { return machine_; }
  const std::vector<Record>& log() const { return log_; }
  std::set<std::string>& present() { return present_; }
  void Pass(absl::Duration time) { now_ += time; }

  absl::Status Apply(const Record& record) {
    const absl::Status status = machine_.Apply(record);
    if (status.ok()) log_.push_back(record);
    return status;
  }
  void Must(const Record& record) {
    const absl::Status status = Apply(record);
    ASSERT_TRUE(status.ok()) << status;
  }
  void Join(int64_t first, int64_t last) {
    for (int64_t i = first; i <= last; ++i) {
      Must(SiteJoined{SiteName(i), 100 + i});
      present_.insert(SiteName(i));
    }
  }
  // What is due now happens, until nothing is; what then is to be waited for.
  Decision Run() {
    while (true) {
      Decision decision = machine_.Decide(now_, present_);
      if (decision.fix_model) {
        Must(ModelFixed{.samples_reference = 100,
                        .maximum_sites = maximum_sites,
                        .digest = TestDigest(0),
                        .values = 10,
                        .update_bits = 4,
                        .modulus_bits = 8});
      } else if (decision.record) {
        Must(*decision.record);
        if (::testing::Test::HasFatalFailure()) return decision;
      } else {
        return decision;
      }
    }
  }
  absl::Status Commit(const std::string& site) {
    const RoundState& round = machine_.round();
    const int64_t number = machine_.asynchronous() ? machine_.NextUpdateOf(site) : round.round;
    return Apply(UpdateCommitted{
        number, site, round.base_version, {.digest = TestDigest(1000 + number), .size = 5}});
  }
  absl::Status Give(SecureStep step, const std::string& site) {
    const bool of_round = step == SecureStep::kEcho || step == SecureStep::kAnswer;
    const SetupState& next = machine_.next_setup();
    return Apply(SecureGiven{step,
                             next.under_way() && !of_round ? next.epoch : machine_.setup().epoch,
                             of_round ? machine_.round().round : -1,
                             site,
                             {.digest = TestDigest(7), .size = 1, .bytes = "x"}});
  }
  void Publish() {
    const int64_t version = machine_.version() + 1;
    Must(RoundPublished{.round = machine_.round().round,
                        .version = version,
                        .published = {.digest = TestDigest(2000 + version), .size = 9},
                        .model_digest = TestDigest(version),
                        .sites = 1});
  }
  // Abandonments so far, in words.
  std::vector<std::string> Abandoned() const {
    std::vector<std::string> reasons;
    for (const Record& record : log_) {
      if (const auto* round = std::get_if<RoundAbandoned>(&record))
        reasons.push_back(round->reason);
      if (const auto* setup = std::get_if<SetupAbandoned>(&record))
        reasons.push_back(setup->reason);
    }
    return reasons;
  }
  // Another machine that read the log.
  RoundMachine Replayed() const {
    RoundMachine machine(limits_);
    for (const Record& record : log_) {
      const auto read = DecodeRecords(EncodeRecords({record}));
      EXPECT_TRUE(read.ok()) << read.status();
      if (!read.ok()) return machine;
      EXPECT_TRUE(machine.Apply(read->front()).ok());
    }
    return machine;
  }

  int64_t maximum_sites = 16;

 private:
  const MachineLimits limits_;
  RoundMachine machine_;
  std::vector<Record> log_;
  std::set<std::string> present_;
  absl::Duration now_ = absl::Seconds(1000);
};

}  // namespace ds::federated
