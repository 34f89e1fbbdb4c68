#include "tests/federated/integration/crash/crash_store.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/store/digest.h"

namespace ds::federated {
namespace {

absl::Status Dead() { return absl::UnavailableError("this process has died"); }

class TextReader final : public BlobReader {
 public:
  explicit TextReader(std::string text) : text_(std::move(text)) {}
  int64_t size() const override { return static_cast<int64_t>(text_.size()); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    return SpanReader({reinterpret_cast<const std::byte*>(text_.data()), text_.size()})
        ->Read(offset, out);
  }

 private:
  const std::string text_;
};

}  // namespace

absl::Status Death::Step(const std::function<absl::Status()>& effect) {
  MutexLock lock(mutex_);
  if (dead_) return Dead();
  if (++steps_ != at_) return effect();
  if (with_effect_) effect().IgnoreError();
  dead_ = true;
  return Dead();
}

absl::Status Death::Append(absl::string_view entry, const std::function<absl::Status()>& effect) {
  DS_RETURN_IF_ERROR(Step(effect));
  if (entry_.empty() || !absl::StrContains(entry, entry_)) return absl::OkStatus();
  MutexLock lock(mutex_);
  dead_ = true;
  return Dead();
}

bool Death::IsDead() const {
  MutexLock lock(mutex_);
  return dead_;
}

int64_t Death::steps() const {
  MutexLock lock(mutex_);
  return steps_;
}

class CrashWriter final : public BlobWriter {
 public:
  CrashWriter(CrashDisk& disk, std::shared_ptr<Death> death, std::string digest, int64_t size,
              std::function<void()> release)
      : disk_(disk),
        death_(std::move(death)),
        digest_(std::move(digest)),
        size_(size),
        release_(std::move(release)) {}
  ~CrashWriter() override { release_(); }

  int64_t received() const override {
    MutexLock lock(disk_.mutex_);
    return static_cast<int64_t>(There().size());
  }

  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return death_->Step([&]() -> absl::Status {
      MutexLock lock(disk_.mutex_);
      const std::string& there = There();
      DS_RETURN_IF_ERROR(CheckWrite(digest_, offset, static_cast<int64_t>(text.size()),
                                    static_cast<int64_t>(there.size()), size_));
      const auto at = static_cast<size_t>(offset);
      const size_t known = std::min(there.size() - at, text.size());
      if (there.substr(at, known) != text.substr(0, known)) return OtherBytes(digest_, offset);
      if (known < text.size()) absl::StrAppend(&disk_.parts_[digest_], text.substr(known));
      return absl::OkStatus();
    });
  }

  absl::Status Finish() override {
    return death_->Step([&]() -> absl::Status {
      MutexLock lock(disk_.mutex_);
      if (disk_.whole_.contains(digest_)) return absl::OkStatus();
      std::string text = disk_.parts_[digest_];
      if (static_cast<int64_t>(text.size()) != size_)
        return NotAllThere(digest_, static_cast<int64_t>(text.size()), size_);
      disk_.parts_.erase(digest_);
      if (const std::string found = Sha256Hex(text); found != digest_)
        return WrongBytes(digest_, found);
      disk_.ever_[digest_] = text;
      disk_.whole_[digest_] = std::move(text);
      disk_.removed_.erase(digest_);
      return absl::OkStatus();
    });
  }

 private:
  const std::string& There() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(disk_.mutex_) {
    const auto whole = disk_.whole_.find(digest_);
    return whole != disk_.whole_.end() ? whole->second : disk_.parts_[digest_];
  }

  CrashDisk& disk_;
  const std::shared_ptr<Death> death_;
  const std::string digest_;
  const int64_t size_;
  const std::function<void()> release_;
};

class CrashStore final : public Store {
 public:
  CrashStore(CrashDisk& disk, std::shared_ptr<Death> death)
      : disk_(disk), death_(std::move(death)) {}

  absl::StatusOr<int64_t> Append(absl::string_view record) override {
    int64_t number = -1;
    DS_RETURN_IF_ERROR(death_->Append(record, [&] {
      MutexLock lock(disk_.mutex_);
      number = static_cast<int64_t>(disk_.records_.size());
      disk_.records_.emplace_back(record);
      return absl::OkStatus();
    }));
    return number;
  }

  absl::Status Replay(absl::FunctionRef<absl::Status(int64_t, absl::string_view)> visit) override {
    const std::vector<std::string> records = disk_.Records();
    for (size_t i = 0; i < records.size(); ++i)
      DS_RETURN_IF_ERROR(visit(static_cast<int64_t>(i), records[i]));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest,
                                                    int64_t size) override {
    DS_RETURN_IF_ERROR(CheckDigest(digest));
    {
      MutexLock lock(writing_->mutex);
      if (!writing_->digests.insert(digest).second) return WriterIsOpen(digest);
    }
    const auto release = [writing = writing_, digest] {
      MutexLock lock(writing->mutex);
      writing->digests.erase(digest);
    };
    auto writer = std::make_unique<CrashWriter>(disk_, death_, digest, size, release);
    DS_RETURN_IF_ERROR(death_->Step([&]() -> absl::Status {
      MutexLock lock(disk_.mutex_);
      const auto whole = disk_.whole_.find(digest);
      if (whole != disk_.whole_.end() && static_cast<int64_t>(whole->second.size()) != size)
        return absl::InvalidArgumentError(absl::StrCat("blob ", digest, " has another size"));
      if (static_cast<int64_t>(disk_.parts_[digest].size()) > size) disk_.parts_[digest].clear();
      if (whole != disk_.whole_.end()) disk_.parts_.erase(digest);
      return absl::OkStatus();
    }));
    return writer;
  }

  bool Has(const std::string& digest) const override {
    MutexLock lock(disk_.mutex_);
    return disk_.whole_.contains(digest);
  }

  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const override {
    MutexLock lock(disk_.mutex_);
    const auto found = disk_.whole_.find(digest);
    if (found == disk_.whole_.end()) return absl::NotFoundError(absl::StrCat("no blob ", digest));
    return std::make_shared<TextReader>(found->second);
  }

  absl::Status Remove(const std::string& digest) override {
    {
      MutexLock lock(writing_->mutex);
      if (writing_->digests.contains(digest)) return WriterIsOpen(digest);
    }
    return death_->Step([&] {
      MutexLock lock(disk_.mutex_);
      if (auto node = disk_.whole_.extract(digest)) disk_.removed_[digest] = node.mapped();
      disk_.parts_.erase(digest);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<std::string>> Blobs() const override {
    MutexLock lock(disk_.mutex_);
    std::set<std::string> found;
    for (const auto& [digest, text] : disk_.whole_) found.insert(digest);
    for (const auto& [digest, text] : disk_.parts_) found.insert(digest);
    return std::vector<std::string>(found.begin(), found.end());
  }

 private:
  struct Writing {
    Mutex mutex;
    std::set<std::string> digests ABSL_GUARDED_BY(mutex);
  };

  CrashDisk& disk_;
  const std::shared_ptr<Death> death_;
  const std::shared_ptr<Writing> writing_ = std::make_shared<Writing>();
};

std::unique_ptr<Store> CrashDisk::Open(std::shared_ptr<Death> death) {
  return std::make_unique<CrashStore>(*this, std::move(death));
}

void CrashDisk::LosePower(uint64_t seed) {
  MutexLock lock(mutex_);
  std::mt19937_64 random(seed);
  for (auto& [digest, part] : parts_) {
    const size_t keep = part.empty() ? 0 : random() % (part.size() + 1);
    if (random() % 2 == 0) {
      part.resize(keep);
    } else {
      std::fill(part.begin() + static_cast<std::ptrdiff_t>(keep), part.end(), '\0');
    }
  }
  for (const auto& [digest, text] : removed_)
    if (random() % 2 == 0) whole_[digest] = text;
  removed_.clear();
}

std::vector<std::string> CrashDisk::Records() const {
  MutexLock lock(mutex_);
  return records_;
}

std::map<std::string, std::string> CrashDisk::Ever() const {
  MutexLock lock(mutex_);
  return ever_;
}

size_t CrashDisk::blobs() const {
  MutexLock lock(mutex_);
  return whole_.size() + parts_.size();
}

}  // namespace ds::federated
