#include "federated/demo/demo_files.h"

#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/certificate.h"
#include "federated/pki/site_files.h"

namespace ds::federated {
namespace {

constexpr char kServerName[] = "aggregator";

// A YAML string.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}

absl::Status MakeIdentities(const DemoOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Authority> authority,
                      Authority::Make(absl::StrCat(options.output, "/authority"), "demonstration"));
  DS_RETURN_IF_ERROR(authority->IssueServer(kServerName, {"localhost", "127.0.0.1"}));
  for (int64_t site = 0; site < options.sites; ++site) {
    const std::string name = SiteName(site);
    DS_ASSIGN_OR_RETURN(const std::string token,
                        authority->IssueToken(name, kSiteRole, absl::Hours(1)));
    // In a real federation the site does this itself, over the network (ds_agent enrol).
    DS_RETURN_IF_ERROR(EnrolSite(
        absl::StrCat(options.output, "/sites/", name, "/identity"), token, name, kSiteRole,
        [&](const EnrolRequest& request) { return authority->Enrol(request); }));
  }
  return absl::OkStatus();
}

std::string DataSection(const DemoOptions& options) {
  return absl::StrCat("data:\n  type: idx\n  path: ", Quoted(options.data),
                      "\n  train_limit: ", options.train_limit, "\n");
}

std::string TaskText(const DemoOptions& options) {
  return absl::StrCat("run: {name: task, seed: ", options.seed,
                      ", threads: 1}\nmodel: {name: ", Quoted(options.model), "}\n",
                      DataSection(options),
                      "  batch_size: 32\n"
                      "  mean: [0.2860]\n"
                      "  stddev: [0.3530]\n"
                      "  augment: {flip: true}\n"
                      "optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4}\n"
                      "schedule: {name: cosine}\n"
                      "precision: {mode: fp32}\n"
                      "quantization: {mode: ptq, exports: [w8a8, w4a8]}\n");
}

std::string AggregatorText(const DemoOptions& options, int port) {
  std::string overrides;
  for (const std::string& word : options.overrides)
    absl::StrAppend(&overrides, overrides.empty() ? "" : ", ", Quoted(word));
  return absl::StrCat("run: {name: run, output: ", Quoted(options.output), ", seed: ", options.seed,
                      "}\nlisten: {address: '127.0.0.1:", port,
                      "', identity: ", Quoted(absl::StrCat(options.output, "/authority")),
                      "}\ntask: {config: ", Quoted(absl::StrCat(options.output, "/task.yaml")),
                      ", overrides: [", overrides, "]}\nround: {rounds: ", options.rounds,
                      ", wait_for: ", options.sites, ", minimum: ", options.sites,
                      "}\nstrategy: {name: ", options.strategy, "}\nupdate: {bits: ", options.bits,
                      "}\nsecure: {mode: ", options.secure ? "'on'" : "'off'", "}\n");
}

std::string AgentText(const DemoOptions& options, int port, int64_t site) {
  const std::string folder = absl::StrCat(options.output, "/sites/", SiteName(site));
  return absl::StrCat(
      "agent: {aggregator: '127.0.0.1:", port, "', identity: ", Quoted(folder + "/identity"),
      ", state: ", Quoted(folder + "/state"),
      "}\npolicy: {secure: ", options.secure ? "true" : "false", "}\n", DataSection(options),
      "  partition: {sites: ", options.sites, ", site: ", site, ", alpha: ", options.alpha,
      ", seed: ", options.seed, "}\n");
}

}  // namespace

std::string SiteName(int64_t site) { return absl::StrCat("site-", site + 1); }

absl::Status CheckDemo(const DemoOptions& options) {
  constexpr int64_t kMostSites = 256;
  const int64_t least = options.secure ? 3 : 2;
  if (options.sites < least || options.sites > kMostSites) {
    return absl::InvalidArgumentError(absl::StrCat("--sites is ", options.sites, "; ",
                                                   options.secure ? "with --secure " : "",
                                                   "it must be in ", least, "..", kMostSites));
  }
  if (options.output.empty())
    return absl::InvalidArgumentError("--output is missing: a new folder");
  std::error_code error;
  if (std::filesystem::exists(options.output, error) &&
      !std::filesystem::is_empty(options.output, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--output ", options.output, " holds something already; give a new folder"));
  }
  return absl::OkStatus();
}

absl::StatusOr<DemoFiles> WriteDemoFiles(const DemoOptions& options, int port) {
  DS_RETURN_IF_ERROR(MakeFolders(options.output));
  DS_RETURN_IF_ERROR(MakeIdentities(options));
  const auto file = [&](const std::string& name) {
    return absl::StrCat(options.output, "/", name);
  };
  DS_RETURN_IF_ERROR(WriteFileAtomically(file("task.yaml"), TaskText(options)));
  DemoFiles files = {.aggregator = file("aggregator.yaml"), .run = file("run")};
  DS_RETURN_IF_ERROR(WriteFileAtomically(files.aggregator, AggregatorText(options, port)));
  for (int64_t site = 0; site < options.sites; ++site) {
    const std::string path = file(absl::StrCat(SiteName(site), ".yaml"));
    DS_RETURN_IF_ERROR(WriteFileAtomically(path, AgentText(options, port, site)));
    files.agents.push_back(path);
  }
  return files;
}

}  // namespace ds::federated
