// The aggregator's memory for ten million parameters: the weights, a sum, and little more, however
// many sites there are.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "federated/strategy/registry.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

constexpr int64_t kParameters = 10'000'000;
constexpr double kLimitMib = 100;

// An update that takes no memory: all its levels are in the middle.
class Middle final : public BlobReader {
 public:
  Middle(int64_t values, int bits) : size_(PackedSize(values, bits)) {}
  int64_t size() const override { return size_; }
  absl::Status Read(int64_t /*offset*/, absl::Span<std::byte> out) const override {
    std::memset(out.data(), 0x77, out.size());
    return absl::OkStatus();
  }

 private:
  const int64_t size_;
};

// Two rounds of `sites` sites at 8 bits; peak resident memory.
double PeakMib(int sites) {
  int ends[2];
  DS_CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const ModelLayout layout = {{{.name = "a", .count = kParameters}}};
    auto model = *GlobalModel::Create(
        layout, std::vector<float>(static_cast<size_t>(kParameters), 0.1f), Options(8), 16, 1);
    const auto strategy = *MakeStrategy({});
    for (int round = 0; round < 2; ++round) {
      std::vector<UpdateBlob> updates;
      for (int site = 0; site < sites; ++site)
        updates.push_back({.digest = std::to_string(site),
                           .base_version = model->version(),
                           .packed = std::make_shared<Middle>(model->values(), 8)});
      auto published = strategy->Combine({.version = model->version() + 1,
                                          .shape = &model->shape(),
                                          .update_bits = 8,
                                          .modulus_bits = model->modulus_bits(),
                                          .updates = updates});
      DS_CHECK(published.ok()) << published.status();
      DS_CHECK(!published->Encode().empty());
      DS_CHECK(model->Advance(*published, nullptr, nullptr).ok());
      DS_CHECK(!model->digest().empty());
    }
    struct rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    const double mib = static_cast<double>(usage.ru_maxrss) / 1024;
    _exit(write(ends[1], &mib, sizeof(mib)) == sizeof(mib) ? 0 : 1);
  }
  close(ends[1]);
  double mib = 0;
  EXPECT_EQ(read(ends[0], &mib, sizeof(mib)), static_cast<ssize_t>(sizeof(mib)));
  close(ends[0]);
  int status = 0;
  DS_CHECK(waitpid(child, &status, 0) == child);
  return mib;
}

TEST(FederatedResidentTest, TenMillionParametersTakeAHundredMebibytes) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory is counted too";
  const double four = PeakMib(4), sixteen = PeakMib(16);
  std::printf("4 sites: %.0f MiB, 16 sites: %.0f MiB\n", four, sixteen);
  EXPECT_LT(four, kLimitMib);
  EXPECT_LT(sixteen, kLimitMib);
}

}  // namespace
}  // namespace ds::federated
