// Counts for people, and the reports that are made of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "federated/aggregator/observer.h"
#include "federated/aggregator/publications.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

class Reports {
 public:
  // Any thread.
  void CountRefusal(const std::string& site, absl::string_view why);
  void CountDownload(const std::string& site, int64_t bytes);

  // The loop's thread, before the machine applies the record. `now`: as SteadyTime.
  void Before(const Record& record, const RoundMachine& machine, absl::Duration now);
  // Afterwards: a report where the record ended a round.
  std::optional<RoundReport> After(const Record& record, const RoundMachine& machine,
                                   const std::string& warning, double epsilon);
  RunReport Run(const RoundMachine& machine, const Publications& publications,
                const std::set<std::string>& present,
                const std::map<std::string, int64_t>& uploaded, double epsilon,
                absl::Duration now) const;

 private:
  struct Counts {
    int64_t refused = 0, downloaded = 0;
    std::string last_refusal;
  };

  absl::Duration planned_;
  std::set<std::string> late_;
  RoundReport ending_;
  mutable Mutex mutex_;
  std::map<std::string, Counts> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
