#include "trainer/checkpoint/checkpoint_names.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/file/file_system.h"

namespace ds {
namespace {

constexpr char kPrefix[] = "step-";
constexpr int kStepDigits = 12;

}  // namespace

std::string CheckpointName(int64_t step) {
  return absl::StrFormat("%s%0*d", kPrefix, kStepDigits, step);
}

bool IsCheckpointName(absl::string_view name) {
  return absl::ConsumePrefix(&name, kPrefix) && name.size() == static_cast<size_t>(kStepDigits) &&
         name.find_first_not_of("0123456789") == absl::string_view::npos;
}

std::string Inside(absl::string_view folder, absl::string_view name) {
  return absl::StrCat(folder, "/", name);
}

std::vector<std::string> CheckpointFolders(const std::string& root) {
  std::vector<std::pair<std::string, std::string>> found;  // step's name, folder's name
  const absl::StatusOr<std::vector<FileSystem::Entry>> entries = FileSystem::Default().List(root);
  if (!entries.ok()) return {};
  for (const FileSystem::Entry& entry : *entries) {
    absl::string_view step = entry.name;
    absl::ConsumePrefix(&step, kReplacedPrefix);
    if (entry.is_folder && IsCheckpointName(step)) found.emplace_back(step, entry.name);
  }
  std::sort(found.rbegin(), found.rend());  // 's' of "step-" is above '.'
  std::vector<std::string> folders;
  for (const auto& [step, name] : found) folders.push_back(Inside(root, name));
  return folders;
}

}  // namespace ds
