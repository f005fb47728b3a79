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
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          stream_(other.stream_),
          of_stream_(std::exchange(other.of_stream_, false)) {}
    device_buffer& operator=(device_buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(stream_, other.stream_);
        std::swap(of_stream_, other.of_stream_);
        return *this;
    }
    ~device_buffer() { free(); }

    /// Replaces what is held by `size` fresh values; empty on error.
    status resize(std::size_t size) noexcept {
        free();
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
    /// The same in the order of a stream's work, from the pool of its device: what other work of
    /// that stream gave back is used again at once.
    status resize(std::size_t size, cudaStream_t stream) noexcept {
        free();
        if (size == 0) {
            return {};
        }
        void* fresh = nullptr;
        status s =
            from_cuda(cudaMallocAsync(&fresh, size * sizeof(T), stream), "device_buffer::resize");
        if (s.ok()) {
            data_ = static_cast<T*>(fresh);
            size_ = size;
            stream_ = stream;
            of_stream_ = true;
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
    void free() noexcept {
        if (of_stream_) {
            static_cast<void>(cudaFreeAsync(data_, stream_));
        } else {
            static_cast<void>(cudaFree(data_));
        }
        data_ = nullptr;
        size_ = 0;
        of_stream_ = false;
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    cudaStream_t stream_ = nullptr;
    bool of_stream_ = false;  // allocated in the order of stream_
};

}  // namespace fpq::cuda
