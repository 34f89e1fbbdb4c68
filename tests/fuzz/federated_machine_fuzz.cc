// Bytes as a run: each says what happens next, a record that may or may not follow, a site that
// comes or goes, or time. Whatever they are, the run keeps its rules and its log can be read again.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "federated/round/round_machine.h"

namespace ds::federated {
namespace {

class FuzzedRun {
 public:
  FuzzedRun(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  void Run() {
    Start();
    while (at_ < size_) {
      Happen();
      // A few at most: a decision may lead to the next.
      for (int i = 0; i < 8; ++i) {
        const Decision decision = machine_.Decide(now_, present_);
        if (decision.fix_model) {
          Must(ModelFixed{1, 8, std::string(64, 'a'), 5, 4, 8});
        } else if (decision.record) {
          Must(*decision.record);
        } else {
          break;
        }
      }
    }
    RoundMachine again;
    for (const Record& record : log_) DS_CHECK(again.Apply(record).ok());
    DS_CHECK(again.version() == machine_.version() && again.stage() == machine_.stage());
    DS_CHECK(again.updates().size() == machine_.updates().size());
    DS_CHECK(again.setup().epoch == machine_.setup().epoch);
    DS_CHECK(again.next_setup().epoch == machine_.next_setup().epoch);
    DS_CHECK(again.next_setup().step == machine_.next_setup().step);
    DS_CHECK(again.next_setup().gave == machine_.next_setup().gave);
  }

 private:
  int Byte() { return at_ < size_ ? data_[at_++] : 0; }
  std::string Site() { return absl::StrCat("site-", Byte() % 6); }
  std::vector<std::string> Sites() {
    std::vector<std::string> sites;
    for (int bits = Byte(), i = 0; i < 6; ++i) {
      if (bits >> i & 1) sites.push_back(absl::StrCat("site-", i));
    }
    return sites;
  }
  int64_t Near(int64_t value) { return value + Byte() % 3 - 1; }
  // Of the set-up under way, or another one.
  int64_t Epoch() {
    const SetupState& next = machine_.next_setup();
    return next.under_way() ? next.epoch : machine_.setup().epoch;
  }
  BlobRef Blob() { return {.digest = std::string(64, 'b'), .size = Byte()}; }

  void Start() {
    RunOffer offer{.run = "run", .model = std::string(64, 'c')};
    RoundOptions& round = offer.options.round;
    round.rounds = 1 + Byte() % 4;
    round.minimum = 1 + Byte() % 4;
    round.wait_for = Byte() % 5;
    round.goal = Byte() % 5;
    round.spare = Byte() % 2;
    round.sample = (1 + Byte() % 4) / 4.0;
    const char* modes[] = {"off", "on", "strict"};
    offer.options.secure.mode = modes[Byte() % 3];
    offer.options.secure.rounds_a_setup = 1 + Byte() % 3;
    if (Byte() % 4 == 0) offer.options.strategy.name = "fedbuff";
    offer.options.strategy.buffer = 1 + Byte() % 3;
    offer.options.strategy.max_staleness = Byte() % 4;
    Must(RunStarted{offer});
  }

  void Happen() {
    const RoundState& round = machine_.round();
    switch (Byte() % 16) {
      case 0:
        present_.insert(Site());
        return Try(SiteJoined{Site(), Byte()});
      case 1:
        present_.erase(Site());
        return;
      case 2:
        now_ += absl::Seconds(Byte() * 10);
        return;
      case 3:
        return Try(SetupStarted{Near(Epoch()), Sites()});
      case 4:
        return Try(KeysClosed{Epoch(), Sites(), Byte() % 8});
      case 5:
        return Try(SharesClosed{Epoch(), Sites()});
      case 6:
        return Try(SetupAbandoned{Epoch(), "why", Sites()});
      case 7:
        return Try(SurvivorsFixed{Near(round.round), Sites()});
      case 8:
        return Try(Byte() % 2 ? Record(AnswersClosed{round.round})
                              : Record(EchoesClosed{round.round}));
      case 9:
        return Try(RoundPublished{Near(round.round), machine_.version() + Byte() % 3, Blob(),
                                  std::string(64, 'd')});
      case 10:
        return Try(RoundAbandoned{Near(round.round), "why", Sites()});
      case 11:
        if (Byte() < 16) return Try(StopAsked{"stop"});
        return Try(SharesAskedAgain{Epoch()});
      case 12:
        if (Byte() < 4) return Try(RunEnded{static_cast<EndState>(Byte() % 5), "end"});
        return Try(PrivacyCharged{round.round, "{}"});
      case 13: {
        const auto step = static_cast<SecureStep>(Byte() % 4);
        const bool of_round = step == SecureStep::kEcho || step == SecureStep::kAnswer;
        const int64_t epoch = of_round ? machine_.setup().epoch : Epoch();
        return Try(SecureGiven{step, epoch, of_round ? round.round : -1, Site(), Blob()});
      }
      default: {
        const std::string site = Site();
        const int64_t number = machine_.asynchronous() ? machine_.NextUpdateOf(site) : round.round;
        return Try(UpdateCommitted{number, site, round.base_version, Blob(), {}});
      }
    }
  }

  void Must(const Record& record) {
    const absl::Status applied = machine_.Apply(record);
    DS_CHECK(applied.ok()) << RecordName(record) << ": " << applied;
    Note(record);
  }
  void Try(const Record& record) {
    if (machine_.Apply(record).ok()) Note(record);
  }
  // The rules that no sequence of records may break.
  void Note(const Record& record) {
    log_.push_back(record);
    DS_CHECK(!machine_.next_setup().under_way() || !machine_.setup().under_way())
        << "two set-ups under way";
    if (const auto* fixed = std::get_if<SurvivorsFixed>(&record)) {
      DS_CHECK(survivors_.insert(fixed->round).second) << "two survivor sets";
    } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
      DS_CHECK(updates_.emplace(update->site, update->round).second) << "counted twice";
      waiting_.push_back(update->base_version);
    } else if (const auto* plan = std::get_if<RoundPlanned>(&record)) {
      DS_CHECK(plan->secure_epoch < 0 ||
               masks_.emplace(plan->secure_epoch, plan->secure_index).second)
          << "masks used twice";
    } else if (const auto* published = std::get_if<RoundPublished>(&record)) {
      DS_CHECK(published->version == ++version_) << "versions grow by one";
      DS_CHECK(survivors_.contains(published->round)) << "published without survivors";
      for (int64_t i = 0; machine_.asynchronous() && i < machine_.options().strategy.buffer; ++i) {
        DS_CHECK(version_ - 1 - waiting_.front() <= machine_.options().strategy.max_staleness)
            << "a sum that no site can add";
        waiting_.pop_front();
      }
    }
  }

  const uint8_t* data_;
  const size_t size_;
  size_t at_ = 0;
  RoundMachine machine_;
  std::set<std::string> present_;
  absl::Duration now_;
  std::vector<Record> log_;
  std::set<int64_t> survivors_;
  std::set<std::pair<std::string, int64_t>> updates_;
  std::set<std::pair<int64_t, int64_t>> masks_;
  std::deque<int64_t> waiting_;  // base versions, in the order of the commits
  int64_t version_ = 0;
};

}  // namespace
}  // namespace ds::federated

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ds::federated::FuzzedRun(data, size).Run();
  return 0;
}
