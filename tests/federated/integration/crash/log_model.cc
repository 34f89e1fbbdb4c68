#include "tests/federated/integration/crash/log_model.h"

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/strategy/registry.h"
#include "federated/strategy/strategy.h"
#include "federated/update/global_model.h"

namespace ds::federated {
namespace {

using Blobs = std::map<std::string, std::string>;

absl::StatusOr<std::string> BytesOf(const BlobRef& ref, const Blobs& blobs) {
  if (!ref.bytes.empty()) return ref.bytes;
  const auto found = blobs.find(ref.digest);
  if (found == blobs.end()) return absl::DataLossError(absl::StrCat("never saw ", ref.digest));
  return found->second;
}

absl::StatusOr<std::string> SumOf(const RunSum& sum, const Strategy& strategy,
                                  const GlobalModel& model, const Blobs& blobs) {
  std::vector<std::string> bytes;
  for (const UpdateCommitted& update : sum.updates) {
    DS_ASSIGN_OR_RETURN(bytes.emplace_back(), BytesOf(update.update, blobs));
  }
  std::vector<UpdateBlob> updates;
  for (size_t i = 0; i < bytes.size(); ++i) {
    updates.push_back(
        {sum.updates[i].update.digest, sum.updates[i].base_version,
         SpanReader({reinterpret_cast<const std::byte*>(bytes[i].data()), bytes[i].size()})});
  }
  DS_ASSIGN_OR_RETURN(const Published published,
                      strategy.Combine({.version = sum.published.version,
                                        .shape = &model.shape(),
                                        .update_bits = model.update_bits(),
                                        .modulus_bits = model.modulus_bits(),
                                        .updates = updates}));
  return published.Encode();
}

}  // namespace

absl::Status CheckModels(const RunLog& log, const Blobs& blobs, InitialModel initial) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Strategy> strategy, MakeStrategy(log.options.strategy));
  DS_ASSIGN_OR_RETURN(
      const std::unique_ptr<GlobalModel> model,
      GlobalModel::Create(std::move(initial.layout), std::move(initial.weights), log.options,
                          log.model.maximum_sites, log.model.samples_reference));
  const bool plain = log.options.secure.mode == "off" && log.options.privacy.mechanism == "none";
  for (const RunSum& sum : log.sums) {
    const std::string where = absl::StrCat("version ", sum.published.version);
    DS_ASSIGN_OR_RETURN(const std::string bytes, BytesOf(sum.published.published, blobs));
    if (plain) {
      DS_ASSIGN_OR_RETURN(const std::string summed, SumOf(sum, *strategy, *model, blobs));
      if (summed != bytes)
        return absl::DataLossError(absl::StrCat(where, " is not the sum of its updates"));
    }
    DS_ASSIGN_OR_RETURN(const Published published, Published::Decode(bytes));
    DS_RETURN_IF_ERROR(Annotate(model->Advance(published, nullptr, nullptr), where));
    if (model->digest() != sum.published.model_digest)
      return absl::DataLossError(absl::StrCat(where, " has another digest than the log says"));
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
