#include "comm/compress/power_sgd.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/random.h"
#include "base/status.h"
#include "comm/exchange_collectives.h"

namespace ds {

absl::StatusOr<std::unique_ptr<PowerSgd>> PowerSgd::Create(Communicator* communicator,
                                                           std::vector<GradientBucket> buckets,
                                                           PowerSgdOptions options) {
  if (options.rank < 1 || !(options.least_saving >= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("PowerSGD with rank ", options.rank,
                                                   " and a least saving of ", options.least_saving,
                                                   "; both are at least 1"));
  }
  auto made = std::unique_ptr<PowerSgd>(new PowerSgd(communicator, options));
  for (GradientBucket& bucket : buckets) DS_RETURN_IF_ERROR(made->Add(std::move(bucket)));
  if (communicator->size() > 1) made->feedback_.Allocate();
  return made;
}

LowRankShape PowerSgd::ShapeOf(const GradientSegment& segment) const {
  if (segment.shape.size() < 2 || segment.count() == 0) return {};
  LowRankShape shape = {segment.shape[0], segment.count() / segment.shape[0], 0};
  const int64_t rank = std::min({int64_t{options_.rank}, shape.rows, shape.columns});
  const double factors = static_cast<double>((shape.rows + shape.columns) * rank);
  if (static_cast<double>(segment.count()) >= options_.least_saving * factors)
    shape.rank = static_cast<int>(rank);
  return shape;
}

absl::Status PowerSgd::Add(GradientBucket segments) {
  Bucket& bucket = buckets_.emplace_back();
  size_t first = 0, second = 0, raw = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const GradientSegment& segment = segments[s];
    int64_t product = 1;
    for (const int64_t extent : segment.shape) product *= extent;
    if (segment.first_element != 0 || (!segment.shape.empty() && product != segment.count())) {
      return absl::InvalidArgumentError(
          absl::StrCat(segment.name, ": PowerSGD takes whole tensors, not a part of one"));
    }
    const LowRankShape shape = ShapeOf(segment);
    if (shape.rank == 0) {
      bucket.raw.push_back(s);
      raw += segment.values.size();
      continue;
    }
    Matrix& matrix = bucket.matrices.emplace_back();
    matrix = {s, shape, -1, first, second, std::vector<float>(shape.q_size())};
    if (options_.error_feedback)
      matrix.residual = feedback_.Add(kWorkerResidual, segment.name, 0, segment.count());
    Reseed(segment, matrix);
    first += shape.p_size();
    second += shape.q_size();
  }
  bucket.first.resize(first + raw);
  bucket.second.resize(second);
  bucket.segments = std::move(segments);
  return absl::OkStatus();
}

void PowerSgd::Reseed(const GradientSegment& segment, Matrix& matrix) const {
  const size_t length = static_cast<size_t>(matrix.shape.columns);
  for (int k = 0; k < matrix.shape.rank; ++k) {
    const absl::Span<float> column =
        absl::MakeSpan(matrix.q).subspan(static_cast<size_t>(k) * length, length);
    if (std::any_of(column.begin(), column.end(), [](float value) { return value != 0; })) continue;
    CounterRandom random(options_.seed, segment.id(), static_cast<uint32_t>(k));
    for (float& value : column) value = static_cast<float>(random.NextNormal());
  }
}

void PowerSgd::BeginStep(const CompressorStep& step) {
  step_ = step;
  for (Bucket& bucket : buckets_) bucket.encoded = bucket.exchanged = false;
}

absl::Span<float> PowerSgd::P(Bucket& bucket, const Matrix& matrix) const {
  return absl::MakeSpan(bucket.first).subspan(matrix.p_begin, matrix.shape.p_size());
}

absl::Span<float> PowerSgd::Q(Bucket& bucket, const Matrix& matrix) const {
  return absl::MakeSpan(bucket.second).subspan(matrix.q_begin, matrix.shape.q_size());
}

void PowerSgd::Encode(int index) {
  Bucket& bucket = buckets_[static_cast<size_t>(index)];
  DS_CHECK(!bucket.encoded) << "bucket " << index << " is encoded twice in one step";
  bucket.encoded = true;
  if (communicator_->size() == 1) return;
  for (const Matrix& matrix : bucket.matrices) {
    const absl::Span<float> values = bucket.segments[matrix.segment].values;
    ScaleAndAdd(
        step_.scale,
        matrix.residual < 0 ? absl::Span<const float>() : feedback_.current(matrix.residual),
        values);
    MultiplyRight(matrix.shape, values, matrix.q, P(bucket, matrix));
  }
  auto raw = bucket.first.end();
  for (auto s = bucket.raw.rbegin(); s != bucket.raw.rend(); ++s) {
    const absl::Span<const float> values = bucket.segments[*s].values;
    raw = std::copy_backward(values.begin(), values.end(), raw);
  }
}

void PowerSgd::PassThrough(Bucket& bucket) {
  for (const GradientSegment& segment : bucket.segments) {
    for (float& value : segment.values) value *= step_.scale;
  }
  for (const Matrix& matrix : bucket.matrices) {
    if (matrix.residual < 0 || feedback_.pending(matrix.residual).empty()) continue;
    ScaleAndAdd(1.0f, feedback_.current(matrix.residual), bucket.segments[matrix.segment].values);
    const absl::Span<float> pending = feedback_.pending(matrix.residual);
    std::fill(pending.begin(), pending.end(), 0.0f);
  }
}

absl::Status PowerSgd::Exchange(int index) {
  Bucket& bucket = buckets_[static_cast<size_t>(index)];
  DS_CHECK(!bucket.exchanged) << "bucket " << index << " is exchanged twice in one step";
  if (!bucket.encoded) Encode(index);
  bucket.exchanged = true;
  if (communicator_->size() == 1) {
    PassThrough(bucket);
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(
      communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(bucket.first)), ReduceOp::kSum));
  for (const Matrix& matrix : bucket.matrices) {
    const absl::Span<float> p = P(bucket, matrix), q = Q(bucket, matrix);
    const absl::Span<float> values = bucket.segments[matrix.segment].values;
    Orthonormalise(p, matrix.shape.rows, matrix.shape.rank);
    MultiplyLeft(matrix.shape, values, p, q);
    if (matrix.residual < 0) continue;
    const absl::Span<float> pending = feedback_.pending(matrix.residual);
    OuterProduct(matrix.shape, p, q, pending);
    SubtractFrom(values, pending);
  }
  DS_RETURN_IF_ERROR(
      communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(bucket.second)), ReduceOp::kSum));
  Finish(bucket);
  return absl::OkStatus();
}

void PowerSgd::Finish(Bucket& bucket) {
  for (const Matrix& matrix : bucket.matrices) {
    OuterProduct(matrix.shape, P(bucket, matrix), Q(bucket, matrix),
                 bucket.segments[matrix.segment].values);
  }
  auto raw = bucket.first.end();
  for (auto s = bucket.raw.rbegin(); s != bucket.raw.rend(); ++s) {
    const absl::Span<float> values = bucket.segments[*s].values;
    raw -= static_cast<std::ptrdiff_t>(values.size());
    std::transform(raw, raw + static_cast<std::ptrdiff_t>(values.size()), values.begin(),
                   [this](float sum) { return sum * step_.scale; });
  }
}

void PowerSgd::EndStep(bool commit) {
  if (!commit) return;
  for (Bucket& bucket : buckets_) {
    DS_CHECK(bucket.exchanged) << "a step is committed whose buckets were not all exchanged";
    if (communicator_->size() == 1) continue;
    for (Matrix& matrix : bucket.matrices) {
      const absl::Span<const float> q = Q(bucket, matrix);
      matrix.q.assign(q.begin(), q.end());
      Reseed(bucket.segments[matrix.segment], matrix);
    }
  }
  feedback_.Commit();
}

int64_t PowerSgd::PredictedWireBytes(int bucket) const {
  const Bucket& b = buckets_[static_cast<size_t>(bucket)];
  const int ranks = communicator_->size(), me = communicator_->rank();
  return AllReduceWireBytes(static_cast<int64_t>(b.first.size()), sizeof(float), ranks, me) +
         AllReduceWireBytes(static_cast<int64_t>(b.second.size()), sizeof(float), ranks, me);
}

CompressorState PowerSgd::ExportState() const {
  CompressorState state;
  feedback_.Export(state);
  for (const Bucket& bucket : buckets_) {
    for (const Matrix& matrix : bucket.matrices)
      state[StateKey(kFactor, bucket.segments[matrix.segment].name, 0)] = matrix.q;
  }
  return state;
}

absl::Status PowerSgd::ImportState(const CompressorState& state) {
  for (Bucket& bucket : buckets_) {
    for (Matrix& matrix : bucket.matrices) {
      const auto found = state.find(StateKey(kFactor, bucket.segments[matrix.segment].name, 0));
      // Factors of another rank (as in the rank of a matrix) are no warm start.
      if (found != state.end() && found->second.size() == matrix.q.size()) matrix.q = found->second;
    }
  }
  return feedback_.Import(state);
}

}  // namespace ds
