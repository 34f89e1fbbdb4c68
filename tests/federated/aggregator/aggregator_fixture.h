// An aggregator in this process over a store that a test keeps.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "federated/aggregator/aggregator.h"
#include "tests/federated/aggregator/fake_site.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

// What the observer was told.
class Told : public Observer {
 public:
  void RoundEnded(const RoundReport& report) override {
    MutexLock lock(mutex_);
    rounds_.push_back(report);
  }
  void Ended(const RunReport& report, const GlobalModel* model) override {
    MutexLock lock(mutex_);
    if (model != nullptr) weights_.assign(model->weights().begin(), model->weights().end());
  }
  std::vector<RoundReport> rounds() {
    MutexLock lock(mutex_);
    return rounds_;
  }
  std::vector<float> weights() {
    MutexLock lock(mutex_);
    return weights_;
  }

 private:
  Mutex mutex_;
  std::vector<RoundReport> rounds_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> weights_ ABSL_GUARDED_BY(mutex_);
};

class AggregatorTest : public ::testing::Test {
 protected:
  AggregatorTest() {
    options_.offer = {.name = "test", .task = "{}", .model = Sha256Hex("the model's file")};
    options_.offer.options.round.rounds = 3;
    options_.offer.options.update.bits = 8;
    options_.initial = [] { return TestModel(); };
    options_.scratch = folder_.path();
    options_.observer = told_;
    options_.limits.comes_back = absl::Milliseconds(500);
  }
  RunOptions& run() { return options_.offer.options; }

  void OpenAggregator() {
    aggregator_.reset();
    auto opened = Aggregator::Open(options_, store_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    aggregator_ = *std::move(opened);
  }
  std::vector<std::unique_ptr<FakeSite>> MakeSites(int count, int64_t size = 40) {
    std::vector<std::unique_ptr<FakeSite>> sites;
    for (int i = 0; i < count; ++i) {
      sites.push_back(std::make_unique<FakeSite>(*aggregator_, absl::StrCat("site-", i), size));
    }
    return sites;
  }
  RunEnded End(absl::Duration patience = absl::Seconds(20)) {
    auto end = aggregator_->WaitForEnd(patience);
    EXPECT_TRUE(end.ok()) << end.status();
    return end.ok() ? *end : RunEnded{EndState::kRunning};
  }
  std::vector<Record> Log() {
    std::vector<Record> log;
    const absl::Status read = store_->Replay([&](int64_t, absl::string_view text) {
      auto records = DecodeRecords(text);
      if (!records.ok()) return records.status();
      log.insert(log.end(), records->begin(), records->end());
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return log;
  }

  TempFolder folder_;
  std::shared_ptr<Told> told_ = std::make_shared<Told>();
  std::shared_ptr<Store> store_ = MemoryStore();
  AggregatorOptions options_;
  std::unique_ptr<Aggregator> aggregator_;
};

}  // namespace ds::federated
