#include "deploy/tensorrt/recipe.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

extern char** environ;

namespace ds {
namespace {

constexpr char kBuilder[] = "trtexec";

// For a POSIX shell, whatever is in it.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// "NxCxHxW" of one input, `batch` in place of a dynamic first extent and a variable for others.
std::string Extents(const Shape& shape, int64_t batch, const std::string& variable) {
  std::vector<std::string> extents;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] != kDynamicDim) {
      extents.push_back(absl::StrCat(shape[axis]));
    } else if (axis == 0) {
      extents.push_back(absl::StrCat(batch));
    } else {
      extents.push_back(absl::StrCat("'\"$", variable, axis, "\"'"));
    }
  }
  return absl::StrJoin(extents, "x");
}

bool IsDynamic(const Shape& shape) {
  for (const int64_t extent : shape) {
    if (extent == kDynamicDim) return true;
  }
  return false;
}

std::string VariableOf(size_t input) { return absl::StrCat("INPUT", input, "_AXIS"); }

// Lines that stop the script where an extent is not given.
std::string Checks(const Graph& graph) {
  std::string lines;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value& value = graph.value(graph.inputs()[i]);
    for (size_t axis = 1; axis < value.shape->size(); ++axis) {
      if ((*value.shape)[axis] != kDynamicDim) continue;
      absl::StrAppend(&lines, ": \"${", VariableOf(i), axis, ":?set it to the extent of axis ",
                      axis, " of input ", i, "}\"\n");
    }
  }
  return lines;
}

std::string ShapeFlag(const Graph& graph, const char* flag, int64_t batch) {
  std::vector<std::string> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value& value = graph.value(graph.inputs()[i]);
    if (!IsDynamic(*value.shape)) continue;
    const std::string name = absl::StrReplaceAll(value.name, {{"'", "'\\''"}});
    inputs.push_back(absl::StrCat(name, ":", Extents(*value.shape, batch, VariableOf(i))));
  }
  if (inputs.empty()) return "";
  return absl::StrCat(" \\\n  ", flag, "='", absl::StrJoin(inputs, ","), "'");
}

bool InPath(const char* program) {
  const char* path = std::getenv("PATH");
  for (const auto folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    if (access(absl::StrCat(folder, "/", program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::string> TrtRecipe(const Graph& graph, const std::string& onnx_file,
                                      const TrtBatches& batches) {
  const bool ordered =
      1 <= batches.least && batches.least <= batches.usual && batches.usual <= batches.most;
  if (!ordered) {
    return absl::InvalidArgumentError(absl::StrCat("TensorRT's batches are ", batches.least, ", ",
                                                   batches.usual, ", ", batches.most,
                                                   "; they must be 1 <= least <= usual <= most"));
  }
  for (const ValueId id : graph.inputs()) {
    if (graph.value(id).shape.has_value()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("input '", graph.value(id).name, "' has no shape: TensorRT needs its rank"));
  }
  const std::string stem(absl::StripSuffix(onnx_file, ".onnx"));
  return absl::StrCat(
      "#!/bin/sh\n"
      "# Builds a TensorRT engine. TensorRT 10; of version 11 leave --stronglyTyped out, it is\n"
      "# always so there; of version 8 write --int8 --fp16 in its place. Layers and their types "
      "go\n"
      "# to the .layers.json, to be compared with the .trt-lint.txt. More options may follow.\n"
      "set -eu\n"
      "cd \"$(dirname \"$0\")\"\n",
      Checks(graph), kBuilder, " --onnx=", Quoted(onnx_file), " --stronglyTyped",
      ShapeFlag(graph, "--minShapes", batches.least),
      ShapeFlag(graph, "--optShapes", batches.usual), ShapeFlag(graph, "--maxShapes", batches.most),
      " \\\n  --profilingVerbosity=detailed --exportLayerInfo=", Quoted(stem + ".layers.json"),
      " \\\n  --saveEngine=", Quoted(stem + ".engine"), " \"$@\"\n");
}

TrtBuild RunTrtRecipe(const std::string& recipe, const std::string& log) {
  TrtBuild build;
  if (!InPath(kBuilder)) {
    build.message = absl::StrCat("not run: ", kBuilder, " is not installed here (sh ", recipe, ")");
    return build;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  std::string shell = "sh", script = recipe;
  char* arguments[] = {shell.data(), script.data(), nullptr};
  pid_t child = 0;
  const int failure = posix_spawn(&child, "/bin/sh", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) {
    build.message = absl::StrCat("not run: ", std::strerror(failure));
    return build;
  }
  build.ran = true;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  build.succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  build.message = absl::StrCat(build.succeeded ? "engine built" : "the builder failed", ": ", log);
  return build;
}

}  // namespace ds
