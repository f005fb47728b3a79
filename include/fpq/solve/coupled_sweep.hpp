// SPDX-License-Identifier: Apache-2.0
// Floor 4. GPTQ's sweep with error feedback between rows as well as columns. Row i's weights become
//     T_i = w_i + sum over r < i of (w_r - q_r) F_ir,
// F the feedback of H_O's factor in storage order (gptq_factor.hpp says why this is the upper
// Cholesky factor of H_O^-1), and T_i is rounded as sweep.hpp rounds a row. Entry (i, k) needs only
// what lies above it in column k and before it in row i: chunks of rows run one block of columns
// apart, so that they keep all threads busy, and no order of threads changes a byte.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/solve/codec.hpp"
#include "fpq/solve/gptq_factor.hpp"
#include "fpq/solve/sweep.hpp"

namespace fpq::detail {

/// Columns for which a chunk takes the rows above it at a time; rows of a chunk that do so in one
/// product.
inline constexpr std::size_t coupled_block = 128;
inline constexpr std::size_t coupled_rows = 32;

/// What the chunks of a layer share.
template <class Scalar>
class coupled_rows_state {
public:
    coupled_rows_state(basic_gptq_factor<Scalar> const& rows, std::size_t cols)
        : factor(rows),
          chunks((rows.size() + sweep_rows - 1) / sweep_rows),
          stride(chunks * sweep_rows),
          errors(cols * stride),
          done_(chunks) {}

    /// Chunk `c` has finished the columns before `columns`.
    void publish(std::size_t c, std::size_t columns) noexcept {
        done_[c].store(columns, std::memory_order_release);
        done_[c].notify_all();
    }
    /// Waits until it has.
    void await(std::size_t c, std::size_t columns) const noexcept {
        for (std::size_t at = done_[c].load(std::memory_order_acquire); at < columns;
             at = done_[c].load(std::memory_order_acquire)) {
            done_[c].wait(at, std::memory_order_acquire);
        }
    }

    basic_gptq_factor<Scalar> const& factor;  // of H_O, in storage order
    std::size_t chunks;
    std::size_t stride;          // rows, rounded up to whole chunks
    std::vector<Scalar> errors;  // (n, stride): w - q, columns in processing order; w at first

private:
    std::vector<std::atomic<std::size_t>> done_;  // columns a chunk has finished
};

/// Rounds up to sweep_leaf columns of all rows of one chunk; what sweep_columns calls.
template <class Codec, class Scalar>
class coupled_leaf {
public:
    coupled_leaf(sweep_input<Scalar> const& in, sweep_state<Scalar>& state,
                 coupled_rows_state<Scalar>& shared)
        : in_(in),
          state_(state),
          shared_(shared),
          chunk_(state.row0 / sweep_rows),
          part_(coupled_block * sweep_rows) {
        for (std::size_t k = 0; k < in.factor->size(); ++k) {  // w, before any feedback
            std::copy_n(state.errors.data() + k * sweep_rows, sweep_rows, error_at(k));
        }
    }

    void operator()(std::size_t k0, std::size_t width) {
        if (k0 + width > ready_) {  // a leaf is narrower than a block: one is enough
            take_chunks_above();
        }
        transpose_feedback(k0, width);
        auto const f = shared_.factor.feedback();
        for (std::size_t first = 0; first < state_.rows; first += coupled_rows) {
            std::size_t const rows = std::min(coupled_rows, state_.rows - first);
            if (first > 0) {
                product(product_shape::nt, width, rows, first, Scalar{1},
                        static_cast<Scalar const*>(error_at(k0)), shared_.stride,
                        f.row(state_.row0 + first) + state_.row0, f.stride, part_.data(),
                        coupled_rows, false);
                add_part(k0, width, first, rows, coupled_rows);
            }
            for (std::size_t r = 0; r < rows; ++r) {
                round_row(first, r, k0, width);
            }
        }
        shared_.publish(chunk_, k0 + width);
    }

private:
    [[nodiscard]] Scalar* error_at(std::size_t k) noexcept {
        return shared_.errors.data() + k * shared_.stride + state_.row0;
    }

    /// The next block of columns takes what the chunks above have left in it.
    void take_chunks_above() {
        std::size_t const k0 = ready_;
        std::size_t const width = std::min(coupled_block, in_.factor->size() - k0);
        ready_ = k0 + width;
        if (chunk_ == 0) {
            return;
        }
        shared_.await(chunk_ - 1, ready_);
        auto const f = shared_.factor.feedback();
        product(product_shape::nt, width, state_.rows, state_.row0, Scalar{1},
                static_cast<Scalar const*>(shared_.errors.data() + k0 * shared_.stride),
                shared_.stride, f.row(state_.row0), f.stride, part_.data(), sweep_rows, false);
        add_part(k0, width, 0, state_.rows, sweep_rows);
    }

    /// part (width, ld) is added to rows [first, first + rows): both to T and to the target. Not
    /// where it is 0: rows that do not interact keep the sign of a zero.
    void add_part(std::size_t k0, std::size_t width, std::size_t first, std::size_t rows,
                  std::size_t ld) noexcept {
        for (std::size_t k = 0; k < width; ++k) {
            Scalar const* const from = part_.data() + k * ld;
            Scalar* const whole = state_.errors.data() + (k0 + k) * sweep_rows + first;
            Scalar* const target = state_.targets.data() + (k0 + k) * sweep_rows + first;
            for (std::size_t r = 0; r < rows; ++r) {
                whole[r] = from[r] == Scalar{0} ? whole[r] : whole[r] + from[r];
                target[r] = from[r] == Scalar{0} ? target[r] : target[r] + from[r];
            }
        }
    }

    /// feed_[j][k]: what column j's error of a row adds to its column k; 0 unless j < k.
    void transpose_feedback(std::size_t k0, std::size_t width) noexcept {
        auto const f = in_.factor->feedback();
        for (std::size_t j = 0; j < sweep_leaf; ++j) {
            for (std::size_t k = 0; k < sweep_leaf; ++k) {
                feed_[j][k] = j < k && k < width ? f(k0 + k, k0 + j) : Scalar{0};
            }
        }
    }

    /// Row first + r of the chunk: takes the rows from `first` on, then rounds column by column.
    void round_row(std::size_t first, std::size_t r, std::size_t k0, std::size_t width) noexcept {
        std::size_t const row = first + r;
        std::size_t const n = in_.factor->size();
        std::size_t const group = in_.format.group_of(n);
        Scalar const* const factor =
            shared_.factor.feedback().row(state_.row0 + row) + state_.row0 + first;
        Scalar above[sweep_leaf] = {};
        for (std::size_t i = 0; i < r; ++i) {
            for (std::size_t k = 0; k < sweep_leaf; ++k) {
                above[k] += factor[i] * local_[i][k];
            }
        }
        Scalar whole[sweep_leaf] = {};
        Scalar target[sweep_leaf] = {};
        for (std::size_t k = 0; k < width; ++k) {
            whole[k] = state_.errors[(k0 + k) * sweep_rows + row];
            target[k] = state_.targets[(k0 + k) * sweep_rows + row];
            if (above[k] != Scalar{0}) {
                whole[k] += above[k];
                target[k] += above[k];
            }
        }
        double const row_cost = shared_.factor.innovation()[state_.row0 + row];
        for (std::size_t k = 0; k < width; ++k) {
            std::size_t const column = in_.factor->order()[k0 + k];
            std::size_t const at = (state_.row0 + row) * in_.grid->groups + column / group;
            float const step = in_.grid->value[at];
            std::uint8_t const zero = zero_at(*in_.grid, at);
            std::uint8_t const code = Codec::encode(static_cast<float>(target[k]), step, zero);
            auto const value = static_cast<Scalar>(Codec::decode(code, step, zero));
            auto const miss = static_cast<double>(target[k] - value);
            state_.loss += row_cost * in_.factor->innovation()[k0 + k] * (miss * miss);
            state_.codes[row * n + column] = code;
            Scalar const error = whole[k] - value;
            for (std::size_t j = 0; j < sweep_leaf; ++j) {
                target[j] += feed_[k][j] * error;
            }
            state_.errors[(k0 + k) * sweep_rows + row] = error;
            Scalar& left = error_at(k0 + k)[row];
            left -= value;
            local_[r][k] = left;
        }
    }

    sweep_input<Scalar> const& in_;
    sweep_state<Scalar>& state_;
    coupled_rows_state<Scalar>& shared_;
    std::size_t chunk_;
    std::size_t ready_ = 0;  // columns that have taken the chunks above
    std::vector<Scalar> part_;
    Scalar feed_[sweep_leaf][sweep_leaf];
    Scalar local_[coupled_rows][sweep_leaf] = {};  // w - q of the rows from `first` on
};

/// Sweeps chunk `c` of the layer; the chunks above it must have been begun.
template <class Codec, class Scalar>
void coupled_chunk(Codec, sweep_input<Scalar> const& in, std::size_t c, sweep_state<Scalar>& state,
                   coupled_rows_state<Scalar>& shared) {
    struct finish {  // whoever waits must not wait for ever, whatever happens here
        coupled_rows_state<Scalar>& shared;
        std::size_t chunk;
        std::size_t columns;
        ~finish() { shared.publish(chunk, columns); }
    } const at_end{shared, c, in.factor->size()};
    std::size_t const row0 = c * sweep_rows;
    begin_chunk(in, row0, std::min(sweep_rows, in.w.rows - row0), state);
    coupled_leaf<Codec, Scalar> leaf(in, state, shared);
    if (in.factor->size() > 0) {
        sweep_columns(leaf, in, 0, in.factor->size(), state);
    }
}

}  // namespace fpq::detail
