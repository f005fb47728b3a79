// SPDX-License-Identifier: Apache-2.0
// Timing of queued work with CUDA events: warm-up, repetitions over rotating inputs, median and
// spread; and the two ways a row is printed. For the programs in bench/cuda.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace fpq_bench {

/// Milliseconds.
struct timing {
    double median = 0.0;
    double least = 0.0;
    double most = 0.0;
};

/// Times work(i), i counting repetitions so that work can rotate its buffers, on the default
/// stream: `warm` untimed ones, then `repetitions`, each between two events.
inline timing time_on_device(std::function<void(int)> const& work, int repetitions = 20,
                             int warm = 4) {
    for (int i = 0; i < warm; ++i) {
        work(i);
    }
    std::vector<cudaEvent_t> event(static_cast<std::size_t>(repetitions) + 1);
    for (cudaEvent_t& e : event) {
        static_cast<void>(cudaEventCreate(&e));
    }
    static_cast<void>(cudaEventRecord(event[0], nullptr));
    for (int i = 0; i < repetitions; ++i) {
        work(i);
        static_cast<void>(cudaEventRecord(event[static_cast<std::size_t>(i) + 1], nullptr));
    }
    static_cast<void>(cudaDeviceSynchronize());
    std::vector<double> took;
    for (std::size_t i = 0; i + 1 < event.size(); ++i) {
        float ms = 0.0F;
        static_cast<void>(cudaEventElapsedTime(&ms, event[i], event[i + 1]));
        took.push_back(static_cast<double>(ms));
    }
    for (cudaEvent_t e : event) {
        static_cast<void>(cudaEventDestroy(e));
    }
    std::sort(took.begin(), took.end());
    return {took[took.size() / 2], took.front(), took.back()};
}

/// One aligned row and, if `json` is not null, one JSON line: time, bytes a second, ratio to copy.
inline void print_row(std::FILE* json, std::string const& name, timing const& t, double bytes,
                      double copy_rate) {
    double const rate = bytes / (t.median * 1e-3);
    double const ratio = copy_rate > 0.0 ? rate / copy_rate : 1.0;
    std::printf("%-44s %9.1f us  [%8.1f, %8.1f]  %7.1f GB/s  %5.3f of copy\n", name.c_str(),
                t.median * 1e3, t.least * 1e3, t.most * 1e3, rate * 1e-9, ratio);
    std::fflush(stdout);
    if (json != nullptr) {
        std::fprintf(json,
                     "{\"name\": \"%s\", \"us\": %.2f, \"us_least\": %.2f, \"us_most\": %.2f, "
                     "\"bytes\": %.0f, \"gb_per_s\": %.1f, \"of_copy\": %.4f}\n",
                     name.c_str(), t.median * 1e3, t.least * 1e3, t.most * 1e3, bytes, rate * 1e-9,
                     ratio);
    }
}

}  // namespace fpq_bench
