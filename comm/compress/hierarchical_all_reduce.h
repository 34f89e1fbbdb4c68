// All-reduce in two levels: full precision among the ranks of a host, where bytes are cheap, low
// bits between hosts. A bucket is cut into as many shards as the smallest host has ranks. Within a
// host, the owner of a shard adds the host's values in fp32 in rank order; the owners of the same
// shard on all hosts exchange it by CompressedAllReduce, a host being a contributor; then every
// owner hands its shard to its host. Only one host's sum crosses a slow link, once, however many
// ranks the host has.
//
// The result depends on which ranks share a host, and otherwise on what a CompressedAllReduce
// depends on, with hosts for ranks.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/compressed_all_reduce.h"

namespace ds {

class HierarchicalAllReduce final : public GradientCompressor {
 public:
  // `host`: any number >= 0 that the ranks of a host share (HostOfRank of comm/hosts.h). Hosts are
  // numbered in the order of their lowest ranks. Collective; `communicator` is used here only.
  // Errors as of CompressedAllReduce.
  static absl::StatusOr<std::unique_ptr<HierarchicalAllReduce>> Create(
      Communicator& communicator, int host, std::vector<GradientBucket> buckets,
      CompressedAllReduceOptions options);

  int hosts() const { return hosts_; }
  int host() const { return host_; }  // this rank's, as a contributor's number
  int buckets() const override { return static_cast<int>(buckets_.size()); }
  void BeginStep(const CompressorStep& step) override;
  // Does nothing: what is encoded is the host's sum, which needs communication.
  void Encode(int bucket) override {}
  absl::Status Exchange(int bucket) override;
  std::string NotFinite(int bucket) const override {
    return FirstNotBelow(buckets_[static_cast<size_t>(bucket)].segments, limit_);
  }
  void EndStep(bool commit) override;
  // Within the host and beyond it.
  int64_t PredictedWireBytes(int bucket) const override {
    return LocalWireBytes(bucket) + AcrossWireBytes(bucket);
  }
  int64_t LocalWireBytes(int bucket) const;
  int64_t AcrossWireBytes(int bucket) const;
  // Counted at the transport since the start.
  int64_t OwnBytesSent() const override { return LocalBytesSent() + AcrossBytesSent(); }
  int64_t LocalBytesSent() const { return local_->wire_stats().bytes_sent; }
  int64_t AcrossBytesSent() const {
    return across_ == nullptr ? 0 : across_->wire_stats().bytes_sent;
  }
  // Of this rank's shard; a host's contribution is the MergeStates of its ranks.
  CompressorState ExportState() const override;
  absl::Status ImportState(const CompressorState& state) override;
  // As of CompressedAllReduce. Shards stay as they were cut first; the new codecs' buckets must
  // divide the old ones'.
  absl::Status SetCodecs(const std::map<std::string, std::shared_ptr<const Codec>>& codecs);

 private:
  struct Bucket {
    GradientBucket segments;
    ExchangePlan shards;
  };

  HierarchicalAllReduce() = default;
  absl::Status Connect(Communicator& communicator, int host);
  absl::Status Plan(std::vector<GradientBucket> buckets, const CompressedAllReduceOptions& options);
  int64_t ShardValues(const Bucket& bucket, int shard) const;
  absl::Status ReduceWithinHost(Bucket& bucket);
  absl::Status GatherWithinHost(Bucket& bucket);
  bool owns_shard() const { return across_ != nullptr; }

  std::unique_ptr<Communicator> local_;
  std::unique_ptr<Communicator> across_;  // null: this rank owns no shard
  int shards_ = 1;
  int hosts_ = 1;
  int host_ = 0;
  std::vector<Bucket> buckets_;
  std::unique_ptr<CompressedAllReduce>
      compressed_;  // of this rank's shards, over across_; null with it
  std::vector<float> outbox_, inbox_;
  float limit_ = 0;  // of the step
};

}  // namespace ds
