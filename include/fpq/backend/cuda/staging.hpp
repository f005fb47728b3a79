// SPDX-License-Identifier: Apache-2.0
// Floor 6. Pinned memory between the host's own and the device's: pieces are copied by the host's
// threads into one half while the other half is under way.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <functional>

#include "fpq/backend/cuda/status.hpp"
#include "fpq/core/hosted/parallel.hpp"

namespace fpq {

class pinned_staging {
public:
    static constexpr std::size_t piece = std::size_t{16} << 20;

    pinned_staging() = default;
    pinned_staging(pinned_staging const&) = delete;
    pinned_staging& operator=(pinned_staging const&) = delete;
    ~pinned_staging() {
        for (slot& s : slots_) {
            if (s.done != nullptr) {  // else the runtime would keep an error for the next launch
                static_cast<void>(cudaEventDestroy(s.done));
            }
            static_cast<void>(cudaFreeHost(s.bytes));
        }
    }

    /// Queues the copy of `size` bytes to the device; `fill(to, from, count)` brings bytes [from,
    /// from + count) of the source to `to`, and may be called from several threads at a time. The
    /// source is read when this returns.
    void to_device(void* device, std::size_t size, cudaStream_t stream, int threads,
                   std::function<void(std::byte*, std::size_t, std::size_t)> const& fill) {
        prepare();
        for (std::size_t at = 0; at < size; at += piece) {
            std::size_t const count = std::min(piece, size - at);
            slot& s = next();
            parallel_for(count, std::size_t{1} << 20, threads,
                         [&](std::size_t begin, std::size_t end) {
                             fill(s.bytes + begin, at + begin, end - begin);
                         });
            require_cuda(cudaMemcpyAsync(static_cast<std::byte*>(device) + at, s.bytes, count,
                                         cudaMemcpyHostToDevice, stream),
                         "copy to the device");
            require_cuda(cudaEventRecord(s.done, stream), "copy to the device");
        }
    }

    /// Copies `size` bytes from the device; they are there when this returns.
    void to_host(void* to, void const* device, std::size_t size, cudaStream_t stream, int threads) {
        prepare();
        std::array<std::size_t, 2> at{};
        std::array<slot*, 2> used{};
        std::size_t turn = 0;
        auto const take = [&](std::size_t which) {
            slot& s = *used[which];
            std::size_t const count = std::min(piece, size - at[which]);
            require_cuda(cudaEventSynchronize(s.done), "copy from the device");
            parallel_for(count, std::size_t{1} << 20, threads,
                         [&](std::size_t begin, std::size_t end) {
                             std::memcpy(static_cast<std::byte*>(to) + at[which] + begin,
                                         s.bytes + begin, end - begin);
                         });
        };
        for (std::size_t begin = 0; begin < size; begin += piece, ++turn) {
            slot& s = next();
            require_cuda(
                cudaMemcpyAsync(s.bytes, static_cast<std::byte const*>(device) + begin,
                                std::min(piece, size - begin), cudaMemcpyDeviceToHost, stream),
                "copy from the device");
            require_cuda(cudaEventRecord(s.done, stream), "copy from the device");
            if (turn > 0) {
                take((turn - 1) % 2);
            }
            at[turn % 2] = begin;
            used[turn % 2] = &s;
        }
        if (turn > 0) {
            take((turn - 1) % 2);
        }
    }

private:
    struct slot {
        std::byte* bytes = nullptr;
        cudaEvent_t done = nullptr;
    };

    void prepare() {
        for (slot& s : slots_) {
            if (s.bytes == nullptr) {
                void* fresh = nullptr;
                require_cuda(cudaMallocHost(&fresh, piece), "pinned memory");
                s.bytes = static_cast<std::byte*>(fresh);
                require_cuda(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming),
                             "pinned memory");
            }
        }
    }

    /// The half whose copy was queued longer ago, free again.
    slot& next() {
        slot& s = slots_[turn_++ % slots_.size()];
        require_cuda(cudaEventSynchronize(s.done), "pinned memory");
        return s;
    }

    std::array<slot, 2> slots_{};
    std::size_t turn_ = 0;
};

}  // namespace fpq
