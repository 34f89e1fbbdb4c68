#include "federated/strategy/blocks.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr int kMostRowBits = 16;

void WidenInto(const std::byte* values, int width, int64_t count, uint16_t* row) {
  if (width == 2) {
    std::copy_n(reinterpret_cast<const uint16_t*>(values), count, row);
  } else {
    std::copy_n(reinterpret_cast<const uint8_t*>(values), count, row);
  }
}

}  // namespace

absl::Status ReadPacked(const BlobReader& packed, int bits, int64_t first, int64_t count,
                        std::vector<std::byte>& bytes) {
  bytes.resize(static_cast<size_t>(PackedSize(count, bits)));
  return packed.Read(first / 8 * bits, absl::MakeSpan(bytes));
}

absl::Status VisitRows(absl::Span<const UpdateBlob> updates, int bits, int64_t first, int64_t end,
                       RowVisitor visit) {
  DS_CHECK(bits <= kMostRowBits && first % 8 == 0) << bits << " bits from " << first;
  const int64_t block = std::min(kBlockValues, end - first);
  if (block <= 0) return absl::OkStatus();
  std::vector<uint16_t> storage(updates.size() * static_cast<size_t>(block));
  std::vector<uint16_t*> rows;
  for (size_t u = 0; u < updates.size(); ++u)
    rows.push_back(storage.data() + u * static_cast<size_t>(block));
  std::vector<std::byte> bytes, values(static_cast<size_t>(block * NaturalWidth(bits)));
  for (int64_t at = first; at < end; at += block) {
    const int64_t count = std::min(block, end - at);
    for (size_t u = 0; u < updates.size(); ++u) {
      DS_RETURN_IF_ERROR(ReadPacked(*updates[u].packed, bits, at, count, bytes));
      UnpackValues(bytes, bits, count, values.data());
      WidenInto(values.data(), NaturalWidth(bits), count, rows[u]);
    }
    visit(at, count, rows);
  }
  return absl::OkStatus();
}

absl::Status CheckRequest(const Strategy& strategy, const CombineRequest& request) {
  const int64_t count = static_cast<int64_t>(request.updates.size());
  const int64_t least = std::max<int64_t>(1, strategy.least_updates());
  if (count < least) {
    return absl::FailedPreconditionError(absl::StrCat(
        "strategy ", strategy.traits().name, " needs ", least, " updates and has ", count,
        ": raise round.minimum, or lower what strategy assumes of hostile sites"));
  }
  for (const UpdateBlob& update : request.updates) {
    const absl::Status status =
        CheckUpdateBlob(*update.packed, request.shape->values(), request.update_bits);
    if (!status.ok()) return Annotate(status, absl::StrCat("update ", update.digest));
  }
  return absl::OkStatus();
}

absl::Status CheckUpdateBlob(const BlobReader& packed, int64_t values, int bits) {
  const int64_t wanted = PackedSize(values, bits);
  if (packed.size() != wanted) {
    return absl::InvalidArgumentError(absl::StrCat("an update of ", packed.size(), " bytes, where ",
                                                   values, " values of ", bits, " bits are ",
                                                   wanted));
  }
  std::byte last[1];
  DS_RETURN_IF_ERROR(packed.Read(wanted - 1, absl::MakeSpan(last)));
  const absl::Status status = CheckPackedEnd(last, bits, values);
  return status.ok() ? status : absl::InvalidArgumentError(status.message());
}

int SumBits(int64_t most, int bits) {
  return std::bit_width(static_cast<uint64_t>(most) * ((uint64_t{1} << bits) - 1));
}

}  // namespace ds::federated
