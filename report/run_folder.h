// The folder of a run: made once, explains itself.
//
//   config.yaml      the resolved configuration     metrics.csv    a row every few steps
//   command.txt      the command line(s)            summary.json   the results
//   versions.txt     what it was built with         events/        TensorBoard
//   checkpoints/     for --resume                   model.*        weights of the best evaluation
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace ds {

using Versions = std::vector<std::pair<std::string, std::string>>;

class RunFolder {
 public:
  // <output>/<name>; where there are such already, <name>-N with one more than the highest N there:
  // a number that a removed folder has left free is not taken again, so that the highest is always
  // the last started (two runs started at once get two folders). Rank 0 only.
  static absl::StatusOr<RunFolder> Create(const std::string& output, const std::string& name);
  // The last started of that name: the highest number, gaps or not. <name>-N may also be a run that
  // was itself named so: `is_of_name` says whether a numbered folder is one of this name's.
  // <name> without a number is taken in any case, so any folder can be resumed by its own name.
  // NotFound says where it was looked for.
  using IsOfName = absl::FunctionRef<bool(const RunFolder&)>;
  static absl::StatusOr<RunFolder> Resume(const std::string& output, const std::string& name,
                                          IsOfName is_of_name);

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  std::string config() const { return File("config.yaml"); }
  std::string metrics() const { return File("metrics.csv"); }
  std::string events() const { return File("events"); }
  std::string summary() const { return File("summary.json"); }
  std::string trace() const { return File("trace.json"); }
  std::string checkpoints() const { return File("checkpoints"); }
  std::string model_safetensors() const { return File("model.safetensors"); }
  std::string model_onnx() const { return File("model.onnx"); }

  // config.yaml and versions.txt are replaced; the command is added to command.txt, so that it
  // lists every resume.
  absl::Status Describe(const std::string& config_yaml, const std::vector<std::string>& command,
                        const Versions& versions) const;
  // A table of what lies in the folder now, for the end of a run.
  std::string Contents() const;

 private:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Downstream, the compiler, the kernel and the processor. Callers add the libraries they link.
Versions HostVersions();
// One shell word: quoted only where the shell would take it apart.
std::string ShellQuote(const std::string& word);

}  // namespace ds
