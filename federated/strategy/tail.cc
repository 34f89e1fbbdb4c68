#include "federated/strategy/tail.h"

#include <algorithm>

#include "base/status.h"
#include "federated/strategy/blocks.h"

namespace ds::federated {

absl::StatusOr<Tail> Tail::Read(const CombineRequest& request) {
  const UpdateShape& shape = *request.shape;
  Tail tail(shape, request.updates.size());
  tail.first_ = shape.coordinates / 8 * 8;
  DS_RETURN_IF_ERROR(
      VisitRows(request.updates, request.update_bits, tail.first_, shape.values(),
                [&](int64_t /*first*/, int64_t count, absl::Span<uint16_t* const> rows) {
                  for (size_t u = 0; u < rows.size(); ++u)
                    tail.rows_[u].insert(tail.rows_[u].end(), rows[u], rows[u] + count);
                }));
  return tail;
}

int64_t Tail::Number(size_t update, const DigitSection& section, int64_t index) const {
  const uint16_t* digits = rows_[update].data() + (section.first + index * section.digits - first_);
  int64_t number = 0;
  for (int digit = section.digits - 1; digit >= 0; --digit)
    number = (number << shape_->bits) + digits[digit];
  return number;
}

void Tail::Sum(Choice kept, IntegerVector& sum) const {
  std::vector<int64_t> numbers(rows_.size());
  for (const DigitSection& section : shape_->sections) {
    if (section.role == DigitRole::kMetric) {
      SumMetrics(section, sum);
      continue;
    }
    for (int64_t index = 0; index < section.count; ++index) {
      for (size_t u = 0; u < rows_.size(); ++u) numbers[u] = Number(u, section, index);
      const int64_t at = section.first + index * section.digits;
      for (const size_t u : kept(numbers)) {
        for (int digit = 0; digit < section.digits; ++digit)
          sum.Set(at + digit,
                  sum.Get(at + digit) + rows_[u][static_cast<size_t>(at + digit - first_)]);
      }
    }
  }
}

// As a number, so that no digit is above a single update's: the sum may have no bits for more.
void Tail::SumMetrics(const DigitSection& section, IntegerVector& sum) const {
  const int64_t most = (int64_t{1} << std::min(62, section.digits * shape_->bits)) - 1;
  for (int64_t index = 0; index < section.count; ++index) {
    int64_t total = 0;
    for (size_t u = 0; u < rows_.size(); ++u)
      total = std::min(most, total + std::min(most - total, Number(u, section, index)));
    WriteNumber(total, *shape_, section, index, sum);
  }
}

}  // namespace ds::federated
