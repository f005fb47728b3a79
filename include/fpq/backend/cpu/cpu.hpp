// SPDX-License-Identifier: Apache-2.0
// Floor 6. The CPU as a backend: what owns memory on it. A backend is a struct with these member
// types and the overloads of the verbs in forward.hpp, quant.hpp and solve.hpp, whose first
// argument it is. Layers, methods and the run are templates over it. The CPU computes in float32
// and is the oracle of every other backend: same inputs, same bits at any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/backend/weight_rows.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

class cpu_states;  // states.hpp
struct cpu_lent;

struct cpu {
    int threads;  ///< at least 1
    memory_budget budget{};
    bool rows_alone = false;  ///< products give a row the bits it has alone: see matmul_rows

    static constexpr bool is_queued = false;  ///< a verb has done its work when it returns

    using view = matrix_view<float>;
    using const_view = matrix_view<float const>;

    /// An uninitialized (rows, cols) matrix in the type that the backend computes in.
    class tensor {
    public:
        tensor() = default;
        tensor(std::size_t rows, std::size_t cols)
            : data_(std::make_unique_for_overwrite<float[]>(rows * cols)),
              rows_(rows),
              cols_(cols) {}
        tensor(tensor const& other) : tensor(other.rows_, other.cols_) {
            std::copy_n(other.data_.get(), rows_ * cols_, data_.get());
        }
        tensor(tensor&&) noexcept = default;
        tensor& operator=(tensor const& other) { return *this = tensor(other); }
        tensor& operator=(tensor&&) noexcept = default;
        ~tensor() = default;
        [[nodiscard]] cpu::view view() noexcept { return as_view(data_.get(), rows_, cols_); }
        [[nodiscard]] cpu::const_view view() const noexcept {
            return as_view(static_cast<float const*>(data_.get()), rows_, cols_);
        }
        [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
        [[nodiscard]] std::size_t cols() const noexcept { return cols_; }

    private:
        std::unique_ptr<float[]> data_;
        std::size_t rows_ = 0;
        std::size_t cols_ = 0;
    };

    /// Logits that are scored together, kept from call to call.
    struct score_workspace {
        tensor logits;
        tensor reference;
    };

    /// Keys and values of one layer for `sequences` sequences of up to `length` tokens.
    struct cache {
        using value = float;
        cache(std::size_t sequences, std::size_t tokens, std::size_t kv_size)
            : length(tokens),
              keys(sequences * tokens * kv_size),
              values(sequences * tokens * kv_size) {}
        std::size_t length;
        std::vector<value> keys;  ///< row (sequence, position), kv_size wide
        std::vector<value> values;
    };

    /// Keys and values of one layer in the slots of pages: paged.hpp.
    struct page_store {
        using value = float;
        tensor keys;  ///< (slots, kv size)
        tensor values;
    };

    /// What verbs see of a step of an engine.
    struct step_tables {
        ragged_rows const* step = nullptr;
    };

    /// Weights are multiplied as float32 here: none stays packed.
    struct packed_weight {
        std::size_t rows = 0;
        [[nodiscard]] static constexpr bool empty() noexcept { return true; }
    };
    static constexpr bool has_packed_products = false;

    using vector = std::vector<float>;     ///< norm weights and biases
    using rope = rope_table;               ///< cosines and sines of positions
    using table = weight_rows;             ///< embedding and head: in the type of the file
    using moment = sharded_second_moment;  ///< the sum of x^T x over windows, in fixed shards
    using hessian = fpq::hessian;          ///< the finished sum
    using states = cpu_states;             ///< hidden states of many windows
    using lent = cpu_lent;                 ///< rows of them, while they are worked on
};

/// What results depend on beside the plan.
inline char const* name_of(cpu const&) noexcept { return "cpu"; }

/// Threads for work that stays on the host.
inline int host_threads(cpu const& b) noexcept { return b.threads; }

/// An uninitialized matrix on the backend.
[[nodiscard]] inline cpu::tensor make(cpu const&, std::size_t rows, std::size_t cols) {
    return {rows, cols};
}

/// The same for logits that are to be drawn from: float32 on every backend.
[[nodiscard]] inline cpu::tensor make_logits(cpu const& b, std::size_t rows, std::size_t vocab) {
    return make(b, rows, vocab);
}

/// A weight as `linear` multiplies with it: for one that many calls multiply with.
[[nodiscard]] inline cpu::tensor product_weight(cpu const&, cpu::tensor weight) { return weight; }

/// Norm weights or a bias onto the backend.
[[nodiscard]] inline cpu::vector vector_of(cpu const&, std::vector<float> values) { return values; }

/// An empty cache: see cpu::cache.
[[nodiscard]] inline cpu::cache make_cache(cpu const&, std::size_t sequences, std::size_t tokens,
                                           std::size_t kv_size) {
    return {sequences, tokens, kv_size};
}

/// The rotary table of positions 0 .. positions - 1.
[[nodiscard]] inline rope_table rope_of(cpu const&, rope_config const& rope, std::size_t head_dim,
                                        std::size_t positions) {
    return {rope, head_dim, positions};
}

/// Windows that a pass takes through a layer together: one, whose rows stay in the caches.
[[nodiscard]] inline std::size_t windows_at_once(cpu const&, std::size_t /*tokens*/) noexcept {
    return 1;
}

/// Rows that the products of a token's step have, however many sequences there are; more sequences
/// take several rounds. 0: as many as sequences.
[[nodiscard]] inline std::size_t step_rows(cpu const&) noexcept { return 0; }

/// Bytes that caches may take beside `weights` values of weights: `one`, those of a sequence, or
/// more. Throws fpq::error (device) where a backend has no room for them.
[[nodiscard]] inline std::size_t cache_room(cpu const&, std::uint64_t /*weights*/,
                                            std::size_t one) noexcept {
    return std::max(std::size_t{1} << 30, one);
}

/// Memory that nothing owns any more goes back to where it came from.
inline void trim(cpu const&) noexcept {}

/// Bytes of the host for codes or scales that another rank solved.
[[nodiscard]] inline std::vector<std::uint8_t> host_bytes(cpu const&, std::size_t size) {
    return std::vector<std::uint8_t>(size);
}

/// x of rank `owner`, a dense matrix, becomes that of all ranks.
inline void share_matrix(cpu const&, rank_group& ranks, std::size_t owner, cpu::view x) {
    ranks.broadcast(owner, std::as_writable_bytes(std::span(x.data, x.rows * x.cols)));
}

/// Takes back what a solver gave, to be used again.
inline void recycle(cpu const&, packed_matrix&&) noexcept {}

/// The backend for a second thread that only loads.
[[nodiscard]] inline cpu beside(cpu const& b) noexcept { return b; }

/// Gives back what solvers keep from call to call.
inline void release_scratch(cpu const&) noexcept {}

/// The most bytes of a card that were held.
inline std::uint64_t peak_device_memory(cpu const&) noexcept { return 0; }

/// Returns when all work asked for is done.
inline void wait(cpu const&) noexcept {}

}  // namespace fpq
