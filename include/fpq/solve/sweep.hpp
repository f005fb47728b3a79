// SPDX-License-Identifier: Apache-2.0
// Floor 4. The column sweep of GPTQ on a chunk of rows: round a column, feed its error forward.
// Rows are independent, so a chunk is one thread's work from first column to last and nothing is
// shared; chunk borders are fixed, so the bytes do not depend on the thread count. Columns are
// halved recursively: all feedback between two halves is one matrix product, as large as possible.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/solve/codec.hpp"
#include "fpq/solve/codec_lanes.hpp"
#include "fpq/solve/gptq_factor.hpp"

namespace fpq::detail {

/// Rows that one thread sweeps at a time, and the columns that plain loops sweep.
inline constexpr std::size_t sweep_rows = 256;
inline constexpr std::size_t sweep_leaf = 16;

/// What a chunk's sweep reads: everything is in original column order but the factor.
template <class Scalar>
struct sweep_input {
    matrix_view<float const> w;  // (rows of the layer, n)
    quant_format format;
    scale_grid const* grid;
    basic_gptq_factor<Scalar> const* factor;
    std::size_t block;
};

/// What it leaves: codes in original order, errors w - q in processing order, column-major.
template <class Scalar>
struct sweep_state {
    std::size_t row0 = 0;             // of the chunk in the layer
    std::size_t rows = 0;             // of the chunk
    std::vector<std::uint8_t> codes;  // (rows, n)
    std::vector<Scalar> errors;       // (n, sweep_rows): errors[k * sweep_rows + r]; w at first
    std::vector<Scalar> targets;      // the same shape: w and the feedback of what is swept
    double loss = 0;                  // sum of innovation * (target - q)^2 = tr(E H' E^T)
    double squared = 0;               // tr(E E^T)
};

/// errors = targets = w^T in processing order; rows beyond the chunk are 0. Walks a few rows at a
/// time: the columns of a row-major matrix lie far apart and would push each other out of cache.
template <class Scalar>
void load_targets(sweep_input<Scalar> const& in, sweep_state<Scalar>& state) {
    auto const& order = in.factor->order();
    state.errors.assign(order.size() * sweep_rows, Scalar{0});
    for (std::size_t lane = 0; lane < state.rows; lane += codec_lanes) {
        std::size_t const rows = std::min(codec_lanes, state.rows - lane);
        for (std::size_t k = 0; k < order.size(); ++k) {
            float const* const from = in.w.row(state.row0 + lane) + order[k];
            Scalar* const to = state.errors.data() + k * sweep_rows + lane;
            for (std::size_t r = 0; r < rows; ++r) {
                to[r] = static_cast<Scalar>(from[r * in.w.stride]);
            }
        }
    }
    state.targets = state.errors;
}

/// The steps and zero points of one group of columns in codec_lanes rows.
struct lane_steps {
    std::size_t group = std::numeric_limits<std::size_t>::max();
    float step[codec_lanes];
    std::uint8_t zero[codec_lanes];

    void load(scale_grid const& grid, std::size_t row0, std::size_t rows, std::size_t g) noexcept {
        if (g == group) {
            return;
        }
        group = g;
        for (std::size_t r = 0; r < codec_lanes; ++r) {
            std::size_t const at = (row0 + std::min(r, rows - 1)) * grid.groups + g;
            step[r] = grid.value[at];
            zero[r] = zero_at(grid, at);
        }
    }
};

/// Columns [k0, k0 + width) of codec_lanes rows, width <= sweep_leaf, one after the other: their
/// errors stay in L1. `lane` is the first row in the chunk.
template <class Codec, class Scalar>
void sweep_lanes(Codec, sweep_input<Scalar> const& in, std::size_t lane, std::size_t k0,
                 std::size_t width, sweep_state<Scalar>& state) {
    auto const& order = in.factor->order();
    auto const f = in.factor->feedback();
    std::size_t const n = order.size();
    std::size_t const group = in.format.group_of(n);
    std::size_t const rows = std::min(codec_lanes, state.rows - lane);
    Scalar local[sweep_leaf * codec_lanes];
    std::uint8_t codes[sweep_leaf * codec_lanes];
    double loss[codec_lanes] = {};
    double squared[codec_lanes] = {};
    lane_steps steps;
    for (std::size_t k = 0; k < width; ++k) {
        Scalar target[codec_lanes];
        std::copy_n(state.targets.data() + (k0 + k) * sweep_rows + lane, codec_lanes, target);
        Scalar const* const feed = f.row(k0 + k) + k0;
        for (std::size_t j = 0; j < k; ++j) {
            Scalar const factor = feed[j];
            Scalar const* const error = local + j * codec_lanes;
            for (std::size_t r = 0; r < codec_lanes; ++r) {
                target[r] += factor * error[r];
            }
        }
        float rounded[codec_lanes];
        std::copy_n(target, codec_lanes, rounded);
        steps.load(*in.grid, state.row0 + lane, rows, order[k0 + k] / group);
        rounded_lanes q;
        lane_codec<Codec>::round(rounded, steps.step, steps.zero, q);
        double const cost = in.factor->innovation()[k0 + k];
        Scalar* const error = state.errors.data() + (k0 + k) * sweep_rows + lane;
        for (std::size_t r = 0; r < codec_lanes; ++r) {
            Scalar const value = static_cast<Scalar>(q.value[r]);
            double const miss = static_cast<double>(target[r] - value);
            loss[r] += cost * (miss * miss);
            error[r] -= value;
            local[k * codec_lanes + r] = error[r];
            squared[r] += static_cast<double>(error[r]) * static_cast<double>(error[r]);
            codes[k * codec_lanes + r] = static_cast<std::uint8_t>(q.code[r]);
        }
    }
    for (std::size_t r = 0; r < rows; ++r) {
        std::uint8_t* const row = state.codes.data() + (lane + r) * n;
        for (std::size_t k = 0; k < width; ++k) {
            row[order[k0 + k]] = codes[k * codec_lanes + r];
        }
        state.loss += loss[r];
        state.squared += squared[r];
    }
}

/// Columns [k0, k0 + width): the left part, its feedback to the right part, the right part. `leaf`
/// rounds columns [k0, k0 + width) of all rows, width <= sweep_leaf, and is called from left to
/// right. Parts wider than in.block are multiples of it, the others multiples of the leaf.
template <class Leaf, class Scalar>
void sweep_columns(Leaf& leaf, sweep_input<Scalar> const& in, std::size_t k0, std::size_t width,
                   sweep_state<Scalar>& state) {
    std::size_t const block = std::max<std::size_t>(in.block, 1);
    std::size_t const unit = width > block ? block : sweep_leaf;
    if (width <= unit) {
        leaf(k0, width);
        return;
    }
    std::size_t const left = (width / unit + 1) / 2 * unit;
    sweep_columns(leaf, in, k0, left, state);
    auto const f = in.factor->feedback();
    product(product_shape::nn, width - left, sweep_rows, left, Scalar{1}, f.row(k0 + left) + k0,
            f.stride, static_cast<Scalar const*>(state.errors.data() + k0 * sweep_rows), sweep_rows,
            state.targets.data() + (k0 + left) * sweep_rows, sweep_rows, true);
    sweep_columns(leaf, in, k0 + left, width - left, state);
}

/// An empty state for rows [row0, row0 + count), 0 < count <= sweep_rows, with their targets.
template <class Scalar>
void begin_chunk(sweep_input<Scalar> const& in, std::size_t row0, std::size_t count,
                 sweep_state<Scalar>& state) {
    state.row0 = row0;
    state.rows = count;
    state.loss = 0;
    state.squared = 0;
    state.codes.assign(count * in.factor->size(), 0);
    load_targets(in, state);
}

/// Sweeps rows [row0, row0 + count) of the layer, 0 < count <= sweep_rows.
template <class Codec, class Scalar>
void sweep_chunk(Codec codec, sweep_input<Scalar> const& in, std::size_t row0, std::size_t count,
                 sweep_state<Scalar>& state) {
    begin_chunk(in, row0, count, state);
    auto const leaf = [&](std::size_t k0, std::size_t width) {
        for (std::size_t lane = 0; lane < count; lane += codec_lanes) {
            sweep_lanes(codec, in, lane, k0, width, state);
        }
    };
    if (in.factor->size() > 0) {
        sweep_columns(leaf, in, 0, in.factor->size(), state);
    }
}

}  // namespace fpq::detail
