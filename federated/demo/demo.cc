#include "federated/demo/demo.h"

#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "base/process/spawn.h"
#include "base/status.h"
#include "federated/demo/demo_files.h"
#include "federated/demo/process.h"

namespace ds::federated {
namespace {

using Processes = std::vector<std::unique_ptr<Process>>;

std::string Log(const DemoOptions& options, const std::string& name) {
  return absl::StrCat(options.output, "/", name, ".log");
}

absl::StatusOr<std::unique_ptr<Process>> StartProgram(const DemoOptions& options,
                                                      const std::string& program,
                                                      const std::string& name,
                                                      std::vector<std::string> arguments) {
  const std::string folder = options.programs.empty() ? FolderOfThisProgram() : options.programs;
  arguments.insert(arguments.begin(), absl::StrCat(folder, "/", program));
  return Process::Start(
      {.command = std::move(arguments),
       .log = Log(options, name),
       .own_stdout = options.print && program == "ds_aggregator",
       // Many processes share the cores: each computes on one, and none spins.
       .environment = {{"OMP_NUM_THREADS", "1"}, {"OMP_WAIT_POLICY", "passive"}}});
}

absl::Status Failed(const DemoOptions& options, const std::string& name, int code,
                    const Process& process) {
  const std::string words = process.LastWords();
  return absl::UnavailableError(absl::StrCat(name, " ended with ", code, words.empty() ? "" : ": ",
                                             words, " (", Log(options, name), ")"));
}

// A site that fails takes the run with it: a demonstration waits for all of them.
absl::Status WaitForEnd(const DemoOptions& options, Process& aggregator, Processes& sites) {
  constexpr absl::Duration kLookEvery = absl::Milliseconds(100);
  while (true) {
    const std::optional<int> code = aggregator.Wait(kLookEvery);
    if (code == 0) return absl::OkStatus();
    if (code.has_value()) return Failed(options, "aggregator", *code, aggregator);
    for (size_t site = 0; site < sites.size(); ++site) {
      const std::optional<int> left = sites[site]->Poll();
      if (left.value_or(0) != 0)
        return Failed(options, SiteName(static_cast<int64_t>(site)), *left, *sites[site]);
    }
  }
}

}  // namespace

absl::StatusOr<DemoSummary> RunDemo(const DemoOptions& options) {
  DS_RETURN_IF_ERROR(CheckDemo(options));
  DS_ASSIGN_OR_RETURN(const int port, FreePort());
  DS_ASSIGN_OR_RETURN(const DemoFiles files, WriteDemoFiles(options, port));
  DS_ASSIGN_OR_RETURN(
      const std::unique_ptr<Process> aggregator,
      StartProgram(options, "ds_aggregator", "aggregator", {"--config", files.aggregator}));
  Processes sites;
  for (size_t site = 0; site < files.agents.size(); ++site) {
    DS_ASSIGN_OR_RETURN(sites.emplace_back(),
                        StartProgram(options, "ds_agent", SiteName(static_cast<int64_t>(site)),
                                     {"--config", files.agents[site]}));
  }
  DS_RETURN_IF_ERROR(WaitForEnd(options, *aggregator, sites));
  // They have heard of the end, and leave by themselves.
  constexpr absl::Duration kLeave = absl::Seconds(15);
  const Deadline left = Deadline::In(kLeave);
  for (const std::unique_ptr<Process>& site : sites) site->Wait(left.Left());
  DS_ASSIGN_OR_RETURN(DemoSummary summary, ReadDemoSummary(files.run + "/summary.json"));
  DS_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(options.output, "/summary.json"),
                                         DemoSummaryJson(summary) + "\n"));
  if (options.print) {
    std::cout << "\n" << DemoTable(summary) << "\nmodels and records: " << files.run << "\n";
    std::cout.flush();
  }
  return summary;
}

}  // namespace ds::federated
