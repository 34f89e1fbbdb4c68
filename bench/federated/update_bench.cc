// What a round of a large model costs a site and the aggregator in arithmetic, on one thread.
//
//   update_bench [--values N] [--sites N] [--bits B] [--ms MILLISECONDS]
//
// Milliseconds, the least of the runs in so many milliseconds each, for a model of N parameters
// (default 1M and 10M) and 4 sites. Peak memory is the process's, of one site's and the
// aggregator's part together.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/cpu/cpu_features.h"
#include "base/random.h"
#include "federated/strategy/registry.h"
#include "federated/update/global_model.h"

namespace ds::federated {
namespace {

struct Flags {
  int64_t values = 0;  // 0: both defaults
  int sites = 4;
  int bits = 0;  // 0: 1, 4, 8 and 16
  int ms = 300;
};

double Milliseconds(int ms, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  const auto end = Clock::now() + std::chrono::milliseconds(ms);
  do {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return best;
}

std::vector<float> Values(int64_t count, float scale, uint64_t stream) {
  CounterRandom random(1, stream);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = scale * (random.NextFloat() + random.NextFloat() - 1);
  return values;
}

std::unique_ptr<GlobalModel> Made(const std::string& strategy, int bits, int64_t values,
                                  int sites) {
  RunOptions options;
  options.update.bits = bits;
  options.strategy.name = strategy;
  constexpr int64_t kSlots = 20;
  ModelLayout layout;
  for (int64_t slot = 0; slot < kSlots; ++slot)
    layout.slots.push_back({.name = "slot" + std::to_string(slot), .count = values / kSlots});
  auto model = GlobalModel::Create(layout, Values(layout.size(), 0.05f, 1), options, sites, 1);
  DS_CHECK(model.ok()) << model.status();
  return *std::move(model);
}

// One line: a site's encoding with error feedback, and both ways of packing; then the aggregator's
// part and everybody's step.
void Run(const Flags& flags, const std::string& name, int bits, int64_t values) {
  const auto model = Made(name, bits, values, flags.sites);
  const std::vector<float> delta = Values(model->layout().size(), 1e-3f, 2);
  std::vector<float> residual(delta.size());
  IntegerVector levels;
  const double encode = Milliseconds(
      flags.ms, [&] { levels = *model->Encode(delta, {.samples = 1}, residual, 1, &residual); });
  std::vector<std::byte> packed;
  const double pack = Milliseconds(flags.ms, [&] { packed = Pack(levels); });
  const double unpack = Milliseconds(
      flags.ms, [&] { DS_CHECK(Unpack(packed, model->update_bits(), levels.size()).ok()); });
  std::vector<UpdateBlob> updates;
  for (int site = 0; site < flags.sites; ++site)
    updates.push_back({.digest = std::to_string(site), .packed = SpanReader(packed)});
  StrategyOptions options;
  options.name = name;
  options.byzantine = 0;
  const auto strategy = MakeStrategy(options);
  Published published;
  const double combine = Milliseconds(flags.ms, [&] {
    published = *(*strategy)->Combine({.version = 1,
                                       .shape = &model->shape(),
                                       .update_bits = model->update_bits(),
                                       .modulus_bits = model->modulus_bits(),
                                       .updates = updates});
  });
  const double publish = Milliseconds(flags.ms, [&] { (void)published.Encode(); });
  double digest = 0;
  const double advance = Milliseconds(flags.ms, [&] {
    published.version = model->version() + 1;
    published.groups[0].base_version = model->version();
    DS_CHECK(model->Advance(published, nullptr, nullptr).ok());
  });
  digest = Milliseconds(1, [&] { (void)model->digest(); });
  std::printf("%9lld  %-12s %4d %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.3f\n",
              static_cast<long long>(values), name.c_str(), bits, encode, pack, unpack, combine,
              publish, advance, digest,
              static_cast<double>(packed.size()) / static_cast<double>(values));
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--values") flags.values = std::atoll(argv[i + 1]);
    if (flag == "--sites") flags.sites = std::atoi(argv[i + 1]);
    if (flag == "--bits") flags.bits = std::atoi(argv[i + 1]);
    if (flag == "--ms") flags.ms = std::atoi(argv[i + 1]);
  }
  std::printf("%s; ms on one thread, %d sites\n", Describe(Cpu()).c_str(), flags.sites);
  std::printf("%9s  %-12s %4s %8s %8s %8s %8s %8s %8s %8s %8s\n", "values", "strategy", "bits",
              "encode", "pack", "unpack", "combine", "publish", "advance", "digest", "bytes/p");
  for (const int64_t values : flags.values > 0 ? std::vector<int64_t>{flags.values}
                                               : std::vector<int64_t>{1000000, 10000000}) {
    for (const int bits :
         flags.bits > 0 ? std::vector<int>{flags.bits} : std::vector<int>{1, 4, 8, 16}) {
      Run(flags, "fedavg", bits, values);
    }
    const int bits = flags.bits > 0 ? flags.bits : 8;
    for (const char* name : {"fedadam", "trimmed_mean", "median", "krum"})
      Run(flags, name, bits, values);
  }
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("peak memory %.0f MiB\n", static_cast<double>(usage.ru_maxrss) / 1024);
  return 0;
}

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) { return ds::federated::Main(argc, argv); }
