// A run's privacy ledger: each release is charged, in a record that is on the disk before anything
// is let out, and none beyond the budget. Pure: its caller keeps the charges in the store's log and
// gives them back, in order, after a restart.
//
//   auto charge = ledger.Ask(round, release);     ResourceExhausted: the run ends, the model stays
//   store.Append(... EncodeCharge(*charge) ...);  durable
//   ledger.Apply(*charge);
//   publish
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/options/options.h"
#include "federated/privacy/accountant.h"

namespace ds::federated {

struct Charge {
  int64_t round = 0;
  Release release;
  double epsilon = 0;  // spent, this one included
};

// JSON text in one line; Decode(Encode(c)) is c, bit for bit.
std::string EncodeCharge(const Charge& charge);
// InvalidArgument for anything else: a field that is missing, unknown or out of range is named.
absl::StatusOr<Charge> DecodeCharge(absl::string_view text);

class Ledger {
 public:
  // InvalidArgument: delta not in (0, 1), or a negative budget.
  static absl::StatusOr<Ledger> Create(const PrivacyOptions& options);

  // What releasing `round` would cost; changes nothing. ResourceExhausted with the arithmetic where
  // that exceeds the budget. A round that was charged already (it was let out, or the aggregator
  // was killed before it could be) is AlreadyExists: the same bytes may be let out, other ones not.
  absl::StatusOr<Charge> Ask(int64_t round, const Release& release) const;
  // A charge that is in the log. FailedPrecondition for a round twice; DataLoss where its epsilon
  // is not what the charges before it come to.
  absl::Status Apply(const Charge& charge);

  bool Charged(int64_t round) const { return rounds_.contains(round); }
  double epsilon() const { return accountant_.Epsilon(delta_); }
  double budget() const { return budget_; }  // 0: none
  double delta() const { return delta_; }

 private:
  Ledger(double budget, double delta) : budget_(budget), delta_(delta) {}
  absl::StatusOr<double> After(const Release& release) const;

  double budget_, delta_;
  Accountant accountant_;
  std::set<int64_t> rounds_;
};

}  // namespace ds::federated
