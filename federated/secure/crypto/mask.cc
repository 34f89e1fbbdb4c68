#include "federated/secure/crypto/mask.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/check.h"

namespace ds::federated::secure {
namespace {

// A block of stream and the values it goes into stay in the first-level cache.
constexpr size_t kBlock = 8192;

class Stream {
 public:
  Stream(const Secret& key, const uint8_t* counter) : context_(EVP_CIPHER_CTX_new()) {
    DS_CHECK(context_ != nullptr && EVP_EncryptInit_ex(context_.get(), EVP_aes_256_ctr(), nullptr,
                                                       key.bytes().data(), counter) == 1);
  }
  // The next bytes; every call but the last takes whole cipher blocks.
  void Next(absl::Span<uint8_t> out) {
    static constexpr uint8_t kZeros[kBlock] = {};
    int size = 0;
    DS_CHECK(EVP_EncryptUpdate(context_.get(), out.data(), &size, kZeros,
                               static_cast<int>(out.size())) == 1 &&
             static_cast<size_t>(size) == out.size());
  }

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* p) const { EVP_CIPHER_CTX_free(p); }
  };
  std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
};

// In place and through memcpy, which the compiler turns into vector code.
template <typename Word, bool kTake>
void Combine(std::byte* values, const uint8_t* stream, size_t size) {
  for (size_t at = 0; at < size; at += sizeof(Word)) {
    Word value, mask;
    std::memcpy(&value, values + at, sizeof(Word));
    std::memcpy(&mask, stream + at, sizeof(Word));
    value = static_cast<Word>(kTake ? value - mask : value + mask);
    std::memcpy(values + at, &value, sizeof(Word));
  }
}

template <typename Word>
void Reduce(std::byte* values, size_t size, int bits) {
  if (bits == 8 * sizeof(Word)) return;
  const auto kept = static_cast<Word>((uint64_t{1} << bits) - 1);
  for (size_t at = 0; at < size; at += sizeof(Word)) {
    Word value;
    std::memcpy(&value, values + at, sizeof(Word));
    value = static_cast<Word>(value & kept);
    std::memcpy(values + at, &value, sizeof(Word));
  }
}

template <typename Word>
void AddAll(absl::Span<const MaskKey> keys, std::vector<Stream>& streams, int bits,
            absl::Span<std::byte> bytes) {
  alignas(64) uint8_t stream[kBlock];
  for (size_t at = 0; at < bytes.size(); at += kBlock) {
    const size_t size = std::min(kBlock, bytes.size() - at);
    for (size_t i = 0; i < keys.size(); ++i) {
      streams[i].Next(absl::MakeSpan(stream, size));
      if (keys[i].take) {
        Combine<Word, true>(bytes.data() + at, stream, size);
      } else {
        Combine<Word, false>(bytes.data() + at, stream, size);
      }
    }
    Reduce<Word>(bytes.data() + at, size, bits);
  }
  Wipe(absl::MakeSpan(stream));
}

}  // namespace

void AddMasks(absl::Span<const MaskKey> keys, IntegerVector& values) {
  const uint8_t counter[16] = {};
  std::vector<Stream> streams;
  streams.reserve(keys.size());
  for (const MaskKey& key : keys) streams.emplace_back(key.key, counter);
  switch (values.width()) {
    case 1:
      return AddAll<uint8_t>(keys, streams, values.bits(), values.bytes());
    case 2:
      return AddAll<uint16_t>(keys, streams, values.bits(), values.bytes());
    default:
      return AddAll<uint32_t>(keys, streams, values.bits(), values.bytes());
  }
}

void Keystream(const Secret& key, const std::array<uint8_t, 16>& counter, absl::Span<uint8_t> out) {
  Stream stream(key, counter.data());
  for (size_t at = 0; at < out.size(); at += kBlock)
    stream.Next(out.subspan(at, std::min(kBlock, out.size() - at)));
}

}  // namespace ds::federated::secure
