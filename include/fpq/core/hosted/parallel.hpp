// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. One loop over [0, n) on several threads. The chunks are fixed by the caller,
// never by the thread count, so a body whose chunks are independent gives the same bytes on any
// machine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>

#include "fpq/core/hosted/thread_pool.hpp"

namespace fpq {

/// Calls f(begin, end) for every chunk [k*chunk, min(n, (k+1)*chunk)), each once, in any order on
/// up to `threads` threads (the caller's included; <= 1: in order, on this thread).
/// Errors: rethrows the first exception of f after all threads are done; later chunks are skipped.
template <class F>
void parallel_for(std::size_t n, std::size_t chunk, int threads, F f) {
    std::size_t const step = std::max<std::size_t>(chunk, 1);
    std::size_t const chunks = n / step + (n % step != 0 ? 1 : 0);
    std::size_t const wanted = threads > 1 ? static_cast<std::size_t>(threads) : 1;
    std::size_t const workers = std::min(wanted, chunks);
    auto const run = [&](std::size_t k) { f(k * step, std::min(n, (k + 1) * step)); };
    if (workers <= 1) {
        for (std::size_t k = 0; k < chunks; ++k) {
            run(k);
        }
        return;
    }
    std::atomic<std::size_t> next{0};
    std::atomic<bool> stop{false};
    std::exception_ptr first;
    std::mutex guard;
    auto const work = [&]() noexcept {
        for (std::size_t k = next.fetch_add(1); k < chunks && !stop.load(); k = next.fetch_add(1)) {
            try {
                run(k);
            } catch (...) {
                std::lock_guard<std::mutex> const lock(guard);
                if (!first) {
                    first = std::current_exception();
                }
                stop.store(true);
            }
        }
    };
    detail::thread_pool::of_process().run(workers - 1, work);
    if (first) {
        std::rethrow_exception(first);
    }
}

}  // namespace fpq
