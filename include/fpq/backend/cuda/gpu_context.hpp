// SPDX-License-Identifier: Apache-2.0
// Floor 6. What the copies of a CUDA backend share: its streams, its libraries, its pool; and what
// owns memory on the device.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/staging.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/api/two_sided.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace fpq {

/// A way of copies to the device, beside the computing. One thread at a time.
class copy_lane {
public:
    copy_lane() {
        require_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "CUDA stream");
        require_cuda(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "CUDA event");
    }
    copy_lane(copy_lane const&) = delete;
    copy_lane& operator=(copy_lane const&) = delete;
    ~copy_lane() {
        static_cast<void>(cudaStreamSynchronize(stream_));
        static_cast<void>(cudaEventDestroy(done_));
        static_cast<void>(cudaStreamDestroy(stream_));
    }
    [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
    [[nodiscard]] pinned_staging& staging() noexcept { return staging_; }
    /// What `computing` does from now on sees all copies asked for so far.
    void join(cudaStream_t computing) {
        require_cuda(cudaEventRecord(done_, stream_), "CUDA event");
        require_cuda(cudaStreamWaitEvent(computing, done_), "CUDA event");
    }

private:
    cudaStream_t stream_ = nullptr;
    cudaEvent_t done_ = nullptr;
    pinned_staging staging_;
};

/// What the copies of a gpu share. One thread at a time, but for its second lane.
class gpu_context {
public:
    /// Takes device `index`. Throws fpq::error (device) when there is none, or when no kernel of
    /// this build runs there.
    explicit gpu_context(int index) : device_(index) {
        require_cuda(cudaSetDevice(index), "CUDA device");
        require_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "CUDA stream");
        cudaMemPool_t pool = nullptr;
        require_cuda(cudaDeviceGetDefaultMemPool(&pool, index), "CUDA memory pool");
        std::uint64_t keep = ~std::uint64_t{0};  // freed memory is used again, not given back
        require_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
                     "CUDA memory pool");
        int never = 0;  // copies would wait for the computing of whose memory they take
        require_cuda(
            cudaMemPoolSetAttribute(pool, cudaMemPoolReuseAllowInternalDependencies, &never),
            "CUDA memory pool");
        lanes_ = std::make_unique<std::array<copy_lane, 2>>();
        require_ok(libraries_.use(stream_), "cuBLAS and cuSOLVER");
    }
    gpu_context(gpu_context const&) = delete;
    gpu_context& operator=(gpu_context const&) = delete;
    ~gpu_context() {
        for (auto const& [bytes, memory] : kept_) {
            static_cast<void>(cudaFreeAsync(memory, stream_));
        }
        lanes_.reset();
        release_scratch();  // it belongs to the stream
        static_cast<void>(cudaStreamSynchronize(stream_));
        static_cast<void>(cudaStreamDestroy(stream_));
    }

    [[nodiscard]] int device() const noexcept { return device_; }
    [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
    [[nodiscard]] cuda::linear_algebra& libraries() noexcept { return libraries_; }
    [[nodiscard]] cuda::gptq_workspace& gptq_scratch() noexcept { return gptq_scratch_; }
    [[nodiscard]] cuda::gptq_factor& factor() noexcept { return factor_; }
    [[nodiscard]] cuda::gptq_factor& row_factor() noexcept { return row_factor_; }
    [[nodiscard]] cuda::two_sided_workspace& two_sided_scratch() noexcept {
        return two_sided_scratch_;
    }
    /// Gives the solvers' memory back to the pool, for what comes next.
    void release_scratch() noexcept {
        gptq_scratch_ = {};
        two_sided_scratch_ = {};
        row_factor_ = {};
        factor_ = {};
        libraries_.release();
    }

    /// What happens to arrays that the computing stream makes and gives back: the pool's, or kept
    /// here for the next of the same size. Of a step that is recorded all must be here, so that
    /// they lie where they lay when it is played.
    enum class arrays : std::uint8_t { pooled, kept, recorded };
    void use_arrays(arrays which) noexcept { arrays_ = which; }
    [[nodiscard]] bool keeps_arrays() const noexcept { return arrays_ != arrays::pooled; }
    /// Memory of exactly this size that was kept; null: there is none, and the pool has to give it.
    /// Throws fpq::error (device) when it must be here.
    [[nodiscard]] void* take_kept(std::size_t bytes) {
        auto const at = kept_.find(bytes);
        if (at == kept_.end()) {
            if (arrays_ == arrays::recorded) {
                fail(error_category::device, "recording a step",
                     "CUDA device " + std::to_string(device_), "the memory of its first run",
                     std::to_string(bytes) + " bytes more");
            }
            return nullptr;
        }
        void* const memory = at->second;
        kept_.erase(at);
        return memory;
    }
    void keep(std::size_t bytes, void* memory) { kept_.emplace(bytes, memory); }

    /// Lane 0 is that of the thread that computes, 1 of the one that loads ahead.
    [[nodiscard]] copy_lane& lane(std::size_t which) noexcept { return (*lanes_)[which]; }
    /// Copies from the device go through this pinned memory, on the computing stream.
    [[nodiscard]] pinned_staging& staging() noexcept { return lane(0).staging(); }

    /// Bytes of device memory that are free, or free again in the pool.
    [[nodiscard]] std::uint64_t free_memory() const {
        std::size_t free = 0;
        std::size_t all = 0;
        require_cuda(cudaMemGetInfo(&free, &all), "CUDA memory");
        return free + pool_counter(cudaMemPoolAttrReservedMemCurrent) -
               pool_counter(cudaMemPoolAttrUsedMemCurrent);
    }
    /// The most bytes that arrays held at a time.
    [[nodiscard]] std::uint64_t peak_memory() const {
        return pool_counter(cudaMemPoolAttrReservedMemHigh);
    }

    /// Bytes of hidden states on the card.
    [[nodiscard]] std::uint64_t& held_states() noexcept { return held_states_; }

    /// Buffers of results that were written, to be filled again.
    [[nodiscard]] std::vector<std::vector<std::uint8_t>>& spare() noexcept { return spare_; }

    void wait() const { require_cuda(cudaStreamSynchronize(stream_), "CUDA stream"); }

    /// Gives what the pool keeps and nothing owns back to the device.
    void trim() const {
        wait();
        cudaMemPool_t pool = nullptr;
        require_cuda(cudaDeviceGetDefaultMemPool(&pool, device_), "CUDA memory pool");
        require_cuda(cudaMemPoolTrimTo(pool, 0), "CUDA memory pool");
    }

private:
    [[nodiscard]] std::uint64_t pool_counter(cudaMemPoolAttr which) const {
        cudaMemPool_t pool = nullptr;
        require_cuda(cudaDeviceGetDefaultMemPool(&pool, device_), "CUDA memory pool");
        std::uint64_t bytes = 0;
        require_cuda(cudaMemPoolGetAttribute(pool, which, &bytes), "CUDA memory pool");
        return bytes;
    }

    int device_;
    cudaStream_t stream_ = nullptr;
    std::uint64_t held_states_ = 0;
    std::vector<std::vector<std::uint8_t>> spare_;
    cuda::linear_algebra libraries_;
    cuda::gptq_workspace gptq_scratch_;
    cuda::two_sided_workspace two_sided_scratch_;
    cuda::gptq_factor factor_;
    cuda::gptq_factor row_factor_;
    std::unique_ptr<std::array<copy_lane, 2>> lanes_;
    arrays arrays_ = arrays::pooled;
    std::multimap<std::size_t, void*> kept_;  // by bytes
};

/// `size` values on the device, uninitialized, from the stream's pool: memory is taken and given
/// back in the order of the stream's work. Move only.
template <class T>
class gpu_array {
public:
    gpu_array() = default;
    gpu_array(std::shared_ptr<gpu_context> context, std::size_t size)
        : gpu_array(context, size, context->stream()) {}
    /// For `stream` to fill; given back, as ever, when the context's stream is done with it.
    gpu_array(std::shared_ptr<gpu_context> context, std::size_t size, cudaStream_t stream)
        : context_(std::move(context)), size_(size) {
        if (size != 0) {
            kept_ = context_->keeps_arrays() && stream == context_->stream();
            void* fresh = kept_ ? context_->take_kept(size * sizeof(T)) : nullptr;
            cudaError_t const error =
                fresh != nullptr ? cudaSuccess : cudaMallocAsync(&fresh, size * sizeof(T), stream);
            if (error == cudaErrorMemoryAllocation) {
                std::size_t free = 0;
                std::size_t all = 0;
                static_cast<void>(cudaGetLastError());
                static_cast<void>(cudaMemGetInfo(&free, &all));
                fail(error_category::device, "out of device memory",
                     "CUDA device " + std::to_string(context_->device()),
                     std::to_string(size * sizeof(T) >> 20) + " MiB more",
                     std::to_string(free >> 20) + " of " + std::to_string(all >> 20) + " MiB free");
            }
            require_cuda(error, "CUDA memory");
            data_ = static_cast<T*>(fresh);
        }
    }
    gpu_array(gpu_array&& o) noexcept
        : context_(std::move(o.context_)),
          data_(std::exchange(o.data_, nullptr)),
          size_(std::exchange(o.size_, 0)),
          kept_(o.kept_) {}
    gpu_array& operator=(gpu_array&& o) noexcept {
        std::swap(context_, o.context_);
        std::swap(data_, o.data_);
        std::swap(size_, o.size_);
        std::swap(kept_, o.kept_);
        return *this;
    }
    ~gpu_array() {
        if (data_ == nullptr) {
            return;
        }
        if (kept_) {
            context_->keep(size_ * sizeof(T), data_);
        } else {
            static_cast<void>(cudaFreeAsync(data_, context_->stream()));
        }
    }
    [[nodiscard]] T* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    std::shared_ptr<gpu_context> context_;
    T* data_ = nullptr;
    std::size_t size_ = 0;
    bool kept_ = false;
};

}  // namespace fpq
