#include "federated/operations/metrics_exporter.h"

#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/exposer.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace ds::federated {
namespace {

namespace prom = ::prometheus;

class Exporter final : public MetricsExporter {
 public:
  explicit Exporter(std::unique_ptr<prom::Exposer> exposer) : exposer_(std::move(exposer)) {
    exposer_->RegisterCollectable(registry_);
  }

  int port() const override { return exposer_->GetListeningPorts().at(0); }

  void Changed(const RunReport& report) override {
    stage_.Set(static_cast<double>(report.stage));
    version_.Set(static_cast<double>(report.version));
    rounds_.Set(static_cast<double>(report.rounds));
    committed_.Set(static_cast<double>(report.committed));
    goal_.Set(static_cast<double>(report.goal));
    epsilon_.Set(report.epsilon);
    int64_t present = 0;
    for (const SiteReport& site : report.sites) {
      present += site.present;
      SetOfSite(site);
    }
    present_.Set(static_cast<double>(present));
  }

  void RoundEnded(const RoundReport& report) override {
    (report.published ? published_ : abandoned_).Increment();
    seconds_.Observe(report.seconds);
    missing_.Increment(static_cast<double>(report.missing.size()));
    update_bytes_.Set(static_cast<double>(report.update_bytes));
    published_bytes_.Set(static_cast<double>(report.published_bytes));
  }

  void Evaluated(double accuracy) override { accuracy_.Set(accuracy); }

 private:
  prom::Gauge& Gauge(const std::string& name, const std::string& help) {
    return prom::BuildGauge().Name("ds_federated_" + name).Help(help).Register(*registry_).Add({});
  }
  prom::Family<prom::Gauge>& OfSites(const std::string& name, const std::string& help) {
    return prom::BuildGauge().Name("ds_federated_site_" + name).Help(help).Register(*registry_);
  }
  prom::Counter& Rounds(const char* end) { return rounds_family_.Add({{"end", end}}); }

  void SetOfSite(const SiteReport& site) {
    const std::map<std::string, std::string> label = {{"site", site.site}};
    site_present_.Add(label).Set(site.present);
    site_late_.Add(label).Set(site.late);
    site_counted_.Add(label).Set(static_cast<double>(site.rounds_counted));
    site_upload_.Add(label).Set(static_cast<double>(site.upload_bytes));
    site_download_.Add(label).Set(static_cast<double>(site.download_bytes));
    site_refused_.Add(label).Set(static_cast<double>(site.refused));
  }

  std::shared_ptr<prom::Registry> registry_ = std::make_shared<prom::Registry>();
  prom::Gauge& stage_ = Gauge("stage",
                              "0 empty, 1 waiting, 2 idle, 3 and 4 set-up, 5 collecting, "
                              "6 echo, 7 unmasking, 8 publishing, 9 ended");
  prom::Gauge& version_ = Gauge("version", "Published versions of the model");
  prom::Gauge& rounds_ = Gauge("rounds", "Versions that the run is to publish");
  prom::Gauge& committed_ = Gauge("round_updates", "Updates of the round under way");
  prom::Gauge& goal_ = Gauge("round_goal", "Updates that the round waits for");
  prom::Gauge& epsilon_ = Gauge("epsilon", "Privacy spent so far; 0: no mechanism");
  prom::Gauge& present_ = Gauge("sites_present", "Sites that are connected");
  prom::Gauge& accuracy_ = Gauge("accuracy", "Of the newest version, on the server's data, 0..1");
  prom::Gauge& update_bytes_ = Gauge("update_bytes", "Of one site's update in the last round");
  prom::Gauge& published_bytes_ = Gauge("published_bytes", "Of the last published sum");
  prom::Family<prom::Counter>& rounds_family_ = prom::BuildCounter()
                                                    .Name("ds_federated_rounds_total")
                                                    .Help("Rounds that ended, by how")
                                                    .Register(*registry_);
  prom::Counter& published_ = Rounds("published");
  prom::Counter& abandoned_ = Rounds("abandoned");
  prom::Counter& missing_ = prom::BuildCounter()
                                .Name("ds_federated_missing_updates_total")
                                .Help("Updates of selected sites that did not come in time")
                                .Register(*registry_)
                                .Add({});
  prom::Histogram& seconds_ =
      prom::BuildHistogram()
          .Name("ds_federated_round_seconds")
          .Help("From a round's plan to its end")
          .Register(*registry_)
          .Add({}, std::vector<double>{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000});
  prom::Family<prom::Gauge>& site_present_ = OfSites("present", "1: connected");
  prom::Family<prom::Gauge>& site_late_ = OfSites("late", "1: missed the last round");
  prom::Family<prom::Gauge>& site_counted_ = OfSites("rounds_counted", "Rounds with its update");
  prom::Family<prom::Gauge>& site_upload_ = OfSites("upload_bytes", "Of its updates");
  prom::Family<prom::Gauge>& site_download_ = OfSites("download_bytes", "That it asked for");
  prom::Family<prom::Gauge>& site_refused_ = OfSites("refused_calls", "Calls of it refused");
  // Last: it answers until it is gone.
  std::unique_ptr<prom::Exposer> exposer_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Listen(
    const std::string& address) {
  // The library's way of saying that it cannot listen is an exception.
  try {
    return std::make_unique<Exporter>(std::make_unique<prom::Exposer>(address, /*num_threads=*/1));
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics at '", address, "': ", error.what(),
                     "; listen.metrics wants HOST:PORT of this machine that is free"));
  }
}

}  // namespace ds::federated
