#include "federated/privacy/ledger.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace ds::federated {

absl::StatusOr<Ledger> Ledger::Create(const PrivacyOptions& options) {
  if (!(options.delta > 0 && options.delta < 1))
    return absl::InvalidArgumentError(
        absl::StrCat("privacy.delta ", options.delta, " must lie between 0 and 1"));
  if (!(options.epsilon_budget >= 0 && std::isfinite(options.epsilon_budget)))
    return absl::InvalidArgumentError(absl::StrCat(
        "privacy.epsilon_budget ", options.epsilon_budget, " must be at least 0 (0: no budget)"));
  return Ledger(options.epsilon_budget, options.delta);
}

absl::StatusOr<double> Ledger::After(const Release& release) const {
  Accountant with = accountant_;
  DS_RETURN_IF_ERROR(with.Add(release));
  const double epsilon = with.Epsilon(delta_);
  if (!std::isfinite(epsilon))
    return absl::InvalidArgumentError(
        "privacy: nothing is known about what this release would cost; raise noise_multiplier");
  return epsilon;
}

absl::StatusOr<Charge> Ledger::Ask(int64_t round, const Release& release) const {
  if (Charged(round))
    return absl::AlreadyExistsError(
        absl::StrCat("round ", round,
                     " was charged already; what it published may be let out again, nothing "
                     "else"));
  DS_ASSIGN_OR_RETURN(const double after, After(release));
  if (budget_ > 0 && after > budget_)
    return absl::ResourceExhaustedError(absl::StrFormat(
        "round %d would exceed the privacy budget: epsilon is %.4f after %d releases and would be "
        "%.4f, more than privacy.epsilon_budget %.4f at delta %g; the run ends with the model it "
        "has. For more rounds raise noise_multiplier or the budget of a new run",
        round, epsilon(), rounds_.size(), after, budget_, delta_));
  return Charge{round, release, after};
}

absl::Status Ledger::Apply(const Charge& charge) {
  if (Charged(charge.round))
    return absl::FailedPreconditionError(
        absl::StrCat("round ", charge.round, " is charged a second time"));
  DS_ASSIGN_OR_RETURN(const double after, After(charge.release));
  // Another machine's mathematical functions may differ in their last digits.
  constexpr double kTolerance = 1e-9;
  if (!(std::abs(after - charge.epsilon) <= kTolerance * (1 + after)))
    return absl::DataLossError(absl::StrFormat(
        "the charge of round %d says that epsilon is %.9g, but the charges so far come to %.9g",
        charge.round, charge.epsilon, after));
  DS_RETURN_IF_ERROR(accountant_.Add(charge.release));
  rounds_.insert(charge.round);
  return absl::OkStatus();
}

}  // namespace ds::federated
