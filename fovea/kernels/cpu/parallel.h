#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#if defined(__SANITIZE_THREAD__)
#include <exception>
#include <thread>
#include <vector>
#endif

namespace fovea::kernels {

/// Calls `body()` once on each of `threads` threads. ThreadSanitizer does not understand libgomp: its build
/// starts threads of its own. Exceptions of a body reach the caller, one of them.
template <class Body>
void on_each_thread(int64_t threads, const Body& body) {
#if defined(__SANITIZE_THREAD__)
  std::vector<std::exception_ptr> errors(threads);
  std::vector<std::thread> others;
  const auto guarded = [&](int64_t t) {
    try {
      body();
    } catch (...) {
      errors[t] = std::current_exception();
    }
  };
  for (int64_t t = 1; t < threads; ++t) others.emplace_back(guarded, t);
  guarded(0);
  for (auto& other : others) other.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
#else
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body();
  });
#endif
}

/// Calls task(worker, i) for each i in [0, tasks), drawn one by one in rising order, with a worker a thread,
/// made by make_worker().
template <class MakeWorker, class Task>
void for_each_task(int64_t tasks, const MakeWorker& make_worker, const Task& task) {
  std::atomic<int64_t> next{0};
  on_each_thread(std::min<int64_t>(tasks, at::get_num_threads()), [&] {
    auto worker = make_worker();
    for (int64_t i = next++; i < tasks; i = next++) task(worker, i);
  });
}

}  // namespace fovea::kernels
