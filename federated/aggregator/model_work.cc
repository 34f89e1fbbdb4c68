#include "federated/aggregator/model_work.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/aggregator/blobs/blob_files.h"
#include "federated/aggregator/blobs/blob_shelf.h"
#include "federated/secure/crypto/crypto.h"
#include "federated/strategy/registry.h"

namespace ds::federated {
ModelWork::ModelWork(const AggregatorOptions& options, std::shared_ptr<Store> store)
    : options_(options), store_(std::move(store)) {}

std::string ModelWork::ScratchPath() const {
  return absl::StrCat(options_.scratch, "/model.safetensors");
}

absl::StatusOr<ModelFixed> ModelWork::Fix(const RunOptions& options, int64_t samples_reference,
                                          int64_t maximum_sites) {
  DS_ASSIGN_OR_RETURN(strategy_, MakeStrategy(options.strategy));
  DS_ASSIGN_OR_RETURN(InitialModel initial, options_.initial());
  DS_ASSIGN_OR_RETURN(
      model_, GlobalModel::Create(std::move(initial.layout), std::move(initial.weights), options,
                                  maximum_sites, samples_reference));
  return ModelFixed{.samples_reference = samples_reference,
                    .maximum_sites = maximum_sites,
                    .digest = model_->digest(),
                    .values = model_->values(),
                    .update_bits = model_->update_bits(),
                    .modulus_bits = model_->modulus_bits()};
}

absl::Status ModelWork::Restore(const RoundMachine& machine, const Publications& publications) {
  const ModelFixed& fixed = machine.model();
  const SnapshotTaken* snapshot = publications.snapshot();
  std::string expected = fixed.digest;
  if (snapshot != nullptr) {
    DS_ASSIGN_OR_RETURN(strategy_, MakeStrategy(machine.options().strategy));
    DS_ASSIGN_OR_RETURN(const auto blob, ReadBlob(*store_, snapshot->blob));
    const absl::Cleanup remove = [&] { RemoveScratch(ScratchPath()); };
    DS_RETURN_IF_ERROR(BlobToFile(*blob, ScratchPath()));
    DS_ASSIGN_OR_RETURN(model_, GlobalModel::Load(ScratchPath(), machine.options()));
    expected = publications.ModelDigest(snapshot->version);
  } else {
    DS_RETURN_IF_ERROR(
        Fix(machine.options(), fixed.samples_reference, fixed.maximum_sites).status());
  }
  for (const PublishedVersion& version : publications.kept()) {
    if (version.version <= model_->version()) continue;
    if (model_->digest() != expected) break;
    DS_ASSIGN_OR_RETURN(const std::string bytes, BlobBytes(*store_, version.blob));
    DS_ASSIGN_OR_RETURN(const Published published, Published::Decode(bytes));
    DS_RETURN_IF_ERROR(model_->Advance(published, nullptr, nullptr));
    expected = version.model_digest;
  }
  if (model_->digest() != expected || model_->version() != machine.version()) {
    return absl::DataLossError(absl::StrCat(
        "version ", model_->version(), " of the model has the digest ", model_->digest(),
        ", the log says ", expected, " and goes to version ", machine.version(),
        ": the initial model or the program is not the one that the run began with"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Published> ModelWork::Combine(const PublishJob& job) const {
  std::vector<UpdateBlob> updates;
  for (const HeldUpdate& held : job.updates) {
    DS_ASSIGN_OR_RETURN(auto packed, ReadBlob(*store_, held.update));
    updates.push_back({held.update.digest, held.base_version, std::move(packed)});
  }
  return strategy_->Combine({.version = job.version,
                             .shape = &model_->shape(),
                             .update_bits = model_->update_bits(),
                             .modulus_bits = model_->modulus_bits(),
                             .updates = updates});
}

absl::StatusOr<Published> ModelWork::CombineMasked(const PublishJob& job) const {
  std::vector<std::shared_ptr<const BlobReader>> packed;
  for (const HeldUpdate& held : job.updates) {
    DS_ASSIGN_OR_RETURN(auto reader, ReadBlob(*store_, held.update));
    packed.push_back(std::move(reader));
  }
  const int bits = model_->modulus_bits();
  DS_ASSIGN_OR_RETURN(IntegerVector sum, SumPacked(packed, model_->values(), bits, bits));
  DS_RETURN_IF_ERROR(job.secure->Unmask(sum));
  const auto sites = static_cast<int64_t>(job.updates.size());
  Published published{.version = job.version};
  published.groups.push_back({.base_version = model_->version(),
                              .divisor = sites,
                              .updates = sites,
                              .sum = std::move(sum)});
  return published;
}

absl::StatusOr<RoundPublished> ModelWork::Publish(const PublishJob& job) {
  DS_ASSIGN_OR_RETURN(Published published,
                      job.secure == nullptr ? Combine(job) : CombineMasked(job));
  if (job.add_noise) {
    // The plain sum may need fewer bits than its noise.
    for (PublishedGroup& group : published.groups) {
      group.sum = group.sum.Widen(model_->modulus_bits());
    }
    DS_RETURN_IF_ERROR(model_->AddNoise(published, secure::FillRandomBytes));
  }
  RoundPublished record{.round = job.round, .version = job.version};
  DS_ASSIGN_OR_RETURN(record.published,
                      MakeBlob(*store_, published.Encode(), options_.inline_bytes));
  DS_RETURN_IF_ERROR(model_->Advance(published, &record.metrics, &record.sites));
  record.model_digest = model_->digest();
  return record;
}

absl::StatusOr<SnapshotTaken> ModelWork::Snapshot() {
  const absl::Cleanup remove = [&] { RemoveScratch(ScratchPath()); };
  DS_RETURN_IF_ERROR(model_->Save(ScratchPath()));
  SnapshotTaken record{.version = model_->version()};
  DS_ASSIGN_OR_RETURN(record.blob, FileToBlob(ScratchPath(), *store_));
  return record;
}

}  // namespace ds::federated
