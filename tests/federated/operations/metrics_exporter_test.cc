// The exporter, read over HTTP.
#include "federated/operations/metrics_exporter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::string Get(int port) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  EXPECT_EQ(send(connection, request.data(), request.size(), 0),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char piece[4096];
  for (ssize_t got; (got = recv(connection, piece, sizeof piece, 0)) > 0;) {
    answer.append(piece, static_cast<size_t>(got));
  }
  close(connection);
  return answer;
}

TEST(MetricsExporter, ServesTheRun) {
  const auto exporter = MetricsExporter::Listen("127.0.0.1:0");
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  RunReport report;
  report.version = 3;
  report.committed = 2;
  SiteReport site;
  site.site = "clinic \"a\"";
  site.present = true;
  site.upload_bytes = 1000;
  report.sites = {site};
  (*exporter)->Changed(report);
  RoundReport round;
  round.published = true;
  round.seconds = 0.5;
  round.missing = {"clinic b"};
  (*exporter)->RoundEnded(round);
  (*exporter)->Evaluated(0.75);
  const std::string text = Get((*exporter)->port());
  EXPECT_THAT(text, HasSubstr("ds_federated_version 3"));
  EXPECT_THAT(text, HasSubstr("ds_federated_sites_present 1"));
  EXPECT_THAT(text, HasSubstr("ds_federated_site_upload_bytes{site=\"clinic \\\"a\\\"\"} 1000"));
  EXPECT_THAT(text, HasSubstr("ds_federated_rounds_total{end=\"published\"} 1"));
  EXPECT_THAT(text, HasSubstr("ds_federated_rounds_total{end=\"abandoned\"} 0"));
  EXPECT_THAT(text, HasSubstr("ds_federated_missing_updates_total 1"));
  EXPECT_THAT(text, HasSubstr("ds_federated_round_seconds_count 1"));
  EXPECT_THAT(text, HasSubstr("ds_federated_accuracy 0.75"));
}

TEST(MetricsExporter, AnAddressThatCannotBeListenedAtIsAnError) {
  const auto first = MetricsExporter::Listen("127.0.0.1:0");
  ASSERT_TRUE(first.ok());
  const auto second = MetricsExporter::Listen(absl::StrCat("127.0.0.1:", (*first)->port()));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("listen.metrics"));
}

}  // namespace
}  // namespace ds::federated
