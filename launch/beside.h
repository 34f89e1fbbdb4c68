// Where this program's companions are.
#pragma once

#include <unistd.h>

#include <climits>
#include <string>

namespace ds {

// `name` in this program's folder where it is there, else the bare name, which PATH finds.
inline std::string Beside(const std::string& name) {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return name;
  std::string beside(path, static_cast<size_t>(length));
  beside = beside.substr(0, beside.rfind('/') + 1) + name;
  return access(beside.c_str(), X_OK) == 0 ? beside : name;
}

}  // namespace ds
