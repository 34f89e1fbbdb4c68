// What a demonstration's processes are started with: identities and configurations. Private to
// demo/.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/demo/demo.h"

namespace ds::federated {

struct DemoFiles {
  std::string aggregator;           // configuration of ds_aggregator
  std::vector<std::string> agents;  // of each ds_agent
  std::string run;                  // folder that the aggregator will make
};

// InvalidArgument: options out of range, or an output folder that holds something.
absl::Status CheckDemo(const DemoOptions& options);
// "site-1"
std::string SiteName(int64_t site);
absl::StatusOr<DemoFiles> WriteDemoFiles(const DemoOptions& options, int port);

}  // namespace ds::federated
