#include "federated/secure/secure_agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/site/vaulted_agent.h"

namespace ds::federated {

absl::StatusOr<std::unique_ptr<SecureAgent>> SecureAgent::Open(
    const SecureOptions& options, const SecureFloors& floors, const std::string& run,
    std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<Vault> vault) {
  if (options.mode != "on" && options.mode != "strict")
    return absl::InvalidArgumentError(
        absl::StrCat("secure.mode is '", options.mode, "': this site needs 'on' or 'strict'"));
  if (floors.strict && options.mode != "strict")
    return absl::InvalidArgumentError(
        "this site insists on secure.mode 'strict', the run's is 'on'");
  if (options.rounds_a_setup < 1 || options.rounds_a_setup > int64_t{secure::kMostRounds})
    return absl::InvalidArgumentError(absl::StrCat(
        "secure.rounds_a_setup is ", options.rounds_a_setup, ", must be 1..", secure::kMostRounds));
  const bool named =
      !run.empty() && run.size() <= secure::kMostName &&
      std::all_of(run.begin(), run.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
      });
  if (!named)
    return absl::InvalidArgumentError(absl::StrCat("the run's name '", absl::CEscape(run),
                                                   "' must be letters, digits, - and _, 1..",
                                                   secure::kMostName));
  auto agent = std::make_unique<secure::VaultedAgent>(options, floors, run, std::move(identity),
                                                      std::move(vault));
  DS_RETURN_IF_ERROR(agent->Restore());
  return agent;
}

absl::StatusOr<SecureAsked> WhatIsAsked(const SecureOptions& options, absl::string_view payload) {
  DS_ASSIGN_OR_RETURN(const secure::Kind kind, secure::KindOf(payload));
  switch (kind) {
    case secure::Kind::kRoster: {
      DS_ASSIGN_OR_RETURN(const secure::RosterMessage roster, secure::DecodeRoster(payload));
      return SecureAsked{.ask = SecureAsk::kShares, .epoch = roster.header.epoch};
    }
    case secure::Kind::kOpenings: {
      DS_ASSIGN_OR_RETURN(const secure::Openings openings, secure::DecodeOpenings(payload));
      return SecureAsked{.ask = SecureAsk::kShares, .epoch = openings.header.epoch};
    }
    case secure::Kind::kInbox: {
      DS_ASSIGN_OR_RETURN(const secure::Inbox inbox, secure::DecodeInbox(payload));
      return SecureAsked{.ask = SecureAsk::kInbox, .epoch = inbox.header.epoch};
    }
    case secure::Kind::kSurvivors: {
      DS_ASSIGN_OR_RETURN(const secure::Survivors survivors, secure::DecodeSurvivors(payload));
      return SecureAsked{.ask = options.mode == "strict" && survivors.echoes.empty()
                                    ? SecureAsk::kEcho
                                    : SecureAsk::kAnswer,
                         .epoch = survivors.header.epoch,
                         .round = survivors.round,
                         .index = survivors.index};
    }
    default:
      return absl::DataLossError("a payload of secure aggregation that a site is not asked with");
  }
}

}  // namespace ds::federated
