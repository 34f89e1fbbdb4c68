#include "graph/zoo/zoo.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/edit_distance.h"
#include "base/mutex.h"
#include "base/status.h"
#include "graph/schema/schema.h"
#include "graph/zoo/builtin.h"

namespace ds {

namespace {

using namespace zoo;

struct Registry {
  Mutex mutex;
  std::map<std::string, ModelBuilder> builders ABSL_GUARDED_BY(mutex);

  // Entered here, not by static objects, which a linker drops from a static library.
  Registry() {
    builders = {
        {"lenet", LeNet},
        {"mlp", Mlp},
        {"resnet18", ResNet18},
        {"resnet50", ResNet50},
        {"mobilenet_v2", MobileNetV2},
        {"mobilenet_v3_small", MobileNetV3Small},
        {"mobilenet_v3_large", MobileNetV3Large},
        {"vit_tiny", VitTiny},
        {"gpt_nano", GptNano},
        {"yolo_nano", YoloNano},
    };
    for (int depth : {8, 20, 32, 56}) {
      builders[absl::StrCat("resnet", depth)] = [depth](const ModelOptions& options) {
        return CifarResNet(options, depth);
      };
    }
  }
};

Registry& TheRegistry() {
  static auto& registry = *new Registry();
  return registry;
}

absl::Status UnknownModel(absl::string_view name) {
  std::vector<std::string> names = ModelNames();
  std::stable_sort(names.begin(), names.end(), [name](const std::string& a, const std::string& b) {
    return EditDistance(a, name) < EditDistance(b, name);
  });
  return absl::NotFoundError(absl::StrCat("there is no model '", name,
                                          "'; known, nearest first: ", absl::StrJoin(names, ", ")));
}

absl::Status CheckRange(const char* what, int64_t number, int64_t least, int64_t most) {
  if (number >= least && number <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model option ", what, " is ", number, "; it must be ", least, " to ", most));
}

absl::Status CheckOptions(const ModelOptions& options) {
  DS_RETURN_IF_ERROR(CheckRange("channels", options.channels, 1, 65536));
  DS_RETURN_IF_ERROR(CheckRange("height", options.height, 1, 65536));
  DS_RETURN_IF_ERROR(CheckRange("width", options.width, 1, 65536));
  DS_RETURN_IF_ERROR(CheckRange("classes", options.classes, 1, 1 << 22));
  DS_RETURN_IF_ERROR(CheckRange("sequence_length", options.sequence_length, 1, 1 << 16));
  if (options.dropout >= 0.0 && options.dropout < 1.0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model option dropout is ", options.dropout,
                                                 "; it must be at least 0 and below 1"));
}

}  // namespace

absl::Status RegisterModel(std::string name, ModelBuilder builder) {
  if (name.empty() || builder == nullptr) {
    return absl::InvalidArgumentError("a model needs a name and a builder; give both");
  }
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mutex);
  if (registry.builders.contains(name)) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is a model '", name, "' already; register yours under another name"));
  }
  registry.builders.emplace(std::move(name), std::move(builder));
  return absl::OkStatus();
}

absl::StatusOr<Graph> BuildModel(absl::string_view name, const ModelOptions& options) {
  ModelBuilder builder;
  {
    Registry& registry = TheRegistry();
    const MutexLock lock(registry.mutex);
    auto it = registry.builders.find(std::string(name));
    if (it != registry.builders.end()) builder = it->second;
  }
  if (builder == nullptr) return UnknownModel(name);
  absl::Status status = CheckOptions(options);
  if (!status.ok()) return Annotate(status, absl::StrCat("model '", name, "'"));
  DS_ASSIGN_OR_RETURN(Graph graph, builder(options));
  // A user's builder may not have gone through Builder.
  status = InferShapes(graph);
  if (!status.ok()) return Annotate(status, absl::StrCat("model '", name, "'"));
  return graph;
}

std::vector<std::string> ModelNames() {
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mutex);
  std::vector<std::string> names;
  for (const auto& [name, builder] : registry.builders) names.push_back(name);
  return names;
}

}  // namespace ds
