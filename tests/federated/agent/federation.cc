#include "tests/federated/agent/federation.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {
namespace {

// One for all federations of a test program: a disk's syncs are most of their time.
std::shared_ptr<SiteFiles> CommonFiles() {
  static const TempFolder folder;
  static const std::shared_ptr<SiteFiles> files = [] {
    absl::StatusOr<std::unique_ptr<SiteFiles>> opened = SiteFiles::Open(folder.path());
    DS_CHECK(opened.ok()) << opened.status();
    return *std::move(opened);
  }();
  return files;
}

}  // namespace

RunOptions Federation::FourRounds() {
  RunOptions options;
  options.round.rounds = 4;
  options.update.bits = 4;
  return options;
}

Federation::Federation(int count, const RunOptions& options) {
  problem.parameters = 40;
  offer.run = "run-1";
  offer.name = "a test";
  offer.options = options;
  const auto authority = std::make_shared<const TestAuthority>();
  for (int i = 0; i < count; ++i) {
    SiteHome home;
    home.site = absl::StrCat("site-", i);
    home.folder = folder->File(home.site);
    home.identity = std::make_shared<TestIdentity>(home.site, authority);
    home.problem = problem;
    home.vault = std::make_shared<TestVault>();
    home.files = CommonFiles();
    sites.push_back(home);
  }
}

FakeAggregator::Options Federation::ForFake() const {
  const LocalModel model = VirtualModel(problem);
  return {.offer = offer,
          .sites = static_cast<int>(sites.size()),
          .layout = model.layout,
          .weights = model.weights};
}

AggregatorOptions Federation::ForAggregator() const {
  const std::string model = "a model's file";
  const absl::StatusOr<std::string> digest = PutBlob(
      *store, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(model.data()), model.size()));
  DS_CHECK(digest.ok()) << digest.status();
  AggregatorOptions options;
  options.offer = offer;
  options.offer.model = *digest;
  options.offer.task = "{}";
  options.offer.options.round.wait_for = static_cast<int64_t>(sites.size());
  options.initial = [this]() -> absl::StatusOr<InitialModel> {
    const LocalModel model = VirtualModel(problem);
    return InitialModel{model.layout, model.weights};
  };
  options.identity = sites[0].identity;
  options.scratch = folder->path();
  return options;
}

std::unique_ptr<Aggregator> Federation::OpenAggregator() const {
  absl::StatusOr<std::unique_ptr<Aggregator>> opened = Aggregator::Open(ForAggregator(), store);
  DS_CHECK(opened.ok()) << opened.status();
  return *std::move(opened);
}

std::vector<absl::StatusOr<AgentReport>> Federation::Run(FederationService& service,
                                                         CrashPoint* crash) {
  std::vector<absl::StatusOr<AgentReport>> reports(sites.size(), absl::UnknownError("none"));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sites.size(); ++i) {
    threads.emplace_back([&, i] {
      if (i == 0 && crash != nullptr) {
        reports[i] = LiveOnce(sites[i], service, *crash);
        if (!crash->dead) return;
      }
      CrashPoint never;
      reports[i] = LiveOnce(sites[i], service, never);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return reports;
}

}  // namespace ds::federated
