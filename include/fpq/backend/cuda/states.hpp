// SPDX-License-Identifier: Apache-2.0
// Floor 6. Hidden states of many windows, bf16: on the card while they fit beside the work on a
// layer, else in pinned memory, and over that budget in a mapped file. From the host, rows come and
// go beside the computing; the values do not depend on where they lie.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/scratch_memory.hpp"

namespace fpq {

namespace detail {

/// Page-locked memory of the host.
class pinned_memory {
public:
    pinned_memory() = default;
    explicit pinned_memory(std::size_t size) : size_(size) {
        void* fresh = nullptr;
        require_cuda(cudaMallocHost(&fresh, size), "pinned memory for hidden states");
        data_ = static_cast<std::byte*>(fresh);
    }
    pinned_memory(pinned_memory&& o) noexcept
        : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
    pinned_memory& operator=(pinned_memory&& o) noexcept {
        std::swap(data_, o.data_);
        std::swap(size_, o.size_);
        return *this;
    }
    ~pinned_memory() { static_cast<void>(cudaFreeHost(data_)); }
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// A point in a stream's work.
class cuda_event {
public:
    cuda_event() = default;
    /// Behind all that `stream` was asked for.
    explicit cuda_event(cudaStream_t stream) {
        require_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "CUDA event");
        require_cuda(cudaEventRecord(event_, stream), "CUDA event");
    }
    cuda_event(cuda_event&& o) noexcept : event_(std::exchange(o.event_, nullptr)) {}
    cuda_event& operator=(cuda_event&& o) noexcept {
        std::swap(event_, o.event_);
        return *this;
    }
    ~cuda_event() {
        if (event_ != nullptr) {
            static_cast<void>(cudaEventDestroy(event_));
        }
    }
    /// What `stream` does from now on comes behind it.
    void before(cudaStream_t stream) const {
        if (event_ != nullptr) {
            require_cuda(cudaStreamWaitEvent(stream, event_), "CUDA event");
        }
    }

private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace detail

/// Rows that were lent; see memory_budget.hpp.
struct gpu_lent {
    gpu::tensor own;  ///< of a copy of rows on the card
    gpu::view rows;
    std::size_t slot = 0;      ///< of gpu_states, for rows from the host
    detail::cuda_event there;  ///< they have come
};

/// (rows, cols) values.
class gpu_states {
public:
    /// `beside`: bytes of the card that the work on a layer takes.
    gpu_states(gpu const& b, std::size_t rows, std::size_t cols, std::uint64_t beside)
        : context_(b.context), cols_(cols) {
        std::uint64_t const bytes = std::uint64_t{rows} * cols * sizeof(bf16);
        std::uint64_t const free = b.context->free_memory();
        std::uint64_t const held = b.context->held_states();
        std::uint64_t const card =
            b.budget.device == 0 ? free : b.budget.device - std::min(b.budget.device, held);
        if (bytes + beside <= std::min(card, free)) {
            card_ = gpu::tensor(b.context, float_type::bf16, rows, cols);
            b.context->held_states() += bytes;
            held_ = bytes;
            return;
        }
        if (b.budget.host == 0 || bytes <= b.budget.host) {
            pinned_ = detail::pinned_memory(bytes);
        } else {
            file_ = scratch_memory(bytes);
        }
        copies_ = std::make_unique<copy_lane>();
    }
    gpu_states(gpu_states&&) = default;
    gpu_states& operator=(gpu_states&&) = delete;
    ~gpu_states() {
        if (context_) {
            context_->held_states() -= held_;
        }
        if (copies_) {
            static_cast<void>(cudaStreamSynchronize(copies_->stream()));
        }
    }

    /// Where they lie, for a report.
    [[nodiscard]] char const* place() const noexcept {
        return card_.rows() != 0     ? "the card"
               : pinned_.size() != 0 ? "pinned memory"
                                     : "a mapped file";
    }

    /// See lend below.
    [[nodiscard]] gpu_lent lend(gpu const& b, std::size_t first, std::size_t count, loan what);
    void take_back(gpu const& b, std::size_t first, gpu_lent const& lent, loan what);

private:
    /// Room on the card for rows from the host. Three: of those that are worked on, those that
    /// come and those that go.
    struct slot {
        gpu::tensor rows;
        detail::cuda_event free;  // nothing reads or writes it behind this
    };

    [[nodiscard]] std::byte* host(std::size_t row) const noexcept {
        return (pinned_.size() != 0 ? pinned_.data() : file_.data()) + row * cols_ * sizeof(bf16);
    }
    [[nodiscard]] gpu_lent lend_from_host(gpu const& b, std::size_t first, std::size_t count,
                                          loan what);

    std::shared_ptr<gpu_context> context_;
    std::size_t cols_;
    std::uint64_t held_ = 0;
    gpu::tensor card_;
    detail::pinned_memory pinned_;
    scratch_memory file_;
    std::array<slot, 3> slots_;
    std::size_t turn_ = 0;
    std::unique_ptr<copy_lane> copies_;  // both ways in one order: rows that went are there again
};

inline gpu_lent gpu_states::lend(gpu const& b, std::size_t first, std::size_t count, loan what) {
    if (card_.rows() == 0) {
        return lend_from_host(b, first, count, what);
    }
    gpu_lent out;
    out.rows = card_.view().rows_at(first, count);
    if (what == loan::copy) {
        out.own = make(b, count, cols_);
        copy(b, out.rows, out.own.view());
        out.rows = out.own.view();
    }
    return out;
}

inline gpu_lent gpu_states::lend_from_host(gpu const& b, std::size_t first, std::size_t count,
                                           loan what) {
    gpu_lent out;
    out.slot = turn_++ % slots_.size();
    slot& s = slots_[out.slot];
    if (s.rows.rows() < count) {
        s.rows = gpu::tensor(b.context, float_type::bf16, count, cols_);
        s.free = detail::cuda_event(b.context->stream());
    }
    out.rows = s.rows.view().rows_at(0, count);
    if (what == loan::fresh) {
        s.free.before(b.context->stream());
        return out;
    }
    cudaStream_t const stream = copies_->stream();
    s.free.before(stream);
    std::size_t const bytes = count * cols_ * sizeof(bf16);
    if (pinned_.size() != 0) {
        require_cuda(
            cudaMemcpyAsync(out.rows.data, host(first), bytes, cudaMemcpyHostToDevice, stream),
            "copy to the device");
    } else {
        copies_->staging().to_device(
            out.rows.data, bytes, stream, b.threads,
            [from = host(first)](std::byte* to, std::size_t at, std::size_t n) {
                std::memcpy(to, from + at, n);
            });
    }
    out.there = detail::cuda_event(stream);
    return out;
}

inline void gpu_states::take_back(gpu const& b, std::size_t first, gpu_lent const& lent,
                                  loan what) {
    if (card_.rows() != 0) {
        return;
    }
    slot& s = slots_[lent.slot];
    std::size_t const bytes = lent.rows.rows * cols_ * sizeof(bf16);
    if (what == loan::copy) {
        s.free = detail::cuda_event(b.context->stream());
    } else if (pinned_.size() != 0) {
        cudaStream_t const stream = copies_->stream();
        detail::cuda_event(b.context->stream()).before(stream);
        require_cuda(
            cudaMemcpyAsync(host(first), lent.rows.data, bytes, cudaMemcpyDeviceToHost, stream),
            "copy from the device");
        s.free = detail::cuda_event(stream);
    } else {
        b.context->staging().to_host(host(first), lent.rows.data, bytes, b.context->stream(),
                                     b.threads);
        s.free = detail::cuda_event(b.context->stream());
    }
}

/// Room for hidden states (rows, cols), uninitialized; see gpu_states.
[[nodiscard]] inline gpu_states make_states(gpu const& b, std::size_t rows, std::size_t cols,
                                            std::uint64_t beside) {
    return {b, rows, cols, beside};
}

/// Rows [first, first + count). At most two may be lent at a time, of different rows.
[[nodiscard]] inline gpu_lent lend(gpu const& b, gpu_states& states, std::size_t first,
                                   std::size_t count, loan what) {
    return states.lend(b, first, count, what);
}

/// The rows, for work that is asked for from now on.
inline gpu::view use(gpu const& b, gpu_lent const& lent) {
    lent.there.before(b.context->stream());
    return lent.rows;
}

/// The end of a loan: but for a copy, rows [first, ...) are now what was lent.
inline void take_back(gpu const& b, gpu_states& states, std::size_t first, gpu_lent const& lent,
                      loan what) {
    states.take_back(b, first, lent, what);
}

}  // namespace fpq
