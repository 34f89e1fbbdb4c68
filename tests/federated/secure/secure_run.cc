#include "tests/federated/secure/secure_run.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash/sha256.h"
#include "base/random.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr char kRun[] = "run-7";
constexpr uint64_t kSeed = 20260301;

}  // namespace

SecureRun::SecureRun(int sites, const SecureOptions& options, const SecureFloors& floors)
    : options(options), floors(floors) {
  for (int i = 0; i < sites; ++i) {
    names_.push_back(absl::StrFormat("site-%03d", i));
    identities_.push_back(std::make_shared<TestIdentity>(names_.back(), authority_));
    vaults_.push_back(std::make_shared<TestVault>());
    agents_.emplace_back();
    const absl::Status opened = Restart(i);
    DS_CHECK(opened.ok()) << opened;
  }
}

absl::Status SecureRun::Restart(int site) {
  agents_[site].reset();
  DS_ASSIGN_OR_RETURN(agents_[site],
                      SecureAgent::Open(options, floors, kRun, identities_[site], vaults_[site]));
  return absl::OkStatus();
}

std::vector<std::string> SecureRun::Names(const Sites& sites) const {
  std::vector<std::string> names;
  for (int site : sites) names.push_back(names_[site]);
  return names;
}

SecureRun::Sites SecureRun::All() const {
  Sites all;
  for (int i = 0; i < sites(); ++i) all.insert(i);
  return all;
}

absl::Status SecureRun::NewServer(int64_t epoch) {
  epoch_ = epoch;
  DS_ASSIGN_OR_RETURN(server_,
                      SecureServer::Create(options, kRun, epoch, names_, identities_[0], history_));
  return absl::OkStatus();
}

absl::Status SecureRun::Keys(const Sites& sites) {
  for (int site : sites) {
    DS_ASSIGN_OR_RETURN(const std::string keys, agents_[site]->OfferKeys(epoch_));
    DS_RETURN_IF_ERROR(server_->AddKeys(names_[site], keys));
  }
  return server_->CloseKeys().status();
}

absl::Status SecureRun::SharesOf(const Sites& sites) {
  const std::string asked = server_->request();
  for (int site : sites) {
    DS_ASSIGN_OR_RETURN(const std::string shares, agents_[site]->SealShares(epoch_, asked));
    DS_RETURN_IF_ERROR(server_->AddShares(names_[site], shares));
  }
  // Above 255 sites everybody is asked a second time.
  return server_->request() == asked ? absl::OkStatus() : SharesOf(sites);
}

absl::Status SecureRun::Inboxes(const Sites& sites) {
  for (int site : sites) {
    DS_ASSIGN_OR_RETURN(const std::string inbox, server_->Inbox(names_[site]));
    DS_RETURN_IF_ERROR(agents_[site]->OpenInbox(epoch_, inbox));
  }
  return absl::OkStatus();
}

absl::Status SecureRun::SetUp(int64_t epoch, const Sites& without_keys,
                              const Sites& without_shares) {
  Sites on_roster = All(), participants;
  for (int site : without_keys) on_roster.erase(site);
  participants = on_roster;
  for (int site : without_shares) participants.erase(site);
  DS_RETURN_IF_ERROR(NewServer(epoch));
  DS_RETURN_IF_ERROR(Keys(on_roster));
  DS_RETURN_IF_ERROR(SharesOf(participants));
  DS_RETURN_IF_ERROR(server_->CloseShares());
  return Inboxes(participants);
}

SecureRound SecureRun::Round(int64_t round, int64_t index, int bits, int64_t values) const {
  return {.run = kRun,
          .epoch = epoch_,
          .index = index,
          .round = round,
          .base_digest = Sha256Hex(absl::StrCat("model of round ", round)),
          .bits = bits,
          .values = values};
}

IntegerVector SecureRun::Update(int site, const SecureRound& round, int update_bits) {
  IntegerVector values(round.bits, round.values);
  CounterRandom random(kSeed, static_cast<uint64_t>(round.round), static_cast<uint32_t>(site));
  for (int64_t i = 0; i < round.values; ++i)
    values.Set(i, random.NextBelow(uint32_t{1} << update_bits));
  return values;
}

absl::StatusOr<IntegerVector> SecureRun::Commit(int site, const SecureRound& round,
                                                int update_bits) {
  DS_ASSIGN_OR_RETURN(IntegerVector masked,
                      agents_[site]->Mask(round, Update(site, round, update_bits)));
  DS_RETURN_IF_ERROR(server_->AddNotes(names_[site], agents_[site]->Notes()));
  return masked;
}

absl::StatusOr<IntegerVector> SecureRun::Sum(const SecureRound& round, int update_bits,
                                             const Sites& uploads, const Sites& answering) {
  IntegerVector sum(round.bits, round.values);
  for (int site : uploads) {
    DS_ASSIGN_OR_RETURN(const IntegerVector masked, Commit(site, round, update_bits));
    sum.Add(masked);
  }
  DS_ASSIGN_OR_RETURN(std::string survivors, server_->Survivors(round, Names(uploads), nullptr));
  if (options.mode == "strict") {
    for (int site : answering) {
      DS_ASSIGN_OR_RETURN(const std::string echo, agents_[site]->Echo(round, survivors));
      DS_RETURN_IF_ERROR(server_->AddEcho(round, names_[site], echo));
    }
    DS_ASSIGN_OR_RETURN(survivors, server_->SurvivorsWithEchoes(round));
  }
  for (int site : answering) {
    DS_ASSIGN_OR_RETURN(const std::string answer, agents_[site]->AnswerUnmask(round, survivors));
    DS_RETURN_IF_ERROR(server_->AddAnswer(round, names_[site], answer));
  }
  DS_RETURN_IF_ERROR(server_->Unmask(round, sum));
  return sum;
}

IntegerVector SecureRun::PlainSum(const SecureRound& round, int update_bits, const Sites& uploads) {
  IntegerVector sum(round.bits, round.values);
  for (int site : uploads) sum.Add(Update(site, round, update_bits));
  return sum;
}

}  // namespace ds::federated
