// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The kernels of the part "observe": scales of groups, inputs rounded in place, codes
// under given scales, and decoding with what it cost. Device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/cuda/api/observe.hpp"
#include "fpq/cuda/gptq/block_sum.cuh"
#include "fpq/cuda/gptq/pack.hpp"
#include "fpq/cuda/observe/group_team.cuh"
#include "fpq/cuda/observe/team_search.cuh"
#include "fpq/cuda/quantize/load_input.cuh"
#include "fpq/cuda/quantize/store_output.cuh"
#include "fpq/format/pack.hpp"
#include "fpq/format/packed.hpp"

namespace fpq::cuda {

inline constexpr unsigned observe_threads = 256;
inline constexpr unsigned observe_teams = observe_threads / team_lanes;

struct observe_work {
    float_matrix x;
    search_rules rules;
    sweep_factors factors;
    float const* column_weight;
    std::uint8_t* scales;  // null: x is rounded in place instead
    std::uint8_t* zeros;
    std::uint32_t groups;        // of a row
    std::uint32_t group_length;  // of all but a short tail
    bool whole_tensor;           // one scale for everything, of the maximum at `amax`
    float const* amax;
};

/// One group a team at a time, the grid walking the matrix. The grid's teams take groups that lie
/// side by side.
template <search_kind Kind>
__global__ void __launch_bounds__(observe_threads, 2)
    observe_groups(__grid_constant__ observe_work const work) {
    __shared__ float values[observe_teams][team_room];
    __shared__ float weights[observe_teams][team_room];
    unsigned const own = threadIdx.x / team_lanes;
    group_team team(values[own], weights[own]);
    team_search<Kind> search(work.rules, work.factors, team);
    std::size_t const count = work.x.rows * work.groups;
    std::size_t const step = std::size_t{gridDim.x} * observe_teams;
    std::size_t const each = work.rules.format.scale_bytes_each();
    for (std::size_t k = std::size_t{blockIdx.x} * observe_teams + own; k < count; k += step) {
        std::size_t const row = k / work.groups;
        std::size_t const first = k % work.groups * work.group_length;
        std::size_t const left = work.x.cols - first;
        auto const length =
            static_cast<std::uint32_t>(left < work.group_length ? left : work.group_length);
        std::size_t const at = row * work.x.stride + first;
        team.load(work.x.data, work.x.type, at, length,
                  work.column_weight == nullptr ? nullptr : work.column_weight + first);
        group_scale const s = search.find();
        if (work.scales != nullptr) {
            if (team.lane() == 0) {
                work.scales[k * each] = static_cast<std::uint8_t>(s.stored & 0xFFu);
                if (each == 2) {
                    work.scales[k * each + 1] = static_cast<std::uint8_t>(s.stored >> 8);
                }
                if (work.zeros != nullptr) {
                    work.zeros[k] = s.zero;
                }
            }
            continue;
        }
        grid_rule const grid = search.grid_at(s.zero);
        for (std::uint32_t i = team.lane(); i < length; i += team_lanes) {
            float const v = load_float(work.x.data, work.x.type, at + i);
            float const y = s.value != 0.0F ? snapped(v, s.value, grid) : mul_rn(v, 0.0F);
            store_output(const_cast<void*>(work.x.data), work.x.type, at + i, y);
        }
    }
}

/// The one scale of a tensor whose maximum is known; a fixed rule. One thread.
template <class Unused>
__global__ void observe_tensor(observe_work const work) {
    float const amax = *work.amax;
    search_rules const& r = work.rules;
    base_scale const b = minmax_base_of(r.format, -amax, amax);
    group_scale const s = store_scale(r.format, r.grid, b.scale, amax, b.zero, r.mx, r.global);
    work.scales[0] = static_cast<std::uint8_t>(s.stored & 0xFFu);
    if (r.format.scale_bytes_each() == 2) {
        work.scales[1] = static_cast<std::uint8_t>(s.stored >> 8);
    }
}

/// The code of `v` under a step; under a step of 0, which abs_max may store, 0 with v's sign.
template <class Codec>
__device__ std::uint8_t code_of(Codec codec, bool symmetric, float v, float step,
                                std::uint8_t zero) {
    if (symmetric && step == 0.0F) {
        return codec.encode(bits_of<float>(bits_of<std::uint32_t>(v) & 0x80000000u), zero);
    }
    return codec.encode(div_rn(v, step), zero);
}

/// Packed codes, byte by byte. Grid: one block a row.
template <class Codec>
__global__ void __launch_bounds__(observe_threads)
    observe_encode(float_matrix const x, packed_view const q, std::uint8_t* codes, Codec codec) {
    std::size_t const row = blockIdx.x;
    std::size_t const bytes = q.format.row_bytes(q.cols);
    std::size_t const group = q.format.group_of(q.cols);
    int const bits = element_bits(q.format.element);
    for (std::size_t at = threadIdx.x; at < bytes; at += observe_threads) {
        codes[row * bytes + at] = packed_byte(bits, q.cols, at, [&](std::size_t j) {
            std::size_t const g = j / group;
            std::uint8_t const zero =
                q.zeros == nullptr ? std::uint8_t{0} : q.zeros[q.scale_index(row, g)];
            return std::uint32_t{code_of(codec, q.format.symmetric,
                                         load_float(x.data, x.type, row * x.stride + j),
                                         q.step(row, g), zero)};
        });
    }
}

/// Decodes, compares with what w held, and stores. A warp takes a group at a time. Grid: one block
/// a row.
template <class Codec>
__global__ void __launch_bounds__(observe_threads)
    observe_decode(packed_view const q, float_matrix const w, row_loss* loss, float* decoded,
                   Codec codec) {
    std::size_t const row = blockIdx.x;
    std::size_t const group = q.format.group_of(q.cols);
    std::size_t const groups = q.format.groups(q.cols);
    int const bits = element_bits(q.format.element);
    std::uint8_t const* const codes = q.codes + row * q.format.row_bytes(q.cols);
    unsigned const lane = threadIdx.x % 32;
    unsigned const warp = threadIdx.x / 32;
    // Short groups: several to a warp's turn, a power of two of lanes each.
    unsigned width = 32;
    while (width > 1 && width / 2 >= group) {
        width /= 2;
    }
    unsigned const teams = 32 / width;
    unsigned const team = lane / width;
    std::uint32_t const mask = (width == 32 ? 0xFFFFFFFFu : (1u << width) - 1u) << (team * width);
    double signal = 0;
    double noise = 0;
    float largest = 0;
    unsigned flushed = 0;
    unsigned flips = 0;
    unsigned blocks = 0;
    unsigned zeroed = 0;
    for (std::size_t first = std::size_t{warp} * teams; first < groups;
         first += observe_threads / 32 * teams) {
        std::size_t const g = first + team;
        bool before = false;
        bool after = false;
        std::size_t const begin = g * group;
        std::size_t const end = g >= groups ? begin : begin + q.format.group_length(q.cols, g);
        float const step = g < groups ? q.step(row, g) : 0.0F;
        std::uint8_t const zero =
            q.zeros == nullptr || g >= groups ? std::uint8_t{0} : q.zeros[q.scale_index(row, g)];
        for (std::size_t j = begin + lane % width; j < end; j += width) {
            float const b = mul_rn(codec.decode(packed_code(bits, codes, j), zero), step);
            std::size_t const at = row * w.stride + j;
            if (loss != nullptr) {
                float const a = load_float(w.data, w.type, at);
                double const d = static_cast<double>(a) - static_cast<double>(b);
                signal += static_cast<double>(a) * static_cast<double>(a);
                noise += d * d;
                largest = fmaxf(largest, fabsf(static_cast<float>(d)));
                flushed += a != 0.0F && b == 0.0F ? 1u : 0u;
                flips += (a < 0.0F && b > 0.0F) || (a > 0.0F && b < 0.0F) ? 1u : 0u;
                before = before || a != 0.0F;
                after = after || b != 0.0F;
            }
            if (decoded != nullptr) {
                decoded[row * q.cols + j] = b;
            } else {
                store_output(const_cast<void*>(w.data), w.type, at, round_to_bf16(b));
            }
        }
        if (loss != nullptr) {
            before = (__ballot_sync(0xFFFFFFFFu, before) & mask) != 0;
            after = (__ballot_sync(0xFFFFFFFFu, after) & mask) != 0;
            blocks += lane % width == 0 && (before || after) ? 1u : 0u;
            zeroed += lane % width == 0 && before && !after ? 1u : 0u;
        }
    }
    if (loss == nullptr) {
        return;
    }
    __shared__ row_loss sums[observe_threads / 32];
    for (int distance = 16; distance > 0; distance /= 2) {
        signal += __shfl_down_sync(0xFFFFFFFFu, signal, distance);
        noise += __shfl_down_sync(0xFFFFFFFFu, noise, distance);
        largest = fmaxf(largest, __shfl_down_sync(0xFFFFFFFFu, largest, distance));
        flushed += __shfl_down_sync(0xFFFFFFFFu, flushed, distance);
        flips += __shfl_down_sync(0xFFFFFFFFu, flips, distance);
        blocks += __shfl_down_sync(0xFFFFFFFFu, blocks, distance);
        zeroed += __shfl_down_sync(0xFFFFFFFFu, zeroed, distance);
    }
    if (lane == 0) {
        sums[warp] = {signal, noise, largest, flushed, flips, blocks, zeroed};
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        row_loss all = sums[0];
        for (unsigned i = 1; i < observe_threads / 32; ++i) {
            all.signal += sums[i].signal;
            all.noise += sums[i].noise;
            all.largest = fmaxf(all.largest, sums[i].largest);
            all.flushed += sums[i].flushed;
            all.sign_flips += sums[i].sign_flips;
            all.blocks += sums[i].blocks;
            all.zeroed += sums[i].zeroed;
        }
        loss[row] = all;
    }
}

}  // namespace fpq::cuda
