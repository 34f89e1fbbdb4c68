// Any bytes as a published sum: an error, or a sum that is written as it was read; and a model that
// either refuses it and stays as it is, or takes the step.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "federated/update/global_model.h"

namespace {

std::unique_ptr<ds::federated::GlobalModel> SmallModel(const char* strategy) {
  ds::federated::RunOptions options;
  options.update.bits = 2;
  options.strategy.name = strategy;
  options.strategy.max_staleness = 2;
  auto model = ds::federated::GlobalModel::Create({{{.name = "a", .count = 5}}},
                                                  {0.1f, 0.2f, 0.3f, 0.4f, 0.5f}, options, 3, 1);
  DS_CHECK(model.ok()) << model.status();
  return *std::move(model);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto published = ds::federated::Published::Decode(bytes);
  if (!published.ok()) {
    DS_CHECK(published.status().code() == absl::StatusCode::kDataLoss) << published.status();
    return 0;
  }
  DS_CHECK(published->Encode() == bytes);
  for (const char* strategy : {"fedavg", "fedbuff", "fedadam"}) {
    const auto model = SmallModel(strategy);
    const std::string digest = model->digest();
    ds::federated::SiteMetrics sums;
    int64_t sites = 0;
    const absl::Status status = model->Advance(*published, &sums, &sites);
    DS_CHECK(status.ok() || status.code() == absl::StatusCode::kDataLoss) << status;
    DS_CHECK(status.ok() == (model->digest() != digest));
    DS_CHECK(model->version() == (status.ok() ? 1 : 0));
  }
  return 0;
}
