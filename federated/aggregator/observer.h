// What people are shown of a run: the live table, the exporter and the run's folder hear of it
// here. Nothing that a site sent but its declared counts and the published sums.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "federated/round/round_machine.h"
#include "federated/update/global_model.h"

namespace ds::federated {

struct SiteReport {
  std::string site;
  bool present = false;   // holds a subscription
  int64_t samples = 0;    // declared; 0: not
  bool selected = false;  // in the present round
  bool committed = false;
  bool late = false;           // selected in the last round, and missing at its end
  int64_t rounds_counted = 0;  // published rounds that hold its update
  int64_t upload_bytes = 0;    // of updates that came, since the aggregator was started
  int64_t download_bytes = 0;  // that were asked for, likewise
  int64_t refused = 0;         // calls that were refused, likewise
  std::string last_refusal;
};

// A round that was published or abandoned.
struct RoundReport {
  int64_t round = 0;
  bool published = false;
  std::string reason;   // of the abandonment
  std::string warning;  // of its survivors, where there is one
  int64_t version = 0;  // of the model afterwards
  std::string model_digest;
  double seconds = 0;  // from its plan to its end
  std::vector<std::string> selected, counted, missing;
  int64_t update_bytes = 0;     // of one site's update
  int64_t published_bytes = 0;  // that every site downloads
  SiteMetrics metrics;          // sums over the sites that counted
  int64_t sites = 0;            // of them
  double epsilon = 0;           // spent so far; 0 without a mechanism
};

struct RunReport {
  std::string run, name;
  Stage stage = Stage::kEmpty;
  EndState end = EndState::kRunning;
  std::string reason;
  int64_t rounds = 0;  // to publish
  int64_t round = -1;  // under way, or the last
  int64_t version = 0;
  std::string model_digest;
  double stage_seconds = 0, stage_deadline_s = 0;  // since when, and how long it may take
  int64_t goal = 0, committed = 0;                 // of the round
  int64_t values = 0;
  int update_bits = 0, modulus_bits = 0;
  double epsilon = 0, epsilon_budget = 0;
  std::vector<SiteReport> sites;  // by name
};

// Called on the aggregator's threads one call at a time; long work belongs elsewhere. Calls follow
// what is durable: after a restart nothing is told twice.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void Changed(const RunReport& report) {}  // at every change of stage, and of a site
  virtual void RoundEnded(const RoundReport& report) {}
  // `model` is the version that the round made; it lives as long as the call.
  virtual void Published(const RoundReport& report, const GlobalModel& model) {}
  // Once; `model` is the last version (null where none was fixed).
  virtual void Ended(const RunReport& report, const GlobalModel* model) {}
  virtual void Warned(absl::string_view text) {}
};

}  // namespace ds::federated
