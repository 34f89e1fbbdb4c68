#include "federated/aggregator/reports.h"

#include <algorithm>
#include <utility>

namespace ds::federated {

void Reports::CountRefusal(const std::string& site, absl::string_view why) {
  MutexLock lock(mutex_);
  Counts& counts = counts_[site];
  ++counts.refused;
  counts.last_refusal = std::string(why);
}

void Reports::CountDownload(const std::string& site, int64_t bytes) {
  MutexLock lock(mutex_);
  counts_[site].downloaded += bytes;
}

void Reports::Before(const Record& record, const RoundMachine& machine, absl::Duration now) {
  if (std::holds_alternative<RoundPlanned>(record)) {
    planned_ = now;
    return;
  }
  const auto* published = std::get_if<RoundPublished>(&record);
  const auto* abandoned = std::get_if<RoundAbandoned>(&record);
  if (published == nullptr && abandoned == nullptr) return;
  // An abandonment between rounds had no plan.
  const bool planned = machine.stage() != Stage::kIdle;
  ending_ = {.round = published != nullptr ? published->round : abandoned->round,
             .published = published != nullptr,
             .seconds = planned ? absl::ToDoubleSeconds(now - planned_) : 0};
  if (planned) ending_.selected = machine.round().selected;
  if (published != nullptr) {
    ending_.counted = machine.round().survivors;
    ending_.missing = machine.Missing();
    if (!machine.updates().empty()) ending_.update_bytes = machine.updates().front().update.size;
    ending_.published_bytes = published->published.size;
    ending_.metrics = published->metrics;
    ending_.sites = published->sites;
  } else {
    ending_.reason = abandoned->reason;
    ending_.missing = abandoned->missing;
  }
  late_ = {ending_.missing.begin(), ending_.missing.end()};
}

std::optional<RoundReport> Reports::After(const Record& record, const RoundMachine& machine,
                                          const std::string& warning, double epsilon) {
  const bool ended = std::holds_alternative<RoundPublished>(record) ||
                     std::holds_alternative<RoundAbandoned>(record);
  if (!ended) return std::nullopt;
  ending_.version = machine.version();
  ending_.model_digest = machine.model_digest();
  ending_.warning = warning;
  ending_.epsilon = epsilon;
  return std::exchange(ending_, {});
}

RunReport Reports::Run(const RoundMachine& machine, const Publications& publications,
                       const std::set<std::string>& present,
                       const std::map<std::string, int64_t>& uploaded, double epsilon,
                       absl::Duration now) const {
  const RoundState& round = machine.round();
  const absl::Duration limit = machine.Deadline(machine.stage());
  RunReport report{
      .run = machine.offer().run,
      .name = machine.offer().name,
      .stage = machine.stage(),
      .end = machine.end(),
      .reason = machine.last_reason(),
      .rounds = machine.options().round.rounds,
      .round = round.round,
      .version = machine.version(),
      .model_digest = machine.model_digest(),
      .stage_seconds = absl::ToDoubleSeconds(now - machine.stage_began()),
      .stage_deadline_s = limit == absl::InfiniteDuration() ? 0 : absl::ToDoubleSeconds(limit),
      .goal = round.round < 0 ? 0 : machine.goal(),
      .committed = static_cast<int64_t>(machine.updates().size()),
      .epsilon = epsilon,
      .epsilon_budget = machine.options().privacy.epsilon_budget};
  if (machine.has_model()) {
    report.values = machine.model().values;
    report.update_bits = static_cast<int>(machine.model().update_bits);
    report.modulus_bits = static_cast<int>(machine.model().modulus_bits);
  }
  // Asynchronous updates have numbers of each site's own: those in hand are in no sum yet.
  std::set<std::string> committed;
  for (const HeldUpdate& held : machine.updates()) committed.insert(held.site);
  MutexLock lock(mutex_);
  for (const auto& [site, samples] : machine.joined()) {
    SiteReport one{.site = site, .present = present.contains(site), .samples = samples};
    one.selected = std::binary_search(round.selected.begin(), round.selected.end(), site);
    one.committed = committed.contains(site);
    one.late = late_.contains(site);
    one.rounds_counted = publications.RoundsCounted(site);
    if (const auto bytes = uploaded.find(site); bytes != uploaded.end()) {
      one.upload_bytes = bytes->second;
    }
    if (const auto counts = counts_.find(site); counts != counts_.end()) {
      one.download_bytes = counts->second.downloaded;
      one.refused = counts->second.refused;
      one.last_refusal = counts->second.last_refusal;
    }
    report.sites.push_back(std::move(one));
  }
  return report;
}

}  // namespace ds::federated
