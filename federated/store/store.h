// What survives a kill: an append-only log of checksummed records, and blobs named by their
// SHA-256. Two stores, one contract (tests/federated/store/contract_test.cc): in memory, and files
// through FileSystem::Default(). The file format is in docs/federated-log.md, byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds::federated {

// A source of bytes of known size, read in any order. Thread-safe.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  virtual int64_t size() const = 0;
  // out.size() bytes from `offset`; OutOfRange beyond the end.
  virtual absl::Status Read(int64_t offset, absl::Span<std::byte> out) const = 0;
};

// A blob under way, kept over a restart: what was received is not sent again.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  // Bytes that are there, from the first on.
  virtual int64_t received() const = 0;
  // `offset` <= received(); bytes that are there already must be equal (DataLoss otherwise);
  // beyond the size: InvalidArgument.
  virtual absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) = 0;
  // All bytes are there, and are what the digest says (else DataLoss, and the blob is dropped);
  // durable.
  virtual absl::Status Finish() = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // Durable when it returns. The record's number, from 0. Thread-safe; concurrent calls share a
  // sync. After an error nothing more is appended (FailedPrecondition): what is on the disk is not
  // known any more.
  virtual absl::StatusOr<int64_t> Append(absl::string_view record) = 0;
  // All records in order. A torn last record (it was never acknowledged) is cut off; any other
  // damage is DataLoss with file and offset.
  virtual absl::Status Replay(
      absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit) = 0;

  // `digest`: 64 lower-case hexadecimal digits (InvalidArgument otherwise). The same digest may be
  // written by one writer at a time (FailedPrecondition).
  virtual absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest,
                                                            int64_t size) = 0;
  virtual bool Has(const std::string& digest) const = 0;
  // Whole blobs only. NotFound.
  virtual absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const = 0;
  // No error where there is none. Readers that are open go on.
  virtual absl::Status Remove(const std::string& digest) = 0;
  // Whole ones and those under way.
  virtual absl::StatusOr<std::vector<std::string>> Blobs() const = 0;
};

std::unique_ptr<Store> MemoryStore();
// `folder` is made where it is not there, and locked against a second process (FailedPrecondition
// names who holds it).
absl::StatusOr<std::unique_ptr<Store>> OpenFileStore(const std::string& folder);

// Calls `visit` with the bytes [begin, end) in order, a block at a time: a blob may be larger than
// the memory.
absl::Status ForBlocks(
    const BlobReader& blob, int64_t begin, int64_t end,
    absl::FunctionRef<absl::Status(int64_t offset, absl::Span<const std::byte> bytes)> visit);

// Puts all of `bytes` in, durable; their digest. What an earlier writer left under that name and is
// not it goes.
absl::StatusOr<std::string> PutBlob(Store& store, const BlobReader& bytes);
absl::StatusOr<std::string> PutBlob(Store& store, absl::Span<const std::byte> bytes);
absl::StatusOr<std::string> GetBlob(const Store& store, const std::string& digest);
// A reader over bytes that outlive it.
std::shared_ptr<BlobReader> SpanReader(absl::Span<const std::byte> bytes);

}  // namespace ds::federated
