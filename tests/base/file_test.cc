#include "base/file/file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  size_t FilesInFolder() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  const TempFolder temp_;
  const fs::path folder_ = temp_.path();
};

std::string Text(absl::Span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST_F(FileTest, WhatIsWrittenIsReadAndMapped) {
  for (size_t size : {0, 1, 4095, 4096, 4097, 1'000'003}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 17);
    ASSERT_TRUE(WriteFileAtomically(Path("f"), bytes).ok());
    const auto read = ReadFile(Path("f"));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == bytes) << size;
    const auto mapped = MappedFile::Open(Path("f"));
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    EXPECT_TRUE(Text((*mapped)->bytes()) == bytes) << size;
    EXPECT_EQ(FilesInFolder(), 1u) << "a temporary file was left";
  }
}

TEST_F(FileTest, MappingOutlivesTheNameOfItsFile) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), "old").ok());
  const auto mapped = MappedFile::Open(Path("f"));
  ASSERT_TRUE(mapped.ok());
  ASSERT_TRUE(WriteFileAtomically(Path("f"), "new!").ok());
  EXPECT_EQ(Text((*mapped)->bytes()), "old");
  fs::remove(Path("f"));
  EXPECT_EQ(Text((*mapped)->bytes()), "old");
}

TEST_F(FileTest, ErrorsNameThePathAndTheReason) {
  const auto missing = ReadFile(Path("missing"));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr(Path("missing")), HasSubstr("No such file")));
  EXPECT_EQ(MappedFile::Open(Path("missing")).status().code(), absl::StatusCode::kNotFound);
  const absl::Status unwritable = WriteFileAtomically(Path("no/such/folder/f"), "x");
  EXPECT_THAT(std::string(unwritable.message()),
              AllOf(HasSubstr("no/such/folder/f"), HasSubstr("No such file")));
}

TEST_F(FileTest, FoldersAndPipesAreRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  for (const std::string& path : {folder_.string(), Path("pipe")}) {
    EXPECT_THAT(std::string(ReadFile(path).status().message()), HasSubstr("not a regular file"));
    EXPECT_THAT(std::string(MappedFile::Open(path).status().message()),
                HasSubstr("not a regular file"));
  }
}

TEST_F(FileTest, FailedRenameLeavesTheFolderAsItWas) {
  ASSERT_TRUE(MakeFolders(Path("taken/by/folder")).ok());
  const absl::Status status = WriteFileAtomically(Path("taken"), "x");
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("cannot rename"), HasSubstr(Path("taken"))));
  EXPECT_EQ(FilesInFolder(), 1u);
}

// A limit on the size of files stands in for a full disk: the write stops part way.
TEST_F(FileTest, WriteThatStopsPartWayKeepsTheOldFile) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), "old").ok());
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small = {4096, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteFileAtomically(Path("f"), std::string(10'000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write"));
  EXPECT_EQ(*ReadFile(Path("f")), "old");
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(FileTest, APrivateFileIsTheOwnersWhateverItReplaces) {
  const auto rights = [](const std::string& path) {
    struct stat info = {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0u;
  };
  const std::string path = Path("secret");
  ASSERT_TRUE(WriteFileAtomically(path, "open").ok());
  // What an earlier process left under the temporary name is open to all.
  const std::string left = absl::StrCat(path, ".tmp", ::getpid());
  std::ofstream(left) << "left";
  ASSERT_EQ(::chmod(left.c_str(), 0666), 0);
  ASSERT_TRUE(WritePrivateFileAtomically(path, "secret").ok());
  EXPECT_EQ(rights(path), 0600u);
  EXPECT_EQ(*ReadFile(path), "secret");
}

TEST_F(FileTest, ReaderSeesTheOldFileOrTheNewOneWhole) {
  constexpr size_t kSize = 100'000;
  ASSERT_TRUE(WriteFileAtomically(Path("f"), std::string(kSize, 'a')).ok());
  std::thread writer([this] {
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(
          WriteFileAtomically(Path("f"), std::string(kSize, static_cast<char>('b' + i))).ok());
    }
  });
  for (int i = 0; i < 200; ++i) {
    const auto bytes = ReadFile(Path("f"));
    ASSERT_TRUE(bytes.ok());
    ASSERT_EQ(bytes->size(), kSize);
    ASSERT_EQ(*bytes, std::string(kSize, bytes->front()));
  }
  writer.join();
}

TEST_F(FileTest, MakeFoldersMakesAllAndIsContentWithWhatIsThere) {
  EXPECT_TRUE(MakeFolders(Path("a/b/c")).ok());
  EXPECT_TRUE(fs::is_directory(Path("a/b/c")));
  EXPECT_TRUE(MakeFolders(Path("a/b/c")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "").ok());
  EXPECT_THAT(std::string(MakeFolders(Path("file/x")).message()), HasSubstr(Path("file/x")));
}

}  // namespace
}  // namespace ds
