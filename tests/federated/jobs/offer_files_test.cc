// The offer of a run: made once, the same after a restart, refused where options changed.
#include "federated/jobs/offer_files.h"

#include "base/file/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

struct OfferedRun {
  TempFolder folder;
  std::unique_ptr<Store> store = MemoryStore();
  int made = 0;

  absl::StatusOr<RunOffer> Offer(const RunOptions& options) {
    return OfferOf(
        folder.path(), "trial", options,
        [this](const std::string& model_file) -> absl::StatusOr<std::string> {
          ++made;
          if (const absl::Status written = WriteFileAtomically(model_file, "onnx"); !written.ok()) {
            return written;
          }
          return "run: {epochs: 1}\n";
        },
        *store);
  }
};

TEST(OfferFiles, ARestartOffersTheSame) {
  OfferedRun run;
  const auto first = run.Offer({});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->run.size(), 32u);
  EXPECT_EQ(first->name, "trial");
  EXPECT_EQ(first->task, "run: {epochs: 1}\n");
  run.store = MemoryStore();  // as if the power had gone before the model's blob was durable
  const auto again = run.Offer({});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->run, first->run);
  EXPECT_EQ(run.made, 1);
  EXPECT_EQ(*GetBlob(*run.store, again->model), "onnx");
}

TEST(OfferFiles, OtherOptionsAreRefused) {
  OfferedRun run;
  ASSERT_TRUE(run.Offer({}).ok());
  RunOptions options;
  options.update.bits = 3;
  const auto refused = run.Offer(options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--new"));
}

TEST(OfferFiles, DamageIsAnError) {
  OfferedRun run;
  ASSERT_TRUE(run.Offer({}).ok());
  ASSERT_TRUE(WriteFileAtomically(OfferFile(run.folder.path()), "nonsense").ok());
  EXPECT_FALSE(run.Offer({}).ok());
  EXPECT_EQ(run.made, 1);
}

}  // namespace
}  // namespace ds::federated
