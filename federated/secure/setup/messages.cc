#include "federated/secure/setup/messages.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/setup/payload.h"

namespace ds::federated::secure {
namespace {

constexpr absl::string_view kMagic = "DSEC";
constexpr uint8_t kVersion = 1;
constexpr uint32_t kMostKeysBytes =
    kMostName * 2 + kMostCertificate + kMostIdentitySignature + 64 * kMostRounds + 1024;
constexpr uint32_t kMostSealed = kSealNonceBytes + 2 * kKeyBytes * kMostRounds + kSealBytes;

PayloadWriter Begin(Kind kind, const Header& header) {
  PayloadWriter out;
  out.Raw(kMagic);
  out.U8(kVersion);
  out.U8(static_cast<uint8_t>(kind));
  out.String(header.run);
  out.I64(header.epoch);
  return out;
}

PayloadReader Open(absl::string_view bytes, Kind kind, const char* what, Header* header) {
  PayloadReader in(bytes, what);
  if (in.Raw(kMagic.size()) != kMagic) in.Fail("not a message of secure aggregation");
  if (in.ok() && in.U8() != kVersion) in.Fail("of a version that is not known here");
  if (in.ok() && in.U8() != static_cast<uint8_t>(kind)) in.Fail("another message");
  header->run = in.String(kMostName);
  header->epoch = in.NotNegative();
  return in;
}

bool Flag(PayloadReader& in) {
  const uint8_t flag = in.U8();
  if (flag > 1) in.Fail("a flag that is neither 0 nor 1");
  return flag == 1;
}

void WriteSealed(PayloadWriter& out, const SealedShares& shares) {
  out.U32(shares.site);
  out.String(shares.sealed);
  out.U32(static_cast<uint32_t>(shares.tags.size()));
  for (const Tag& tag : shares.tags) out.Fixed(tag);
}

SealedShares ReadSealed(PayloadReader& in) {
  SealedShares shares;
  shares.site = in.U32(kMostSites - 1);
  shares.sealed = in.String(kMostSealed);
  shares.tags.resize(in.Count(2 * kMostRounds, kTagBytes));
  for (Tag& tag : shares.tags) in.Fixed(tag);
  return shares;
}

// Positions and names go up, so that the same content has one encoding.
template <typename T>
void Ascending(PayloadReader& in, bool first, const T& before, const T& now) {
  if (!first && in.ok() && !(before < now)) in.Fail("sites out of order");
}

absl::Status Done(PayloadReader& in) { return in.Finish(); }

}  // namespace

std::string Keys::SignedPart() const {
  PayloadWriter out = Begin(Kind::kKeys, header);
  out.String(site);
  out.Fixed(channel);
  out.Fixed(signing);
  out.Fixed(nonce);
  out.U32(static_cast<uint32_t>(mask_keys.size()));
  for (size_t i = 0; i < mask_keys.size(); ++i) {
    out.Fixed(mask_keys[i]);
    out.Fixed(seeds[i]);
  }
  out.String(certificate);
  return out.Take();
}

std::string Keys::Encode() const {
  PayloadWriter out;
  out.Raw(SignedPart());
  out.String(signature);
  return out.Take();
}

absl::StatusOr<Keys> DecodeKeys(absl::string_view bytes) {
  Keys keys;
  PayloadReader in = Open(bytes, Kind::kKeys, "keys", &keys.header);
  keys.site = in.String(kMostName);
  in.Fixed(keys.channel);
  in.Fixed(keys.signing);
  in.Fixed(keys.nonce);
  const uint32_t rounds = in.Count(kMostRounds, 2 * kKeyBytes);
  keys.mask_keys.resize(rounds);
  keys.seeds.resize(rounds);
  for (uint32_t i = 0; i < rounds; ++i) {
    in.Fixed(keys.mask_keys[i]);
    in.Fixed(keys.seeds[i]);
  }
  keys.certificate = in.String(kMostCertificate);
  keys.signature = in.String(kMostIdentitySignature);
  if (keys.site.empty()) in.Fail("a site without a name");
  if (rounds == 0) in.Fail("no round");
  DS_RETURN_IF_ERROR(Done(in));
  return keys;
}

std::string RosterMessage::Encode() const {
  PayloadWriter out = Begin(Kind::kRoster, header);
  out.U32(threshold);
  out.U32(colluders);
  out.U32(static_cast<uint32_t>(keys.size()));
  for (const std::string& one : keys) out.String(one);
  return out.Take();
}

absl::StatusOr<RosterMessage> DecodeRoster(absl::string_view bytes) {
  RosterMessage roster;
  PayloadReader in = Open(bytes, Kind::kRoster, "roster", &roster.header);
  roster.threshold = in.U32(kMostSites);
  roster.colluders = in.U32(kMostSites);
  const uint32_t count = in.Count(kMostSites, 4);
  for (uint32_t i = 0; i < count && in.ok(); ++i) roster.keys.push_back(in.String(kMostKeysBytes));
  DS_RETURN_IF_ERROR(Done(in));
  return roster;
}

std::string Opening::Encode() const {
  PayloadWriter out = Begin(Kind::kOpening, header);
  out.Fixed(roster);
  out.Fixed(nonce);
  return out.Take();
}

absl::StatusOr<Opening> DecodeOpening(absl::string_view bytes) {
  Opening opening;
  PayloadReader in = Open(bytes, Kind::kOpening, "opening", &opening.header);
  in.Fixed(opening.roster);
  in.Fixed(opening.nonce);
  DS_RETURN_IF_ERROR(Done(in));
  return opening;
}

std::string Openings::Encode() const {
  PayloadWriter out = Begin(Kind::kOpenings, header);
  out.Fixed(roster);
  out.U32(static_cast<uint32_t>(nonces.size()));
  for (const Bytes32& nonce : nonces) out.Fixed(nonce);
  return out.Take();
}

absl::StatusOr<Openings> DecodeOpenings(absl::string_view bytes) {
  Openings openings;
  PayloadReader in = Open(bytes, Kind::kOpenings, "openings", &openings.header);
  in.Fixed(openings.roster);
  openings.nonces.resize(in.Count(kMostSites, kKeyBytes));
  for (Bytes32& nonce : openings.nonces) in.Fixed(nonce);
  DS_RETURN_IF_ERROR(Done(in));
  return openings;
}

std::string Shares::Encode() const {
  PayloadWriter out = Begin(Kind::kShares, header);
  out.Fixed(setup);
  out.Fixed(signature);
  out.U32(static_cast<uint32_t>(entries.size()));
  for (const SealedShares& entry : entries) WriteSealed(out, entry);
  return out.Take();
}

absl::StatusOr<Shares> DecodeShares(absl::string_view bytes) {
  Shares shares;
  PayloadReader in = Open(bytes, Kind::kShares, "shares", &shares.header);
  in.Fixed(shares.setup);
  in.Fixed(shares.signature);
  const uint32_t count = in.Count(kMostSites, 12);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    shares.entries.push_back(ReadSealed(in));
    Ascending(in, i == 0, i == 0 ? 0 : shares.entries[i - 1].site, shares.entries[i].site);
  }
  DS_RETURN_IF_ERROR(Done(in));
  return shares;
}

std::string Inbox::Encode() const {
  PayloadWriter out = Begin(Kind::kInbox, header);
  out.Fixed(setup);
  out.U32(static_cast<uint32_t>(participants.size()));
  out.Bits(participants);
  out.U32(static_cast<uint32_t>(entries.size()));
  for (const auto& [shares, signature] : entries) {
    out.Fixed(signature);
    WriteSealed(out, shares);
  }
  return out.Take();
}

absl::StatusOr<Inbox> DecodeInbox(absl::string_view bytes) {
  Inbox inbox;
  PayloadReader in = Open(bytes, Kind::kInbox, "inbox", &inbox.header);
  in.Fixed(inbox.setup);
  inbox.participants = in.Bits(in.U32(kMostSites));
  const uint32_t count = in.Count(kMostSites, kSignatureBytes + 12);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Signature signature{};
    in.Fixed(signature);
    inbox.entries.emplace_back(ReadSealed(in), signature);
    Ascending(in, i == 0, i == 0 ? 0 : inbox.entries[i - 1].first.site,
              inbox.entries[i].first.site);
  }
  DS_RETURN_IF_ERROR(Done(in));
  return inbox;
}

std::string Note::Encode() const {
  PayloadWriter out = Begin(Kind::kNote, header);
  out.I64(round);
  out.Fixed(survivors);
  out.Fixed(signature);
  return out.Take();
}

absl::StatusOr<Note> DecodeNote(absl::string_view bytes) {
  Note note;
  PayloadReader in = Open(bytes, Kind::kNote, "note", &note.header);
  note.round = in.NotNegative();
  in.Fixed(note.survivors);
  in.Fixed(note.signature);
  DS_RETURN_IF_ERROR(Done(in));
  return note;
}

namespace {

void WritePrevious(PayloadWriter& out, const Previous& previous) {
  out.I64(previous.epoch);
  out.I64(previous.round);
  out.Fixed(previous.survivors);
  out.U32(static_cast<uint32_t>(previous.sites.size()));
  for (const Previous::Entry& entry : previous.sites) {
    out.String(entry.site);
    out.U8(entry.answered ? 1 : 0);
    out.U8(entry.noted ? 1 : 0);
    if (entry.noted) out.Fixed(entry.signature);
  }
}

Previous ReadPrevious(PayloadReader& in) {
  Previous previous;
  previous.epoch = in.NotNegative();
  previous.round = in.NotNegative();
  in.Fixed(previous.survivors);
  const uint32_t count = in.Count(kMostSites, 6);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Previous::Entry entry;
    entry.site = in.String(kMostName);
    entry.answered = Flag(in);
    entry.noted = Flag(in);
    if (entry.noted) in.Fixed(entry.signature);
    previous.sites.push_back(std::move(entry));
    Ascending(in, i == 0, i == 0 ? "" : previous.sites[i - 1].site, previous.sites[i].site);
  }
  return previous;
}

}  // namespace

std::string Survivors::Encode() const {
  PayloadWriter out = Begin(Kind::kSurvivors, header);
  out.I64(round);
  out.U32(index);
  out.Fixed(transcript);
  out.U32(static_cast<uint32_t>(survivors.size()));
  out.Bits(survivors);
  out.U8(has_previous ? 1 : 0);
  if (has_previous) WritePrevious(out, previous);
  out.U32(static_cast<uint32_t>(echoes.size()));
  for (const auto& [site, signature] : echoes) {
    out.U32(site);
    out.Fixed(signature);
  }
  return out.Take();
}

absl::StatusOr<Survivors> DecodeSurvivors(absl::string_view bytes) {
  Survivors survivors;
  PayloadReader in = Open(bytes, Kind::kSurvivors, "survivors", &survivors.header);
  survivors.round = in.NotNegative();
  survivors.index = in.U32(kMostRounds - 1);
  in.Fixed(survivors.transcript);
  survivors.survivors = in.Bits(in.U32(kMostSites));
  survivors.has_previous = Flag(in);
  if (survivors.has_previous) survivors.previous = ReadPrevious(in);
  const uint32_t count = in.Count(kMostSites, 4 + kSignatureBytes);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    auto& [site, signature] = survivors.echoes.emplace_back();
    site = in.U32(kMostSites - 1);
    in.Fixed(signature);
    Ascending(in, i == 0, i == 0 ? 0 : survivors.echoes[i - 1].first, site);
  }
  DS_RETURN_IF_ERROR(Done(in));
  return survivors;
}

std::string Echo::Encode() const {
  PayloadWriter out = Begin(Kind::kEcho, header);
  out.I64(round);
  out.Fixed(survivors);
  out.Fixed(signature);
  return out.Take();
}

absl::StatusOr<Echo> DecodeEcho(absl::string_view bytes) {
  Echo echo;
  PayloadReader in = Open(bytes, Kind::kEcho, "echo", &echo.header);
  echo.round = in.NotNegative();
  in.Fixed(echo.survivors);
  in.Fixed(echo.signature);
  DS_RETURN_IF_ERROR(Done(in));
  return echo;
}

std::string Answer::Encode() const {
  PayloadWriter out = Begin(Kind::kAnswer, header);
  out.I64(round);
  out.Fixed(survivors);
  out.U32(static_cast<uint32_t>(entries.size()));
  for (const Entry& entry : entries) {
    out.U32(entry.owner);
    out.U8(entry.has ? 1 : 0);
    if (entry.has) out.Fixed(entry.share);
  }
  return out.Take();
}

absl::StatusOr<Answer> DecodeAnswer(absl::string_view bytes) {
  Answer answer;
  PayloadReader in = Open(bytes, Kind::kAnswer, "answer", &answer.header);
  answer.round = in.NotNegative();
  in.Fixed(answer.survivors);
  const uint32_t count = in.Count(kMostSites, 5);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Answer::Entry entry;
    entry.owner = in.U32(kMostSites - 1);
    entry.has = Flag(in);
    if (entry.has) in.Fixed(entry.share);
    answer.entries.push_back(entry);
    Ascending(in, i == 0, i == 0 ? 0 : answer.entries[i - 1].owner, entry.owner);
  }
  DS_RETURN_IF_ERROR(Done(in));
  return answer;
}

absl::StatusOr<Kind> KindOf(absl::string_view bytes) {
  PayloadReader in(bytes, "payload");
  if (in.Raw(kMagic.size()) != kMagic) in.Fail("not a message of secure aggregation");
  if (in.ok() && in.U8() != kVersion) in.Fail("of a version that is not known here");
  const uint8_t kind = in.U8();
  if (in.ok() && (kind < 1 || kind > static_cast<uint8_t>(Kind::kNote))) in.Fail("of no kind");
  if (!in.ok()) return in.Finish();
  return static_cast<Kind>(kind);
}

}  // namespace ds::federated::secure
