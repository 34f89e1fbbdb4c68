#include "federated/agent/site_updates.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace ds::federated {
namespace {

static_assert(std::endian::native == std::endian::little, "the format's numbers are copied");

constexpr absl::string_view kMagic = "DSSITEU1";
constexpr size_t kDigestDigits = 64;
// A header that is damaged must not ask for all memory.
constexpr int64_t kMostValues = int64_t{1} << 34;

struct Header {
  int64_t round, previous, base_version;
  int64_t bits, levels, residual, own_control;
};

template <typename T>
void AppendRaw(const T* values, size_t count, std::string& out) {
  out.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

bool IsInRange(const Header& header) {
  const auto count_fits = [](int64_t count) { return count >= 0 && count <= kMostValues; };
  return header.round >= 0 && header.previous >= -1 && header.base_version >= 0 &&
         header.bits >= 1 && header.bits <= 32 && count_fits(header.levels) &&
         count_fits(header.residual) && count_fits(header.own_control);
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the site's stored update is damaged: ", what,
                   "; mend: leave this run and remove its folder, then join again"));
}

std::vector<float> TakeFloats(absl::string_view& bytes, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  // Where there are none, neither side has an address.
  if (count > 0) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  bytes.remove_prefix(values.size() * sizeof(float));
  return values;
}

}  // namespace

std::string SiteUpdate::Encode() const {
  DS_CHECK(base_digest.size() == kDigestDigits);
  const Header header = {round,
                         previous,
                         base_version,
                         levels.bits(),
                         levels.size(),
                         static_cast<int64_t>(residual.size()),
                         static_cast<int64_t>(own_control.size())};
  const std::vector<std::byte> packed = Pack(levels);
  std::string out(kMagic);
  out.reserve(out.size() + sizeof(header) + kDigestDigits + packed.size() +
              sizeof(float) * (residual.size() + own_control.size()));
  AppendRaw(&header, 1, out);
  out += base_digest;
  AppendRaw(packed.data(), packed.size(), out);
  AppendRaw(residual.data(), residual.size(), out);
  AppendRaw(own_control.data(), own_control.size(), out);
  return out;
}

absl::StatusOr<SiteUpdate> SiteUpdate::Decode(absl::string_view bytes) {
  Header header;
  const size_t fixed = kMagic.size() + sizeof(header) + kDigestDigits;
  if (bytes.size() < fixed || bytes.substr(0, kMagic.size()) != kMagic) return Damaged("no header");
  bytes.remove_prefix(kMagic.size());
  std::memcpy(&header, bytes.data(), sizeof(header));
  bytes.remove_prefix(sizeof(header));
  if (!IsInRange(header)) return Damaged("a number of its header is out of range");
  SiteUpdate update;
  update.round = header.round;
  update.previous = header.previous;
  update.base_version = header.base_version;
  update.base_digest = std::string(bytes.substr(0, kDigestDigits));
  bytes.remove_prefix(kDigestDigits);
  const int64_t packed = PackedSize(header.levels, static_cast<int>(header.bits));
  const int64_t floats = header.residual + header.own_control;
  if (static_cast<int64_t>(bytes.size()) != packed + floats * 4) return Damaged("its length");
  const absl::Span<const std::byte> span(reinterpret_cast<const std::byte*>(bytes.data()),
                                         static_cast<size_t>(packed));
  DS_ASSIGN_OR_RETURN(update.levels, Unpack(span, static_cast<int>(header.bits), header.levels));
  bytes.remove_prefix(static_cast<size_t>(packed));
  update.residual = TakeFloats(bytes, header.residual);
  update.own_control = TakeFloats(bytes, header.own_control);
  return update;
}

SiteUpdates::SiteUpdates(std::shared_ptr<Vault> vault, const std::string& run)
    : vault_(std::move(vault)), prefix_(absl::StrCat("update/", run, "/")) {}

absl::StatusOr<std::unique_ptr<SiteUpdates>> SiteUpdates::Open(std::shared_ptr<Vault> vault,
                                                               const std::string& run) {
  auto updates = std::unique_ptr<SiteUpdates>(new SiteUpdates(std::move(vault), run));
  std::array<std::optional<SiteUpdate>, 2> slots;
  for (int slot = 0; slot < 2; ++slot) {
    const absl::StatusOr<std::string> bytes =
        updates->vault_->Get(absl::StrCat(updates->prefix_, slot));
    if (absl::IsNotFound(bytes.status())) continue;
    DS_RETURN_IF_ERROR(bytes.status());
    DS_ASSIGN_OR_RETURN(slots[static_cast<size_t>(slot)], SiteUpdate::Decode(*bytes));
  }
  const bool newer =
      slots[1].has_value() && (!slots[0].has_value() || slots[1]->round > slots[0]->round);
  std::optional<SiteUpdate>&last = slots[newer ? 1 : 0], &before = slots[newer ? 0 : 1];
  updates->counted_slot_ = newer ? 0 : 1;
  // One that was dropped and not yet overwritten is none that counted.
  if (last.has_value() && before.has_value() && last->previous == before->round)
    updates->counted_ = std::move(before);
  updates->under_way_ = std::move(last);
  return updates;
}

absl::Status SiteUpdates::Begin(SiteUpdate update) {
  return Begin(std::move(update), [&](const SiteUpdate& /*update*/, const VaultValue& value) {
    return vault_->Put(value.name, value.value);
  });
}

absl::Status SiteUpdates::Begin(SiteUpdate update, Putting put) {
  update.previous = counted_.has_value() ? counted_->round : -1;
  const std::string bytes = update.Encode();
  DS_RETURN_IF_ERROR(put(update, {absl::StrCat(prefix_, 1 - counted_slot_), bytes}));
  under_way_ = std::move(update);
  return absl::OkStatus();
}

void SiteUpdates::Count() {
  if (!under_way_.has_value()) return;
  counted_ = std::exchange(under_way_, std::nullopt);
  counted_slot_ = 1 - counted_slot_;
}

void SiteUpdates::Drop() { under_way_.reset(); }

absl::Status SiteUpdates::Clear() {
  counted_.reset();
  under_way_.reset();
  DS_RETURN_IF_ERROR(vault_->Remove(absl::StrCat(prefix_, 0)));
  return vault_->Remove(absl::StrCat(prefix_, 1));
}

}  // namespace ds::federated
