#include "federated/update/integers.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "federated/update/packing.h"

namespace ds::federated {
namespace {

constexpr int64_t kGroup = 8;  // values, which take a whole number of bytes at any bits
constexpr int64_t kUnpackedAtOnce = 4096;

// Calls f with a null pointer to the type of `width` bytes.
template <typename Function>
void ForWidth(int width, const Function& f) {
  if (width == 1) return f(static_cast<uint8_t*>(nullptr));
  if (width == 2) return f(static_cast<uint16_t*>(nullptr));
  f(static_cast<uint32_t*>(nullptr));
}

template <typename To, typename From>
void AddTo(To* to, const From* from, int64_t count, uint32_t weight, uint32_t mask) {
  for (int64_t i = 0; i < count; ++i)
    to[i] = static_cast<To>((to[i] + static_cast<uint32_t>(from[i]) * weight) & mask);
}

}  // namespace

IntegerVector::IntegerVector(int bits, int64_t count)
    : bits_(bits), width_(NaturalWidth(bits)), count_(count) {
  DS_CHECK(bits >= 1 && bits <= kMostBits && count >= 0) << bits << " bits, " << count << " values";
  bytes_.resize(static_cast<size_t>(count * width_));
}

uint32_t IntegerVector::Get(int64_t index) const {
  DS_CHECK(index >= 0 && index < count_) << index << " of " << count_;
  uint32_t value = 0;
  std::memcpy(&value, bytes_.data() + index * width_, static_cast<size_t>(width_));
  return value;
}

void IntegerVector::Set(int64_t index, uint32_t value) {
  DS_CHECK(index >= 0 && index < count_) << index << " of " << count_;
  value &= mask();
  std::memcpy(bytes_.data() + index * width_, &value, static_cast<size_t>(width_));
}

IntegerVector IntegerVector::Widen(int bits) const {
  DS_CHECK(bits >= bits_) << bits_ << " bits to " << bits;
  IntegerVector wide(bits, count_);
  ForWidth(width_, [&](auto* from) {
    ForWidth(wide.width_, [&](auto* to) {
      AddTo(reinterpret_cast<decltype(to)>(wide.bytes_.data()),
            reinterpret_cast<decltype(from)>(const_cast<std::byte*>(bytes_.data())), count_, 1,
            wide.mask());
    });
  });
  return wide;
}

void IntegerVector::Add(const IntegerVector& other) {
  DS_CHECK(bits_ == other.bits_ && count_ == other.count_)
      << bits_ << " and " << other.bits_ << " bits, " << count_ << " and " << other.count_;
  ForWidth(width_, [&](auto* type) {
    AddTo(reinterpret_cast<decltype(type)>(bytes_.data()),
          reinterpret_cast<decltype(type)>(const_cast<std::byte*>(other.bytes_.data())), count_, 1,
          mask());
  });
}

void IntegerVector::AddPacked(absl::Span<const std::byte> packed, int packed_bits, int64_t first,
                              int64_t count, uint32_t weight) {
  DS_CHECK(packed_bits <= bits_ && first >= 0 && count >= 0 && first + count <= count_)
      << first << " + " << count << " of " << count_;
  alignas(64) std::byte values[kUnpackedAtOnce * 4];
  for (int64_t done = 0; done < count; done += kUnpackedAtOnce) {
    const int64_t now = std::min(kUnpackedAtOnce, count - done);
    UnpackValues(packed.subspan(static_cast<size_t>(done / kGroup * packed_bits)), packed_bits, now,
                 values);
    ForWidth(NaturalWidth(packed_bits), [&](auto* from) {
      ForWidth(width_, [&](auto* to) {
        AddTo(reinterpret_cast<decltype(to)>(bytes_.data()) + first + done,
              reinterpret_cast<decltype(from)>(values), now, weight, mask());
      });
    });
  }
}

int64_t PackedSize(int64_t count, int bits) { return (count * bits + 7) / 8; }

void PackValues(const IntegerVector& values, int64_t first, int64_t count,
                absl::Span<std::byte> out) {
  DS_CHECK(first >= 0 && count >= 0 && first + count <= values.size() &&
           static_cast<int64_t>(out.size()) == PackedSize(count, values.bits()))
      << first << " + " << count << " of " << values.size() << " into " << out.size() << " bytes";
  BestPacking().pack[values.bits() - 1](values.bytes().data() + first * values.width(), count,
                                        out.data());
}

std::vector<std::byte> Pack(const IntegerVector& values) {
  std::vector<std::byte> out(static_cast<size_t>(PackedSize(values.size(), values.bits())));
  PackValues(values, 0, values.size(), absl::MakeSpan(out));
  return out;
}

void UnpackValues(absl::Span<const std::byte> packed, int bits, int64_t count, std::byte* out) {
  DS_CHECK(bits >= 1 && bits <= kMostBits &&
           static_cast<int64_t>(packed.size()) >= PackedSize(count, bits))
      << count << " values of " << bits << " bits in " << packed.size() << " bytes";
  BestPacking().unpack[bits - 1](packed.data(), count, out);
}

absl::Status CheckPackedEnd(absl::Span<const std::byte> packed, int bits, int64_t count) {
  const int used = static_cast<int>(count * bits % 8);
  if (used == 0 || packed.empty() || std::to_integer<int>(packed.back()) >> used == 0)
    return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("bits are set behind the last of ", count, " values of ",
                                          bits, " bits: these are not packed integers"));
}

absl::StatusOr<IntegerVector> Unpack(absl::Span<const std::byte> packed, int bits, int64_t count) {
  if (bits < 1 || bits > kMostBits || count < 0 || count > INT64_MAX / kMostBits - 7 ||
      static_cast<int64_t>(packed.size()) != PackedSize(count, bits)) {
    return absl::DataLossError(absl::StrCat(packed.size(), " bytes cannot be ", count,
                                            " packed values of ", bits, " bits"));
  }
  if (const absl::Status status = CheckPackedEnd(packed, bits, count); !status.ok()) return status;
  IntegerVector values(bits, count);
  UnpackValues(packed, bits, count, values.bytes().data());
  return values;
}

}  // namespace ds::federated
