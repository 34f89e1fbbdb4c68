#include "federated/jobs/offer_files.h"

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/aggregator/blobs/blob_files.h"
#include "federated/aggregator/run_name.h"
#include "federated/wire/codec.h"

namespace ds::federated {
namespace {

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
    DS_ASSIGN_OR_RETURN(const BlobRef model, FileToBlob(OfferedModelFile(folder), store));
    offer.model = model.digest;
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
  DS_RETURN_IF_ERROR(FileToBlob(OfferedModelFile(folder), store).status());
  return written;
}

}  // namespace ds::federated
