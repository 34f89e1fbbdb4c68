#include "federated/secure/site/round_record.h"

#include "base/status.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/payload.h"

namespace ds::federated::secure {
namespace {

constexpr uint32_t kAnyLength = 0xffffffff;
constexpr size_t kAround = 1024;  // of the rest, roughly
constexpr uint8_t kMasked = 1, kEchoed = 2, kAnswered = 4;

}  // namespace

std::string RoundRecord::Encode() const {
  PayloadWriter out;
  out.Reserve(packed.size() + answer.size() + kAround);
  out.String(round.run);
  out.I64(round.epoch);
  out.I64(round.index);
  out.I64(round.round);
  out.String(round.base_digest);
  out.U32(static_cast<uint32_t>(round.bits));
  out.I64(round.values);
  out.Fixed(transcript);
  out.U8(static_cast<uint8_t>((masked ? kMasked : 0) | (echoed ? kEchoed : 0) |
                              (answered ? kAnswered : 0)));
  out.Fixed(survivors);
  out.U32(static_cast<uint32_t>(sites.size()));
  for (const std::string& site : sites) out.String(site);
  out.String(answer);
  // Last and without a length: it may be larger than a length of 4 bytes tells.
  out.Raw(packed);
  return out.Take();
}

absl::StatusOr<RoundRecord> DecodeRoundRecord(absl::string_view bytes) {
  RoundRecord record;
  PayloadReader in(bytes, "a round in the site's vault");
  record.round.run = in.String(kMostName);
  record.round.epoch = in.NotNegative();
  record.round.index = in.NotNegative();
  record.round.round = in.NotNegative();
  record.round.base_digest = in.String(kMostName);
  record.round.bits = static_cast<int>(in.U32(32));
  record.round.values = in.NotNegative();
  in.Fixed(record.transcript);
  const uint8_t flags = in.U8();
  if (flags > (kMasked | kEchoed | kAnswered)) in.Fail("flags that are not known here");
  record.masked = flags & kMasked;
  record.echoed = flags & kEchoed;
  record.answered = flags & kAnswered;
  in.Fixed(record.survivors);
  const uint32_t count = in.Count(kMostSites, 4);
  for (uint32_t i = 0; i < count && in.ok(); ++i) record.sites.push_back(in.String(kMostName));
  record.answer = in.String(kAnyLength);
  record.packed = std::string(in.Raw(in.left()));
  DS_RETURN_IF_ERROR(in.Finish());
  return record;
}

}  // namespace ds::federated::secure
