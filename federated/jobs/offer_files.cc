#include "federated/jobs/offer_files.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/aggregator/run_name.h"
#include "federated/wire/codec.h"

namespace ds::federated {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

// The file as a blob, under its digest.
absl::StatusOr<std::string> PutFile(Store& store, const std::string& path) {
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> bytes = file->bytes();
  Sha256 hash;
  hash.Update(bytes);
  const std::string digest = hash.Hex();
  if (store.Has(digest)) return digest;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<BlobWriter> blob,
                      store.Write(digest, static_cast<int64_t>(bytes.size())));
  for (size_t at = static_cast<size_t>(blob->received()); at < bytes.size(); at += kBlock) {
    DS_RETURN_IF_ERROR(blob->Write(static_cast<int64_t>(at), bytes.subspan(at, kBlock)));
  }
  DS_RETURN_IF_ERROR(blob->Finish());
  return digest;
}

absl::StatusOr<RunOffer> Written(const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(OfferFile(folder)));
  DS_ASSIGN_OR_RETURN(const HelloReply said, DecodeHelloReply(bytes));
  return said.offer;
}

std::string Bytes(const RunOffer& offer) {
  HelloReply said;
  said.version = kWireVersion;
  said.offer = offer;
  return Encode(said);
}

}  // namespace

std::string OfferFile(const std::string& folder) { return folder + "/offer.bin"; }
std::string OfferedModelFile(const std::string& folder) { return folder + "/offered.onnx"; }

absl::StatusOr<RunOffer> OfferOf(
    const std::string& folder, const std::string& name, const RunOptions& options,
    const std::function<absl::StatusOr<std::string>(const std::string& model_file)>& write_model,
    Store& store) {
  absl::StatusOr<RunOffer> written = Written(folder);
  if (absl::IsNotFound(written.status())) {
    RunOffer offer = {.run = RandomRunName(), .name = name, .options = options};
    DS_ASSIGN_OR_RETURN(offer.task, write_model(OfferedModelFile(folder)));
    DS_ASSIGN_OR_RETURN(offer.model, PutFile(store, OfferedModelFile(folder)));
    DS_RETURN_IF_ERROR(WriteFileAtomically(OfferFile(folder), Bytes(offer)));
    return offer;
  }
  if (!written.ok()) return written.status();
  RunOffer asked = *written;
  asked.options = options;
  if (Bytes(asked) != Bytes(*written)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the run in ", folder,
        " was offered with other options (its config.yaml), which cannot change while it runs; "
        "start another one with --new, or go back to its options"));
  }
  DS_RETURN_IF_ERROR(PutFile(store, OfferedModelFile(folder)).status());
  return written;
}

}  // namespace ds::federated
