#include "jobs/quantize/runtime_check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "base/process/spawn.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "executor/graph_module.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

constexpr double kPatience_s = 600;

// Reads inputs and writes outputs as safetensors, by hand: the environment may have no reader.
constexpr char kScript[] = R"(import json, struct, sys
def say(**what):
    print(json.dumps(what))
    sys.exit(0)
try:
    import numpy as np
    import onnxruntime as ort
except Exception as error:
    say(absent=str(error))
types = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
         "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}
model, source, target = sys.argv[1:4]
raw = open(source, "rb").read()
begin = 8 + struct.unpack("<Q", raw[:8])[0]
feeds = {}
for name, one in json.loads(raw[8:begin]).items():
    if name == "__metadata__":
        continue
    if one["dtype"] not in types:
        say(absent="numpy has no " + one["dtype"] + ", which input '" + name + "' is")
    low, high = one["data_offsets"]
    feeds[name] = np.frombuffer(raw[begin + low:begin + high],
                                types[one["dtype"]]).reshape(one["shape"])
try:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    results = session.run([output.name for output in session.get_outputs()], feeds)
except Exception as error:
    say(refused=str(error))
codes = {np.dtype(code): name for name, code in types.items()}
header, body = {}, b""
for i, result in enumerate(results):
    data = np.ascontiguousarray(result).tobytes()
    header[str(i)] = {"dtype": codes[result.dtype], "shape": list(result.shape),
                      "data_offsets": [len(body), len(body) + len(data)]}
    body += data
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(target, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + body)
say(version=ort.__version__)
)";

// A folder that goes with it.
class ScratchFolder {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Create() {
    std::error_code error;
    std::string path =
        (std::filesystem::temp_directory_path(error) / "ds_quantize-XXXXXX").string();
    if (error || mkdtemp(path.data()) == nullptr)
      return absl::UnavailableError(absl::StrCat("cannot make a folder ", path));
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(std::move(path)));
  }
  ~ScratchFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string File(const char* name) const { return absl::StrCat(path_, "/", name); }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// What the script printed. The exit code is kNotStarted where there is no such Python.
struct ScriptEnd {
  int code = 0;
  std::string text;
};

absl::StatusOr<int> EndOf(pid_t process) {
  const double until = SteadySeconds() + kPatience_s;
  int status = 0;
  while (waitpid(process, &status, WNOHANG) == 0) {
    if (SteadySeconds() > until) {
      kill(process, SIGKILL);
      waitpid(process, &status, 0);
      return absl::DeadlineExceededError(
          absl::StrFormat("ONNX Runtime had not ended after %.0f s", kPatience_s));
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

absl::StatusOr<ScriptEnd> RunScript(const std::string& python, const ScratchFolder& scratch,
                                    const std::string& model) {
  const std::string said = scratch.File("said"), errors = scratch.File("errors");
  const int out = open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
            err = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const absl::StatusOr<pid_t> process = Spawn(
      {.command = {python, "-c", kScript, model, scratch.File("inputs"), scratch.File("outputs")},
       .output = out,
       .errors = err});
  close(out);
  close(err);
  DS_RETURN_IF_ERROR(process.status());
  ScriptEnd end;
  DS_ASSIGN_OR_RETURN(end.code, EndOf(*process));
  DS_ASSIGN_OR_RETURN(end.text, ReadFile(end.code == 0 ? said : errors));
  return end;
}

absl::StatusOr<std::vector<at::Tensor>> ReadOutputs(const std::string& path, size_t count) {
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(path));
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < count; ++i) {
    const auto found = tensors.find(absl::StrCat(i));
    if (found == tensors.end())
      return absl::InternalError(absl::StrCat("ONNX Runtime gave no output ", i));
    outputs.push_back(ToTorch(found->second).clone());
  }
  return outputs;
}

absl::StatusOr<std::vector<at::Tensor>> Run(const Graph& graph,
                                            const std::vector<at::Tensor>& inputs) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  return module->Forward(inputs);
}

absl::Status Compare(const Graph& exact, const std::vector<at::Tensor>& wanted,
                     const std::vector<at::Tensor>& ours, const std::vector<at::Tensor>& theirs,
                     const RuntimeCheckOptions& options, RuntimeCheck& check) {
  const auto report =
      [&](const std::vector<at::Tensor>& a,
          const std::vector<at::Tensor>& b) -> absl::StatusOr<std::vector<OutputAgreement>> {
    Agreement agreement(exact);
    DS_RETURN_IF_ERROR(agreement.Add(a, b));
    return agreement.Report();
  };
  DS_ASSIGN_OR_RETURN(const auto of_ours, report(wanted, ours));
  DS_ASSIGN_OR_RETURN(const auto of_theirs, report(wanted, theirs));
  DS_ASSIGN_OR_RETURN(const auto between, report(ours, theirs));
  for (size_t i = 0; i < of_ours.size(); ++i) {
    if (!wanted[i].is_floating_point()) continue;
    const RuntimeOutput one = {of_ours[i].output, of_ours[i].snr_db, of_theirs[i].snr_db,
                               between[i].snr_db};
    check.outputs.push_back(one);
    const double least = std::min(one.ours_db, options.enough_db) - options.most_lost_db;
    if (one.runtime_db >= least) continue;
    check.faults.push_back(absl::StrFormat(
        "output '%s' of ONNX Runtime is %.1f dB from the float model, of our executor %.1f dB: the "
        "runtime computes something else than the file says",
        one.output, one.runtime_db, one.ours_db));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RuntimeCheck> CheckInRuntime(const std::string& file, const Graph& exact,
                                            const Graph& quantized,
                                            const std::vector<at::Tensor>& inputs,
                                            const RuntimeCheckOptions& options) {
  const at::NoGradGuard no_grad;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> scratch, ScratchFolder::Create());
  TensorMap feeds;
  for (size_t i = 0; i < inputs.size(); ++i) {
    DS_ASSIGN_OR_RETURN(feeds[exact.value(exact.inputs()[i]).name],
                        FromTorch(inputs[i].contiguous()));
  }
  DS_RETURN_IF_ERROR(WriteSafetensors(scratch->File("inputs"), feeds, {}));
  DS_ASSIGN_OR_RETURN(const ScriptEnd end, RunScript(options.python, *scratch, file));
  RuntimeCheck check;
  if (end.code == kNotStarted) {
    check.absent = absl::StrCat("there is no program '", options.python, "'");
    return check;
  }
  const nlohmann::json said = nlohmann::json::parse(end.text, nullptr, /*allow_exceptions=*/false);
  if (end.code != 0 || !said.is_object()) {
    return absl::InternalError(absl::StrCat("running ", file, " in ONNX Runtime failed with code ",
                                            end.code, ": ", end.text));
  }
  if (said.contains("absent")) {
    check.absent = absl::StrCat(options.python, ": ", said["absent"].get<std::string>());
    return check;
  }
  if (said.contains("refused")) {
    return absl::FailedPreconditionError(
        absl::StrCat("ONNX Runtime does not run ", file, ": ", said["refused"].get<std::string>()));
  }
  check.version = said["version"].get<std::string>();
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> theirs,
                      ReadOutputs(scratch->File("outputs"), exact.outputs().size()));
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> wanted, Run(exact, inputs));
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> ours, Run(quantized, inputs));
  DS_RETURN_IF_ERROR(Compare(exact, wanted, ours, theirs, options, check));
  return check;
}

}  // namespace ds
