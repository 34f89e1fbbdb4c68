// PowerSGD (Vogels, Karimireddy, Jaggi, "PowerSGD: practical low-rank gradient compression",
// NeurIPS 2019): one step of subspace iteration a training step. With M the gradient as a matrix
// [d0, rest] and Q from the step before: P = M Q, summed over the ranks and orthonormalised; Q =
// M^T P, summed; the result is P Q^T. A rank's residual is what its own P (M^T P)^T leaves of its
// M. Tensors without a shape of two dimensions, and those that it would not make smaller, travel in
// fp32.
//
// Both sums are plain all-reduces in rank order: replicas are identical bit for bit.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/error_feedback.h"
#include "comm/compress/gradient_compressor.h"
#include "comm/compress/gradient_segment.h"
#include "comm/compress/low_rank.h"

namespace ds {

struct PowerSgdOptions {
  int rank = 4;               // columns of P and Q, at least 1
  double least_saving = 2.0;  // a tensor is approximated if it has so many times more values than
                              // its factors; at least 1
  bool error_feedback = true;
  uint64_t seed = 0;  // of the first Q; the same on every rank
};

class PowerSgd final : public GradientCompressor {
 public:
  // Segments must be whole tensors: InvalidArgument for one with a shape whose product is not its
  // count, or that starts at another element than 0. Codecs are ignored. `communicator` and the
  // memory stay the caller's.
  static absl::StatusOr<std::unique_ptr<PowerSgd>> Create(Communicator* communicator,
                                                          std::vector<GradientBucket> buckets,
                                                          PowerSgdOptions options);

  int buckets() const override { return static_cast<int>(buckets_.size()); }
  void BeginStep(const CompressorStep& step) override;
  void Encode(int bucket) override;
  absl::Status Exchange(int bucket) override;
  std::string NotFinite(int bucket) const override {
    return FirstNotBelow(buckets_[static_cast<size_t>(bucket)].segments, step_.limit);
  }
  void EndStep(bool commit) override;
  int64_t PredictedWireBytes(int bucket) const override;
  CompressorState ExportState() const override;
  absl::Status ImportState(const CompressorState& state) override;

 private:
  struct Matrix {
    size_t segment = 0;
    LowRankShape shape;
    int residual = -1;     // in feedback_
    size_t p_begin = 0;    // in the bucket's `first`
    size_t q_begin = 0;    // in the bucket's `second`
    std::vector<float> q;  // of the last committed step
  };
  struct Bucket {
    GradientBucket segments;
    std::vector<Matrix> matrices;
    std::vector<size_t> raw;    // segments that travel in fp32
    std::vector<float> first;   // every P, then the raw values
    std::vector<float> second;  // every Q
    bool encoded = false;
    bool exchanged = false;
  };

  PowerSgd(Communicator* communicator, PowerSgdOptions options)
      : communicator_(communicator), options_(options) {}
  absl::Status Add(GradientBucket segments);
  LowRankShape ShapeOf(const GradientSegment& segment) const;
  // Columns of Q that are zero (at the start all are) are drawn anew: they would stay zero for
  // ever.
  void Reseed(const GradientSegment& segment, Matrix& matrix) const;
  void PassThrough(Bucket& bucket);
  absl::Span<float> P(Bucket& bucket, const Matrix& matrix) const;
  absl::Span<float> Q(Bucket& bucket, const Matrix& matrix) const;
  void Finish(Bucket& bucket);

  Communicator* const communicator_;
  const PowerSgdOptions options_;
  std::vector<Bucket> buckets_;
  ErrorFeedback feedback_;
  CompressorStep step_;
};

}  // namespace ds
