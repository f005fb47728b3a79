// SPDX-License-Identifier: Apache-2.0
// Floor 4. The column sweep of GPTQ on a chunk of rows: round a column, feed its error forward.
// Rows are independent, so a chunk is one thread's work from first column to last and nothing is
// shared; chunk borders are fixed, so the bytes do not depend on the thread count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/solve/codec.hpp"
#include "fpq/solve/gptq_factor.hpp"
#include "fpq/solve/matmul.hpp"

namespace fpq::detail {

/// Rows that one thread sweeps at a time, and the rows of the inner tile (one cache line of float).
inline constexpr std::size_t sweep_rows = 128;
inline constexpr std::size_t sweep_lane = 16;

/// What a chunk's sweep reads: everything is in original column order but the factor.
template <class Scalar>
struct sweep_input {
    matrix_view<float const> w;  // (rows of the layer, n)
    quant_format format;
    scale_grid const* grid;
    basic_gptq_factor<Scalar> const* factor;
    std::size_t block;
    bool zero_dead;
};

/// What it leaves: codes in original order, errors w - q in processing order, column-major.
template <class Scalar>
struct sweep_state {
    std::size_t rows = 0;             // of the chunk
    std::vector<std::uint8_t> codes;  // (rows, n)
    std::vector<Scalar> errors;       // (n, sweep_rows): errors[k * sweep_rows + r]
    std::vector<Scalar> targets;      // (block, sweep_rows)
    double loss = 0;                  // sum of innovation * (target - q)^2 = tr(E H' E^T)
};

/// targets = w + (errors of all earlier blocks) * feedback, for columns [k0, k0 + width).
template <class Scalar>
void gather_targets(sweep_input<Scalar> const& in, std::size_t row0, std::size_t k0,
                    std::size_t width, sweep_state<Scalar>& state) {
    auto const& order = in.factor->order();
    for (std::size_t k = 0; k < width; ++k) {
        std::size_t const column = order[k0 + k];
        bool const zero = in.zero_dead && in.factor->dead(column);
        Scalar* const target = state.targets.data() + k * sweep_rows;
        Scalar* const error = state.errors.data() + (k0 + k) * sweep_rows;
        std::fill_n(target, sweep_rows, Scalar{0});
        for (std::size_t r = 0; r < state.rows; ++r) {
            target[r] = zero ? Scalar{0} : static_cast<Scalar>(in.w(row0 + r, column));
        }
        std::copy_n(target, sweep_rows, error);
    }
    if (k0 > 0) {
        auto const f = in.factor->feedback();
        product(product_shape::nn, width, sweep_rows, k0, Scalar{1}, f.row(k0), f.stride,
                static_cast<Scalar const*>(state.errors.data()), sweep_rows, state.targets.data(),
                sweep_rows, true);
    }
}

/// One block of columns for sweep_lane rows: their errors stay in L1 (block * 64 bytes).
template <class Codec, class Scalar>
void sweep_lanes(Codec, sweep_input<Scalar> const& in, std::size_t row0, std::size_t lane,
                 std::size_t k0, std::size_t width, sweep_state<Scalar>& state, Scalar* local) {
    auto const& order = in.factor->order();
    auto const f = in.factor->feedback();
    std::size_t const n = in.factor->size();
    std::size_t const group = in.format.group_of(n);
    std::size_t const groups = in.format.groups(n);
    std::size_t const rows = std::min(sweep_lane, state.rows - lane);
    for (std::size_t k = 0; k < width; ++k) {
        Scalar sum[sweep_lane];
        std::copy_n(state.targets.data() + k * sweep_rows + lane, sweep_lane, sum);
        Scalar const* const feed = f.row(k0 + k) + k0;
        for (std::size_t j = 0; j < k; ++j) {
            Scalar const factor = feed[j];
            Scalar const* const error = local + j * sweep_lane;
            for (std::size_t r = 0; r < sweep_lane; ++r) {
                sum[r] += factor * error[r];
            }
        }
        std::size_t const column = order[k0 + k];
        Scalar* const error = state.errors.data() + (k0 + k) * sweep_rows + lane;
        double loss = 0;
        for (std::size_t r = 0; r < rows; ++r) {
            std::size_t const g = (row0 + lane + r) * groups + column / group;
            float const step = in.grid->value[g];
            std::uint8_t const zero = zero_at(*in.grid, g);
            std::uint8_t const code = Codec::encode(static_cast<float>(sum[r]), step, zero);
            Scalar const q = static_cast<Scalar>(Codec::decode(code, step, zero));
            double const miss = static_cast<double>(sum[r] - q);
            loss += miss * miss;
            error[r] -= q;
            state.codes[(lane + r) * n + column] = code;
        }
        state.loss += loss * in.factor->innovation()[k0 + k];
        std::copy_n(error, sweep_lane, local + k * sweep_lane);
    }
}

/// Sweeps rows [row0, row0 + count) of the layer, count <= sweep_rows.
template <class Codec, class Scalar>
void sweep_chunk(Codec codec, sweep_input<Scalar> const& in, std::size_t row0, std::size_t count,
                 sweep_state<Scalar>& state) {
    std::size_t const n = in.factor->size();
    std::size_t const block = std::max<std::size_t>(in.block, 1);
    state.rows = count;
    state.loss = 0;
    state.codes.assign(count * n, 0);
    state.errors.resize(n * sweep_rows);
    state.targets.resize(block * sweep_rows);
    std::vector<Scalar> local(block * sweep_lane);
    for (std::size_t k0 = 0; k0 < n; k0 += block) {
        std::size_t const width = std::min(block, n - k0);
        gather_targets(in, row0, k0, width, state);
        for (std::size_t lane = 0; lane < count; lane += sweep_lane) {
            sweep_lanes(codec, in, row0, lane, k0, width, state, local.data());
        }
    }
}

}  // namespace fpq::detail
