#include "federated/store/digest.h"

#include "absl/strings/str_cat.h"
#include "base/hex.h"

namespace ds::federated {

absl::Status CheckDigest(absl::string_view digest) {
  if (IsSha256Hex(digest)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a blob's name is its SHA-256 as 64 lower-case hexadecimal digits, not ",
                   digest.size(), " characters of another kind"));
}

absl::Status CheckWrite(const std::string& digest, int64_t offset, int64_t count, int64_t received,
                        int64_t size) {
  if (offset < 0 || offset > received)
    return absl::InvalidArgumentError(absl::StrCat("blob ", digest, ": bytes at ", offset,
                                                   ", but only ", received,
                                                   " are there; send those in between first"));
  if (count > size - offset)
    return absl::InvalidArgumentError(absl::StrCat("blob ", digest, ": ", count, " bytes at ",
                                                   offset, " end beyond its size of ", size));
  return absl::OkStatus();
}

absl::Status WriterIsOpen(const std::string& digest) {
  return absl::FailedPreconditionError(
      absl::StrCat("blob ", digest, " is being written; wait until that writer is gone"));
}

absl::Status NotAllThere(const std::string& digest, int64_t received, int64_t size) {
  return absl::FailedPreconditionError(absl::StrCat("blob ", digest, " has ", received, " of its ",
                                                    size, " bytes; send the rest first"));
}

absl::Status WrongBytes(const std::string& digest, absl::string_view found) {
  return absl::DataLossError(absl::StrCat("blob ", digest, ": its bytes have the SHA-256 ", found,
                                          "; they are dropped, send it again from 0"));
}

absl::Status OtherBytes(const std::string& digest, int64_t offset) {
  return absl::DataLossError(absl::StrCat("blob ", digest, ": other bytes were received between ",
                                          offset, " and what was sent again to there"));
}

}  // namespace ds::federated
