// SPDX-License-Identifier: Apache-2.0
#include "speed/gpu/card.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

#include "fpq/backend/cuda/status.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/buffer.hpp"

namespace fpq::tools {

namespace {

/// "580.82.07" of the kernel module; where it does not tell, the newest CUDA that it serves.
std::string driver_version() {
    std::ifstream file("/proc/driver/nvidia/version");
    for (std::string word; file >> word;) {
        if (word.size() > 5 && word.find_first_not_of("0123456789.") == std::string::npos &&
            word.find('.') != std::string::npos) {
            return word;
        }
    }
    int cuda = 0;
    static_cast<void>(cudaDriverGetVersion(&cuda));
    return "CUDA " + std::to_string(cuda / 1000) + '.' + std::to_string(cuda % 1000 / 10);
}

struct event_pair {
    event_pair() {
        require_cuda(cudaEventCreate(&begin), "event");
        require_cuda(cudaEventCreate(&end), "event");
    }
    ~event_pair() {
        static_cast<void>(cudaEventDestroy(begin));
        static_cast<void>(cudaEventDestroy(end));
    }
    event_pair(event_pair const&) = delete;
    event_pair& operator=(event_pair const&) = delete;

    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
};

/// Bytes a second, read and written, of a copy of 512 MiB: the median of 15.
double copy_rate() {
    std::size_t const bytes = std::size_t{512} << 20;
    cuda::device_buffer<char> from;
    cuda::device_buffer<char> to;
    require_ok(from.resize(bytes), "copy");
    require_ok(to.resize(bytes), "copy");
    require_ok(from.fill(0x3C), "copy");
    event_pair const events;
    std::array<float, 15> took{};
    for (int i = -2; i < static_cast<int>(took.size()); ++i) {
        require_cuda(cudaEventRecord(events.begin), "event");
        require_cuda(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice),
                     "copy");
        require_cuda(cudaEventRecord(events.end), "event");
        require_cuda(cudaEventSynchronize(events.end), "copy");
        float ms = 0.0F;
        require_cuda(cudaEventElapsedTime(&ms, events.begin, events.end), "event");
        if (i >= 0) {
            took[static_cast<std::size_t>(i)] = ms;
        }
    }
    std::sort(took.begin(), took.end());
    return 2.0 * static_cast<double>(bytes) / (static_cast<double>(took[took.size() / 2]) * 1e-3);
}

}  // namespace

speed_table table_of_card() {
    int count = 0;
    cudaError_t const error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        static_cast<void>(cudaGetLastError());
        fail(error_category::device, "timing an engine", {}, "a CUDA device",
             error != cudaSuccess ? cudaGetErrorString(error) : "none");
    }
    cudaDeviceProp card{};
    require_cuda(cudaGetDeviceProperties(&card, 0), "CUDA device");
    speed_table table;
    table.card = card.name;
    table.capability = std::to_string(card.major) + '.' + std::to_string(card.minor);
    table.driver = driver_version();
    table.copy_rate = copy_rate();
    return table;
}

}  // namespace fpq::tools
