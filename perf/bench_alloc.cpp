// Time of one malloc and one free of 16 to 512 bytes: ours, glibc's and jemalloc's, one thread.
//
//   pair      freed at once: the same block again and again
//   batch     4096 blocks, freed in the order of allocation
//   shuffled  4096 blocks, freed in random order, so that lists are scattered

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "perf/bench_api.h"

namespace {

constexpr size_t kBatch = 4096;

void touch(void *block) { benchmark::DoNotOptimize(*static_cast<char *>(block) = 1); }

void pair(benchmark::State &state, const bench_allocator_t *allocator) {
  const size_t size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void *block = allocator->alloc(size);
    touch(block);
    allocator->release(block);
  }
  state.SetItemsProcessed(state.iterations());
}

void batch(benchmark::State &state, const bench_allocator_t *allocator, bool shuffled) {
  const size_t size = static_cast<size_t>(state.range(0));
  std::vector<size_t> order(kBatch);
  std::iota(order.begin(), order.end(), 0);
  if (shuffled) std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<void *> blocks(kBatch);
  for (auto _ : state) {
    for (void *&block : blocks) {
      block = allocator->alloc(size);
      touch(block);
    }
    for (size_t i : order) allocator->release(blocks[i]);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}

void add_all(const bench_allocator_t *allocator) {
  const std::vector<int64_t> sizes = {16, 32, 48, 64, 96, 128, 192, 256, 384, 512};
  const auto add = [&](const std::string &name, auto run) {
    auto *bench = benchmark::RegisterBenchmark((name + "/" + allocator->name).c_str(), run);
    for (int64_t size : sizes) bench->Arg(size);
  };
  add("pair", [=](benchmark::State &state) { pair(state, allocator); });
  add("batch", [=](benchmark::State &state) { batch(state, allocator, false); });
  add("shuffled", [=](benchmark::State &state) { batch(state, allocator, true); });
}

}  // namespace

int main(int argc, char **argv) {
  if (!bench_start()) return 1;
  for (unsigned i = 0; bench_allocator(i) != nullptr; i++) add_all(bench_allocator(i));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
