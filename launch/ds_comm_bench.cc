// ds_comm_bench: compressed all-reduce, checked value by value and then timed: sizes x codecs,
// under mpirun or with ranks as threads.
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/status.h"
#include "bench/comm/exchange_bench.h"
#include "codec/option_words.h"
#include "comm/factory/factory.h"
#include "comm/inprocess/inprocess.h"
#include "launch/word_flag.h"

namespace {

constexpr int kFailed = 1;

using Rows = std::vector<ds::ExchangeBenchRow>;

struct Arguments {
  ds::ExchangeBenchOptions bench;
  std::vector<int> in_process;
  std::string format = "table";
  ds::CommOptions comm;
};

void Declare(CLI::App& app, Arguments& arguments) {
  ds::ExchangeBenchOptions& bench = arguments.bench;
  app.add_option("--sizes", bench.sizes, "fp32 values a rank (600000000 is more than 2^31 bytes)")
      ->delimiter(',');
  app.add_option("--codecs", bench.codecs, "fp32, fp16, bf16, u1..u8, sign, topk:DENSITY")
      ->delimiter(',');
  app.add_option("--in-process", arguments.in_process,
                 "ranks as threads of this process, for each number of them")
      ->delimiter(',');
  app.add_option("--format", arguments.format)
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_option("--bucket", bench.codec.bucket, "values that share a scale")
      ->capture_default_str();
  ds::AddWordFlag(app, "--scale", bench.codec.scale, ds::CodecScaleWords(),
                  "levels between -max and max, or between min and max");
  ds::AddWordFlag(app, "--rounding", bench.codec.rounding, ds::CodecRoundingWords(),
                  "to the nearest level, or at random without bias");
  app.add_flag("--rotate", bench.codec.rotate, "rotate buckets (u1 to u3)");
  app.add_option("--repeats", bench.repeats, "timed exchanges, of which the median counts")
      ->capture_default_str();
  app.add_option("--chunk-bytes", bench.chunk_bytes, "encoded bytes a message; 0: all in one")
      ->capture_default_str();
  app.add_option("--threads", bench.threads, "encoding threads a rank besides its own")
      ->capture_default_str();
  app.add_option("--error-feedback", bench.error_feedback, "keep residuals while timing")
      ->capture_default_str();
  app.add_option("--timeout", arguments.comm.timeout_s, "seconds that one call may take")
      ->capture_default_str();
}

absl::StatusOr<Rows> RunInProcess(int ranks, const Arguments& arguments) {
  std::vector<std::unique_ptr<ds::Communicator>> group = ds::CreateInProcessGroup(ranks);
  std::vector<absl::StatusOr<Rows>> results(group.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < group.size(); ++r) {
    group[r]->set_timeout(absl::Seconds(arguments.comm.timeout_s));
    threads.emplace_back([&, r] {
      results[r] = ds::RunExchangeBench(*group[r], arguments.bench);
      group[r].reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results[0];
}

absl::StatusOr<bool> Run(Arguments& arguments) {
  Rows rows;
  std::unique_ptr<ds::Communicator> communicator;
  for (const int ranks : arguments.in_process) {
    DS_ASSIGN_OR_RETURN(const Rows more, RunInProcess(ranks, arguments));
    rows.insert(rows.end(), more.begin(), more.end());
  }
  if (arguments.in_process.empty()) {
    DS_ASSIGN_OR_RETURN(communicator, ds::CreateCommunicator(arguments.comm));
    DS_ASSIGN_OR_RETURN(rows, ds::RunExchangeBench(*communicator, arguments.bench));
  }
  if (communicator == nullptr || communicator->rank() == 0) {
    std::fputs(
        (arguments.format == "json" ? ds::ExchangeBenchJson(rows) : ds::ExchangeBenchTable(rows))
            .c_str(),
        stdout);
  }
  for (const ds::ExchangeBenchRow& row : rows) {
    if (!row.ok()) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Checks and times compressed all-reduce.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<bool> right = Run(arguments);
  if (!right.ok())
    std::fprintf(stderr, "ds_comm_bench: %s\n", std::string(right.status().message()).c_str());
  return right.ok() && *right ? 0 : kFailed;
}
