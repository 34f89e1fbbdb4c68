// Any bytes as an entry of a run's log: an error, or records that are written back byte for byte;
// and any sequence of entries as a log: the machine refuses what cannot follow, and Decide always
// has something that can.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/check.h"
#include "federated/round/round_machine.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ds::federated;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  RoundMachine machine;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const auto records = DecodeRecords(line);
    if (!records.ok()) {
      DS_CHECK(!records.status().message().empty());
      continue;
    }
    DS_CHECK(EncodeRecords(*records) == line);
    for (const Record& record : *records) {
      const int64_t before = machine.records();
      const absl::Status applied = machine.Apply(record);
      DS_CHECK(machine.records() == before + applied.ok());
      std::set<std::string> present;
      for (const auto& [site, samples] : machine.joined()) present.insert(site);
      const Decision decision = machine.Decide(absl::Seconds(before), present);
      if (!decision.record) continue;
      RoundMachine next = machine;
      const absl::Status followed = next.Apply(*decision.record);
      DS_CHECK(followed.ok()) << RecordName(*decision.record) << ": " << followed;
    }
  }
  return 0;
}
