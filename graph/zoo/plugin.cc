// Models from a user's shared library. The library is compiled against our headers and linked with
// none of our archives: it finds RegisterModel and Builder in the program that loads it, so that
// there is one registry.
#include <dlfcn.h>

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "graph/zoo/zoo.h"

namespace ds {

namespace {

constexpr char kEntryPoint[] = "ds_register_models";

std::string LastDlError() {
  const char* words = dlerror();
  return words == nullptr ? "unknown error" : words;
}

}  // namespace

absl::Status LoadModelPlugin(const std::string& path) {
  static Mutex mutex;
  static auto& loaded ABSL_GUARDED_BY(mutex) = *new std::set<std::string>();
  std::error_code error;
  const std::string file = std::filesystem::canonical(path, error).string();
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot open the model plugin ", path, ": ",
                                            error.message(), "; check model.plugin"));
  }
  const MutexLock lock(mutex);
  if (loaded.contains(file)) return absl::OkStatus();
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot load the model plugin ", path, ": ", LastDlError(),
                     "; build it as a shared library with this version's headers and compiler"));
  }
  auto* entry = reinterpret_cast<void (*)()>(dlsym(library, kEntryPoint));
  if (entry == nullptr) {
    const std::string words = LastDlError();
    dlclose(library);
    return absl::InvalidArgumentError(
        absl::StrCat("the model plugin ", path, " has no ", kEntryPoint, ": ", words,
                     "; export it as extern \"C\" void ", kEntryPoint, "()"));
  }
  const size_t before = ModelNames().size();
  entry();
  // The library stays open for good: the registry now points into it.
  loaded.insert(file);
  if (ModelNames().size() == before) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model plugin ", path,
        " registered no model; check what RegisterModel returned there, "
        "and do not link the plugin with libds_*.a, which would give it a registry of its own"));
  }
  return absl::OkStatus();
}

}  // namespace ds
