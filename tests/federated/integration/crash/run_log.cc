#include "tests/federated/integration/crash/run_log.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds::federated {
namespace {

class Reader {
 public:
  absl::Status Take(const Record& record) {
    if (log_.end != EndState::kRunning && !std::holds_alternative<SnapshotTaken>(record))
      return Wrong(absl::StrCat("a ", RecordName(record), " behind the run's end"));
    return std::visit([&](const auto& known) { return On(known); }, record);
  }
  RunLog log() && { return std::move(log_); }

 private:
  static absl::Status Wrong(const std::string& what) { return absl::DataLossError(what); }
  template <typename Key>
  static absl::Status Once(std::set<Key>& seen, Key key, const std::string& what) {
    return seen.insert(std::move(key)).second ? absl::OkStatus() : Wrong(what);
  }

  template <typename Other>
  absl::Status On(const Other&) {
    return absl::OkStatus();
  }
  bool asynchronous() const { return log_.options.strategy.name == "fedbuff"; }

  absl::Status On(const RunStarted& started) {
    log_.options = started.offer.options;
    return absl::OkStatus();
  }
  absl::Status On(const ModelFixed& fixed) {
    log_.model = fixed;
    return absl::OkStatus();
  }
  absl::Status On(const RoundPlanned& planned) {
    if (!asynchronous()) held_.clear();
    under_way_ = true;
    if (planned.secure_epoch >= 0) {
      index_[planned.round] = {planned.secure_epoch, planned.secure_index};
      log_.setups_beside += planned.secure_index == 0 && beside_.contains(planned.secure_epoch);
    }
    return Once(planned_, planned.round, absl::StrCat("round ", planned.round, " planned twice"));
  }
  absl::Status On(const SharesClosed& closed) {
    if (under_way_) beside_.insert(closed.epoch);
    return absl::OkStatus();
  }
  absl::Status On(const UpdateCommitted& update) {
    held_.push_back(update);
    if (int64_t& next = next_[update.site]; asynchronous() && update.round != next++)
      return Wrong(absl::StrCat(update.site, " has update ", update.round, " before its ", next));
    return Once(updates_, {update.site, update.round},
                absl::StrCat("two updates of ", update.site, " for round ", update.round));
  }
  absl::Status On(const SurvivorsFixed& fixed) {
    if (!log_.survivors.emplace(fixed.round, fixed.sites).second)
      return Wrong(absl::StrCat("two sets of survivors for round ", fixed.round));
    DS_RETURN_IF_ERROR(TakeSummed(fixed));
    const auto index = index_.find(fixed.round);
    if (index == index_.end()) return absl::OkStatus();
    return Once(sessions_, index->second,
                absl::StrCat("two sets of survivors for set-up ", index->second.first, ", index ",
                             index->second.second));
  }
  absl::Status On(const PrivacyCharged& charged) {
    return Once(charged_, charged.round, absl::StrCat("round ", charged.round, " charged twice"));
  }
  absl::Status On(const RoundPublished& published) {
    DS_RETURN_IF_ERROR(Once(published_, published.round,
                            absl::StrCat("round ", published.round, " published twice")));
    if (published.version != log_.versions + 1)
      return Wrong(absl::StrCat("version ", published.version, " behind ", log_.versions));
    const std::vector<std::string>& sites = log_.survivors[published.round];
    if (published.sites != static_cast<int64_t>(sites.size()))
      return Wrong(absl::StrCat("round ", published.round, " counts ", published.sites, " of ",
                                sites.size(), " survivors"));
    for (const std::string& site : sites) ++log_.counted[site];
    under_way_ = false;
    log_.sums.push_back({published, std::move(summed_)});
    log_.versions = published.version;
    log_.model_digest = published.model_digest;
    return absl::OkStatus();
  }
  absl::Status On(const RoundAbandoned&) {
    under_way_ = false;
    if (asynchronous()) held_.insert(held_.begin(), summed_.begin(), summed_.end());
    summed_.clear();
    ++log_.abandoned;
    return absl::OkStatus();
  }
  absl::Status On(const RunEnded& ended) {
    log_.end = ended.state;
    log_.reason = ended.reason;
    return absl::OkStatus();
  }

  // Each survivor's update: the round's, or the first ones that are in no sum yet.
  absl::Status TakeSummed(const SurvivorsFixed& fixed) {
    summed_.clear();
    for (const std::string& site : fixed.sites) {
      const auto found = std::find_if(held_.begin(), held_.end(),
                                      [&](const auto& update) { return update.site == site; });
      if (found == held_.end() || (asynchronous() && found != held_.begin()))
        return Wrong(absl::StrCat(site, " survives round ", fixed.round,
                                  found == held_.end() ? " without an update" : " out of turn"));
      summed_.push_back(std::move(*found));
      held_.erase(found);
    }
    return absl::OkStatus();
  }

  RunLog log_;
  std::vector<UpdateCommitted> held_;    // in no sum yet
  std::vector<UpdateCommitted> summed_;  // of the round that is published next
  std::map<std::string, int64_t> next_;
  std::set<int64_t> planned_, charged_, published_;
  std::set<std::pair<std::string, int64_t>> updates_;
  std::map<int64_t, std::pair<int64_t, int64_t>> index_;  // round → set-up and index
  std::set<std::pair<int64_t, int64_t>> sessions_;
  bool under_way_ = false;    // a round
  std::set<int64_t> beside_;  // set-ups that were finished while one was
};

}  // namespace

absl::StatusOr<RunLog> ReadRunLog(const std::vector<std::string>& entries) {
  Reader reader;
  for (size_t i = 0; i < entries.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const std::vector<Record> records, DecodeRecords(entries[i]));
    for (const Record& record : records) {
      if (const absl::Status status = reader.Take(record); !status.ok())
        return Annotate(status, absl::StrCat("entry ", i));
    }
  }
  return std::move(reader).log();
}

}  // namespace ds::federated
