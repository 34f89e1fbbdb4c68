#include "federated/privacy/random_source.h"

#include <utility>

#include "base/check.h"

namespace ds::federated {

// One call of the source pays for many words.
constexpr size_t kWords = 4096;

RandomWords::RandomWords(RandomSource source)
    : source_(std::move(source)), words_(kWords), next_(kWords) {
  DS_CHECK(source_ != nullptr);
}

void RandomWords::Refill() {
  source_(absl::MakeSpan(reinterpret_cast<std::byte*>(words_.data()), words_.size() * 4));
  next_ = 0;
}

uint64_t RandomWords::NextBelow(uint64_t below) {
  DS_CHECK(below > 0);
  // Words from the last, incomplete stretch of `below` numbers would favour the small ones.
  const uint64_t incomplete = (UINT64_MAX - below + 1) % below;
  while (true) {
    const uint64_t word = Next64();
    if (word >= incomplete) return word % below;
  }
}

}  // namespace ds::federated
