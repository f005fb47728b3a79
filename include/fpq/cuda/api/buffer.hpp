// SPDX-License-Identifier: Apache-2.0
// Wing cuda. An owning device array for hosts that have no allocator of their own. Launchers take
// plain pointers and never need it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda {

/// `size` values of T in device memory, uninitialised; freed by the destructor. Move only.
template <class T>
class device_buffer {
public:
    device_buffer() noexcept = default;
    device_buffer(device_buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    device_buffer& operator=(device_buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~device_buffer() { static_cast<void>(cudaFree(data_)); }

    /// Replaces what is held by `size` fresh values; empty on error.
    status resize(std::size_t size) noexcept {
        static_cast<void>(cudaFree(std::exchange(data_, nullptr)));
        size_ = 0;
        if (size == 0) {
            return {};
        }
        void* fresh = nullptr;
        status s = from_cuda(cudaMalloc(&fresh, size * sizeof(T)), "device_buffer::resize");
        if (s.ok()) {
            data_ = static_cast<T*>(fresh);
            size_ = size;
        }
        return s;
    }
    /// Blocking copy of size() values from host memory.
    status upload(T const* from) noexcept {
        return from_cuda(cudaMemcpy(data_, from, bytes(), cudaMemcpyHostToDevice),
                         "device_buffer::upload");
    }
    /// Blocking copy of size() values to host memory; waits for work queued before on the
    /// default stream.
    status download(T* to) const noexcept {
        return from_cuda(cudaMemcpy(to, data_, bytes(), cudaMemcpyDeviceToHost),
                         "device_buffer::download");
    }
    /// Every byte becomes `value`.
    status fill(int value) noexcept {
        return from_cuda(cudaMemset(data_, value, bytes()), "device_buffer::fill");
    }

    [[nodiscard]] T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return size_ * sizeof(T); }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fpq::cuda
