// How a run begins, or goes on from its log.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/aggregator/run_core.h"
#include "federated/aggregator/run_name.h"

namespace ds::federated {

RunCore::RunCore(AggregatorOptions options, std::shared_ptr<Store> store)
    : options_(std::move(options)),
      store_(std::move(store)),
      shelf_(std::make_shared<BlobShelf>(store_)),
      uploads_(store_, options_.inline_bytes),
      machine_(options_.limits),
      work_(options_, store_) {}

RunCore::~RunCore() { Close(); }

void RunCore::Close() {
  if (loop_ != nullptr) loop_->Stop();
  if (worker_ != nullptr) worker_->Stop();
}

absl::Status RunCore::Open() {
  if (options_.offer.options.secure.mode != "off") {
    if (options_.identity == nullptr) {
      return absl::InvalidArgumentError(
          "secure aggregation needs the authority that signatures are checked against: "
          "AggregatorOptions::identity is missing");
    }
    secure_ = std::make_unique<SecureEpochs>(options_.identity, store_, shelf_);
  }
  const PrivacyOptions& privacy = options_.offer.options.privacy;
  if (privacy.mechanism != "none") {
    DS_ASSIGN_OR_RETURN(ledger_, Ledger::Create(privacy));
  }
  DS_RETURN_IF_ERROR(Replay());
  if (machine_.stage() == Stage::kEmpty) {
    RunOffer offer = options_.offer;
    if (offer.run.empty()) offer.run = RandomRunName();
    Add(RunStarted{std::move(offer)});
    DS_RETURN_IF_ERROR(CommitTurn());
    turn_.clear();
  }
  if (machine_.has_model()) {
    DS_RETURN_IF_ERROR(work_.Restore(machine_, publications_));
    SetUpdateSize();
  }
  for (const PublishedVersion& version : publications_.kept()) shelf_->Keep(version.blob);
  DS_RETURN_IF_ERROR(FindOrphans());
  if (publications_.snapshot() != nullptr) snapshot_tried_ = publications_.snapshot()->version;
  all_touched_ = true;
  NamePublicBlobs();  // a site may come before the first turn
  worker_ = std::make_unique<Worker>();
  loop_ = std::make_unique<TurnLoop>(Steps());
  loop_->Start();
  return absl::OkStatus();
}

TurnLoop::Steps RunCore::Steps() {
  return {.decide = [this] { return Decide(); },
          .commit = [this] { return CommitTurn(); },
          .effects = [this] { Effects(); }};
}

absl::Status RunCore::Replay() {
  RunOffer found;
  DS_RETURN_IF_ERROR(store_->Replay(
      [&](int64_t number, absl::string_view text) { return ReplayEntry(number, text, found); }));
  if (machine_.stage() == Stage::kEmpty) return absl::OkStatus();
  RunOffer asked = options_.offer;
  if (asked.run.empty()) asked.run = found.run;
  if (EncodeRecords({RunStarted{asked}}) != EncodeRecords({RunStarted{found}})) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the log is of the run '", found.name, "' (", found.run,
        "), whose options, task or model differ from the configuration's: go on with the "
        "configuration that it began with, or begin a new run in another folder"));
  }
  return absl::OkStatus();
}

absl::Status RunCore::ReplayEntry(int64_t number, absl::string_view text, RunOffer& found) {
  const auto apply = [&](Record& record) -> absl::Status {
    if (const auto* started = std::get_if<RunStarted>(&record)) found = started->offer;
    if (secure_ != nullptr) DS_RETURN_IF_ERROR(secure_->Take(record, machine_, true));
    if (const auto* charged = std::get_if<PrivacyCharged>(&record); charged && ledger_) {
      DS_ASSIGN_OR_RETURN(const Charge charge, DecodeCharge(charged->charge));
      DS_RETURN_IF_ERROR(ledger_->Apply(charge));
    }
    publications_.Before(record, machine_);
    return machine_.Apply(record);
  };
  auto records = DecodeRecords(text);
  absl::Status status = records.status();
  for (size_t i = 0; status.ok() && i < records->size(); ++i) status = apply((*records)[i]);
  if (status.ok()) return status;
  return absl::DataLossError(
      absl::StrCat("record ", number, " of the log cannot follow: ", status.message()));
}

absl::Status RunCore::FindOrphans() {
  static_cast<void>(publications_.TakeFreed());  // what is left of them is found here
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> blobs, store_->Blobs());
  for (const std::string& digest : blobs) {
    if (!publications_.Needs(digest, machine_)) orphans_.push_back(digest);
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
