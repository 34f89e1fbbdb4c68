#include "federated/secure/site/survivors_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds::federated::secure {
namespace {

absl::Status Wrong(const RoundRecord& record, absl::string_view what) {
  return absl::PermissionDeniedError(absl::StrCat("the aggregator of run ", record.round.run,
                                                  ", round ", record.round.round, ": ", what));
}

// Every note that is there is its site's, of the list that the message names.
absl::Status VerifyNotes(const AgentEpoch& then, const RoundRecord& record,
                         const Previous& previous) {
  const Header header{record.round.run, previous.epoch};
  const std::string message = NoteToSign(header, previous.round, previous.survivors);
  for (const Previous::Entry& entry : previous.sites) {
    const int position = then.setup().PositionOf(entry.site);
    if (position < 0)
      return Wrong(record, absl::StrCat("it says that ", entry.site, " answered round ",
                                        previous.round, " of a roster that it was not on"));
    // Above 255 sites each looks at its neighbours; together they look at all.
    if (!entry.noted || !then.setup().neighbours().Adjacent(then.position(), position)) continue;
    if (Ed25519Verify(then.setup().member(position).signing, message, entry.signature)) continue;
    return Wrong(record, absl::StrCat("what ", entry.site, " signed about the survivors of round ",
                                      previous.round,
                                      " is not the list that it is shown for: "
                                      "different sites were given different lists"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckList(const AgentEpoch& epoch, const RoundRecord& record,
                       const Survivors& survivors) {
  const SecureRound& round = record.round;
  if (survivors.header.run != round.run || survivors.header.epoch != round.epoch ||
      survivors.round != round.round || survivors.index != round.index)
    return Wrong(record, "its survivors are of another round or set-up");
  if (survivors.transcript != record.transcript)
    return Wrong(record,
                 "its survivors are of a round with another model, roster, threshold or number of "
                 "values than this site's: other sites were given something else");
  const std::vector<bool>& in = survivors.survivors;
  if (in.size() != epoch.participants().size())
    return Wrong(record, "its survivors are of another roster");
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i] && !epoch.participants()[i])
      return Wrong(record,
                   absl::StrCat("it counts ", epoch.setup().member(static_cast<int>(i)).site,
                                " as a survivor, which takes no part"));
  }
  const int64_t count = std::count(in.begin(), in.end(), true);
  if (count < epoch.setup().threshold())
    return Wrong(record, absl::StrCat("it wants the sum of ", count, " sites, the threshold is ",
                                      epoch.setup().threshold()));
  if (in[epoch.position()] && !record.masked)
    return Wrong(record, "it counts an update of this site, which has given none in this round");
  return absl::OkStatus();
}

absl::Status CheckEchoes(const AgentEpoch& epoch, const Survivors& survivors, const Bytes32& hash) {
  const RoundRecord about{.round = {.run = survivors.header.run, .round = survivors.round}};
  const std::string message = EchoToSign(survivors.header, survivors.round, hash);
  int64_t good = 0;
  for (const auto& [site, signature] : survivors.echoes) {
    if (site >= epoch.participants().size() || !epoch.participants()[site])
      return Wrong(about, "it shows an echo of a site that takes no part");
    const Keys& keys = epoch.setup().member(static_cast<int>(site));
    if (!Ed25519Verify(keys.signing, message, signature))
      return Wrong(about, absl::StrCat("the echo of ", keys.site,
                                       " is forged or of another list: "
                                       "different sites were given different lists"));
    ++good;
  }
  if (good >= epoch.setup().threshold()) return absl::OkStatus();
  return Wrong(about, absl::StrCat("it shows ", good, " echoes of its list, ",
                                   epoch.setup().threshold(), " are needed before a share leaves"));
}

absl::Status CheckPrevious(const std::map<int64_t, std::unique_ptr<AgentEpoch>>& epochs,
                           const AgentEpoch& epoch, const RoundRecord& record,
                           const RoundRecord* last, const Survivors& survivors) {
  if (!survivors.has_previous) {
    if (last == nullptr) return absl::OkStatus();
    return Wrong(record,
                 absl::StrCat("it keeps back what the sites said of the survivors of round ",
                              last->round.round));
  }
  const Previous& previous = survivors.previous;
  if (last != nullptr && previous.round < last->round.round)
    return Wrong(record, absl::StrCat("it shows what the sites said of round ", previous.round,
                                      ", this site answered round ", last->round.round));
  const bool same = last != nullptr && previous.round == last->round.round;
  if (same && (previous.epoch != last->round.epoch || previous.survivors != last->survivors))
    return Wrong(record, absl::StrCat("this site answered for other survivors in round ",
                                      previous.round, " than the others"));
  const auto then = epochs.find(previous.epoch);
  if (then != epochs.end() && then->second->ready())
    DS_RETURN_IF_ERROR(VerifyNotes(*then->second, record, previous));
  int64_t answered = 0;
  for (const Previous::Entry& entry : previous.sites) {
    answered += entry.answered;
    if (!same && entry.noted && entry.site == epoch.setup().member(epoch.position()).site)
      return absl::DataLossError(absl::StrCat(
          "this site signed for the survivors of round ", previous.round,
          " and does not know of it: its folder was put back to an earlier state; the run must be "
          "left, since its masks may have been used"));
    const int position = epoch.setup().PositionOf(entry.site);
    if (entry.answered && !entry.noted && position >= 0 && survivors.survivors[position])
      return Wrong(record, absl::StrCat("it keeps back what ", entry.site,
                                        " said of the survivors of round ", previous.round));
  }
  // Another model since then: that round was unmasked, which takes so many answers.
  if (same && then != epochs.end() && last->round.base_digest != record.round.base_digest &&
      answered < then->second->setup().threshold())
    return Wrong(record, absl::StrCat("it says that ", answered, " sites answered round ",
                                      previous.round, ", which cannot have unmasked it"));
  return absl::OkStatus();
}

}  // namespace ds::federated::secure
