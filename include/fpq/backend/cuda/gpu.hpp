// SPDX-License-Identifier: Apache-2.0
// Floor 6. One CUDA device as a backend: its stream, its libraries, and what owns memory on it.
// (The namespace fpq::cuda is the wing with the kernels, so the backend is called gpu.) Activations
// are bf16, products have float32 sums; the CPU's backend, in float32, is the oracle. Work is
// queued on one stream in the order of the calls; a verb that gives a number waits for it.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/backend/cuda/gpu_context.hpp"
#include "fpq/backend/cuda/packed_products.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/backend/weight_rows.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/core/view.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/api/observe.hpp"
#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/api/score.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

class gpu_moment;       // moment.hpp
class gpu_step_tables;  // step_tables.hpp
class gpu_states;       // states.hpp
struct gpu_lent;

namespace detail {

/// A packed matrix of the host on the device.
struct packed_on_device {
    gpu_array<std::uint8_t> codes;
    gpu_array<std::uint8_t> scales;
    gpu_array<std::uint8_t> zeros;

    [[nodiscard]] cuda::packed_codes face(quant_format const& format,
                                          float global_scale) const noexcept {
        return {codes.data(), scales.data(), zeros.data(), format, global_scale};
    }
};

/// What a solver made, by the place of its codes on the host.
struct solved_on_device {
    std::uint8_t const* host;
    packed_on_device packed;
};

}  // namespace detail

struct gpu {
    int threads;  ///< for work that stays on the host
    std::shared_ptr<gpu_context> context;
    /// Results of solvers until they are decoded: no way back to the device for them.
    std::shared_ptr<std::vector<detail::solved_on_device>> solved =
        std::make_shared<std::vector<detail::solved_on_device>>();
    std::size_t lane = 0;  ///< of gpu_context
    memory_budget budget{};
    std::shared_ptr<gpu_packed_products> products = std::make_shared<gpu_packed_products>();

    static constexpr bool is_queued = true;  ///< a verb returns before its work is done

    /// A (rows, cols) matrix on the device; row i begins at value i * stride.
    struct view {
        void* data = nullptr;
        float_type type = float_type::bf16;
        std::size_t rows = 0;
        std::size_t cols = 0;
        std::size_t stride = 0;

        [[nodiscard]] view rows_at(std::size_t first, std::size_t count) const noexcept {
            return {at(first * stride), type, count, cols, stride};
        }
        [[nodiscard]] view cols_at(std::size_t first, std::size_t count) const noexcept {
            return {at(first), type, rows, count, stride};
        }
        [[nodiscard]] bool dense() const noexcept { return stride == cols || rows <= 1; }
        [[nodiscard]] cuda::float_matrix matrix() const noexcept {
            return {data, type, rows, cols, stride};
        }
        /// As rows of bf16. Throws fpq::error (usage) when they are not.
        [[nodiscard]] cuda::bf16_rows bf16_matrix() const {
            if (type != float_type::bf16) {
                fail_usage("type of an activation", "gpu", "bf16", name_of(type));
            }
            return {static_cast<bf16*>(data), stride};
        }

    private:
        [[nodiscard]] void* at(std::size_t i) const noexcept {
            return static_cast<std::uint8_t*>(data) + i * float_bytes(type);
        }
    };
    using const_view = view;

    /// An uninitialized dense (rows, cols) matrix.
    class tensor {
    public:
        tensor() = default;
        tensor(std::shared_ptr<gpu_context> const& context, float_type type, std::size_t rows,
               std::size_t cols)
            : tensor(context, type, rows, cols, context->stream()) {}
        /// For `stream` to fill.
        tensor(std::shared_ptr<gpu_context> const& context, float_type type, std::size_t rows,
               std::size_t cols, cudaStream_t stream)
            : bytes_(context, rows * cols * float_bytes(type), stream),
              type_(type),
              rows_(rows),
              cols_(cols) {}
        [[nodiscard]] gpu::view view() const noexcept {
            return {bytes_.data(), type_, rows_, cols_, cols_};
        }
        [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
        [[nodiscard]] std::size_t cols() const noexcept { return cols_; }

    private:
        gpu_array<std::uint8_t> bytes_;
        float_type type_ = float_type::bf16;
        std::size_t rows_ = 0;
        std::size_t cols_ = 0;
    };

    /// Norm weights and biases, float32.
    using vector = gpu_array<float>;

    /// A weight that is multiplied with as it is stored: packed_linear.hpp.
    struct packed_weight {
        gpu_array<std::uint8_t> codes;   ///< (rows, cols / 2)
        gpu_array<std::uint8_t> scales;  ///< (rows, groups)
        quant_format format{};
        float alpha = 1.0F;  ///< 1 / global scale
        std::size_t rows = 0;
        std::size_t cols = 0;
        std::shared_ptr<gpu_packed_products> products{};
        std::array<cuda::l2_ahead, 2> ahead{};  ///< the weights that are multiplied next: a hint

        [[nodiscard]] bool empty() const noexcept { return rows == 0; }
        [[nodiscard]] std::size_t bytes() const noexcept { return codes.size() + scales.size(); }
    };
    static constexpr bool has_packed_products = true;

    /// Cosines and sines, (positions, head_dim / 2).
    struct rope {
        std::size_t count;
        gpu_array<float> cos;
        gpu_array<float> sin;
        [[nodiscard]] std::size_t positions() const noexcept { return count; }
    };

    /// An embedding or a head: rows of the file on the host, and once multiplied with, bf16 on the
    /// device until the last copy goes.
    class table {
    public:
        table(std::shared_ptr<gpu_context> context, weight_rows rows)
            : shared_(std::make_shared<state>(std::move(context), std::move(rows))) {}
        [[nodiscard]] std::size_t rows() const noexcept { return shared_->host.rows(); }
        [[nodiscard]] std::size_t cols() const noexcept { return shared_->host.cols(); }
        [[nodiscard]] weight_rows const& host() const noexcept { return shared_->host; }
        /// The rows on the device, (rows, cols) bf16, brought there by load() when they are not.
        template <class Load>
        [[nodiscard]] view on_device(Load load) const {
            std::lock_guard const guard(shared_->mutex);
            if (!shared_->device) {
                shared_->device = load(shared_->host);
            }
            return shared_->device->view();
        }

    private:
        struct state {
            state(std::shared_ptr<gpu_context> c, weight_rows rows)
                : context(std::move(c)), host(std::move(rows)) {}
            std::shared_ptr<gpu_context> context;
            weight_rows host;
            std::mutex mutex;
            std::optional<tensor> device;
        };
        std::shared_ptr<state> shared_;
    };

    /// x^T x summed over the tokens of all windows: (size, size), the lower half.
    struct hessian {
        std::size_t size = 0;
        gpu_array<float> sum;
    };

    using moment = gpu_moment;
    using states = gpu_states;
    using lent = gpu_lent;

    struct score_workspace {
        cuda::score_workspace tiles;
    };

    /// Keys and values of one layer in the slots of pages: paged.hpp.
    struct page_store {
        using value = bf16;
        tensor keys;  ///< (slots, kv size)
        tensor values;
    };

    using step_tables = std::unique_ptr<gpu_step_tables>;  ///< see paged.hpp

    /// Keys and values of one layer for sequences of up to `length` tokens.
    struct cache {
        using value = bf16;
        std::size_t length;
        tensor keys;  ///< row (sequence, position), kv_size wide
        tensor values;
    };
};

/// What results depend on beside the plan.
inline char const* name_of(gpu const&) noexcept { return "cuda"; }

inline int host_threads(gpu const& b) noexcept { return b.threads; }

/// An uninitialized bf16 matrix.
[[nodiscard]] inline gpu::tensor make(gpu const& b, std::size_t rows, std::size_t cols) {
    return {b.context, float_type::bf16, rows, cols};
}

inline void wait(gpu const& b) { b.context->wait(); }

/// Memory that nothing owns any more is there for who does not take it from the pool.
inline void trim(gpu const& b) { b.context->trim(); }

/// Gives back what solvers keep from call to call.
inline void release_scratch(gpu const& b) noexcept { b.context->release_scratch(); }

/// The most bytes of the card that were held, kernels and what libraries keep for themselves apart.
inline std::uint64_t peak_device_memory(gpu const& b) { return b.context->peak_memory(); }

/// Device memory that a backend may still take.
struct device_room {
    std::uint64_t bytes;
    std::string limit;  ///< what sets it, for a message
};

[[nodiscard]] inline device_room room_of(gpu const& b) {
    std::uint64_t const free = b.context->free_memory();
    return b.budget.device != 0 && b.budget.device < free
               ? device_room{b.budget.device, "--gpu_memory"}
               : device_room{free, "CUDA device " + std::to_string(b.context->device())};
}

/// Throws fpq::error (device) when work that takes `bytes` has not that much room.
inline void require_device_memory(gpu const& b, std::uint64_t bytes) {
    device_room const room = room_of(b);
    if (bytes > room.bytes) {
        fail(error_category::device, "not enough device memory", room.limit,
             "about " + std::to_string(bytes >> 20) + " MiB for the work on one layer",
             std::to_string(room.bytes >> 20) + " MiB");
    }
}

/// The same device for the calling thread, a second one that only loads: its copies have a lane of
/// their own.
[[nodiscard]] inline gpu beside(gpu const& b) {
    require_cuda(cudaSetDevice(b.context->device()), "CUDA device");
    gpu out = b;
    out.lane = 1;
    return out;
}

/// Bytes of the host, some that were used before where there are: their pages are there.
[[nodiscard]] inline std::vector<std::uint8_t> host_bytes(gpu const& b, std::size_t size) {
    auto& spare = b.context->spare();
    std::vector<std::uint8_t> out;
    auto best = spare.end();
    for (auto it = spare.begin(); it != spare.end(); ++it) {
        if (it->capacity() >= size && (best == spare.end() || it->capacity() < best->capacity())) {
            best = it;
        }
    }
    if (best != spare.end()) {
        out = std::move(*best);
        spare.erase(best);
    }
    out.resize(size);
    return out;
}

/// x of rank `owner`, a dense matrix, becomes that of all ranks, which see each other's memory.
inline void share_matrix(gpu const& b, rank_group& ranks, std::size_t owner, gpu::view x) {
    b.context->wait();
    ranks.broadcast(
        owner, std::span(static_cast<std::byte*>(x.data), x.rows * x.cols * float_bytes(x.type)));
}

/// Takes back what a solver gave, to be used again.
inline void recycle(gpu const& b, packed_matrix&& used) {
    constexpr std::size_t most = 16;
    for (auto* const bytes : {&used.codes, &used.scales}) {
        if (b.context->spare().size() < most) {
            b.context->spare().push_back(std::move(*bytes));
        }
    }
}

/// Windows that fill the products of a pass: 16,384 tokens.
[[nodiscard]] inline std::size_t windows_at_once(gpu const&, std::size_t tokens) noexcept {
    return std::max<std::size_t>(1, cuda::hessian_tokens / std::max<std::size_t>(1, tokens));
}

}  // namespace fpq
