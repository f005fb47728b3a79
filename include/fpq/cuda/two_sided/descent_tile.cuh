// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Descent on scales and codes: what happens in a tile of some rows and one block of
// columns. Rows are visited one after the other, each with what those before it have changed; in a
// row group after group. A lane tries one candidate of a group's scale, so a warp tries all at
// once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/format/near_scale.hpp"
#include "fpq/format/stored_scale.hpp"

namespace fpq::cuda {

struct descent_tile {
    static constexpr int threads = 128;
    static constexpr int warps = threads / 32;
    static constexpr int most_width = 128;  // columns of a block
    static constexpr int pad = 4;           // floats behind each row of the block of H_I

    /// Columns of a block: as many whole groups as 64 columns hold, at least one.
    FPQ_HD static constexpr std::size_t width_of(std::size_t group) noexcept {
        return (group >= 64 ? 1 : 64 / group) * group;
    }
    /// Rows of a tile at most, so that it fits into 99 KB of shared memory.
    static constexpr std::size_t rows_of(std::size_t width) noexcept {
        return width <= 64 ? 128 : 32;
    }
    /// Floats of one warp's row: w, errors, changes.
    static constexpr int row_values = 3 * most_width;
    /// Rows whose pull at the rows below is at hand: those that are visited, and the next.
    static constexpr int ring = 8;
    static constexpr std::size_t shared_bytes(std::size_t rows, std::size_t width) noexcept {
        return sizeof(float) * (rows * width + width * (width + pad) + (warps + 1) * width +
                                (ring + 1) * rows + static_cast<std::size_t>(warps) * row_values) +
               static_cast<std::size_t>(warps) * most_width;
    }
};

/// A layer under way; see two_sided_workspace. Rows are padded to whole tiles, columns to whole
/// blocks, with zeros.
struct descent_layer {
    float const* w;         // (rows, stride)
    float* error;           // (rows, stride): w - q
    float const* errors_h;  // (rows, stride): error (H_I + damping I)
    float const* inputs;    // (stride, stride): H_I + damping I
    float const* outputs;   // (rows, rows) of row_stride: H_O + row damping I; null: rows are apart
    std::size_t row_stride;
    float const* slopes;    // (tiles, tile_rows, width): H_O error (H_I + ...), by tile; else null
    float* changes;         // (tiles, tile_rows, width): out, of errors
    std::uint8_t* codes;    // (rows, stride)
    std::uint16_t* scales;  // (rows, groups)
    std::uint8_t* zeros;    // (rows, groups)
    std::uint32_t* changed;
    quant_format format;
    float global_scale;
    bool tries_scales;
    std::size_t stride;
    std::uint32_t rows;
    std::uint32_t cols;
    std::uint32_t group;
    std::uint32_t groups;
    std::uint32_t width;      // columns of a block
    std::uint32_t tile_rows;  // rows of a tile
    std::uint32_t slots;      // of the schedule: tile t is in block (turn + t) % slots, or rests
    std::uint32_t first;      // tile of this turn
};

namespace detail {

/// A gain that rounding could have made up is no gain: the least part of the curvature's share.
inline constexpr float descent_least_gain = 1e-5F;

/// A row's block while its groups are visited; all arrays in shared memory and relative to it.
struct descent_row {
    float const* w;
    float* error;
    float* slope;
    float* change;
    std::uint8_t* code;
    float const* h;  // (width, h_pitch)
    std::uint32_t h_pitch;
    float const* inverse;  // (width): 1 / diag(h), 0 where nothing excites a column
};

/// Groups of up to this many columns are held in registers, which unrolls their loops.
inline constexpr int descent_unrolled = 32;

/// One candidate for a group of up to Most columns, tried by one lane.
template <class Codec, int Most>
struct descent_candidate {
    static constexpr bool held = Most <= descent_unrolled;
    static constexpr int unrolled = held ? Most : 1;

    float now[Most];    // the slope under it
    float delta[Most];  // of errors
    std::uint8_t code[Most];

    /// The old values on the grid of `tried`, then two sweeps in which each code is re-rounded
    /// given the group's others. Returns the change of the row's objective, 0 where it is no gain.
    __device__ double consider(descent_row const& r, Codec const& codec, std::uint32_t first,
                               int length, group_scale const& old, group_scale const& tried) {
        begin(r, first, length);
        float const inverse = div_rn(1.0F, tried.value);
        bool const same = old.stored == tried.stored && old.zero == tried.zero;
#pragma unroll 1
        for (int turn = same ? 1 : 0; turn < 3; ++turn) {
#pragma unroll unrolled
            for (int j = 0; j < Most; ++j) {
                if (j >= length) {
                    continue;
                }
                std::uint32_t const at = first + static_cast<std::uint32_t>(j);
                float const pull = r.inverse[at];
                float const value = turn == 0 ? mul_rn(codec.decode(code[j], old.zero), old.value)
                                    : pull > 0.0F
                                        ? fma_rn(now[j], pull, (r.w[at] - r.error[at]) - delta[j])
                                        : r.w[at];  // nothing excites it: rounded to nearest
                std::uint8_t const fresh = codec.encode(value * inverse, tried.zero);
                if (turn != 0 && fresh == code[j]) {
                    continue;
                }
                float const q = mul_rn(codec.decode(fresh, tried.zero), tried.value);
                float const step = ((r.w[at] - q) - r.error[at]) - delta[j];
                code[j] = fresh;
                delta[j] += step;
                feed(r.h + at * r.h_pitch + first, length, step);
            }
        }
        return gain(r, first, length);
    }

private:
    /// now += step times a row of the group's H_I. Rows of 16 or 32 columns begin on 16 bytes.
    __device__ void feed(float const* row, int length, float step) {
        if constexpr (held) {
            FPQ_UNROLL
            for (int c = 0; c < Most; c += 4) {
                float4 const h = *reinterpret_cast<float4 const*>(row + c);
                now[c] = fma_rn(step, h.x, now[c]);
                now[c + 1] = fma_rn(step, h.y, now[c + 1]);
                now[c + 2] = fma_rn(step, h.z, now[c + 2]);
                now[c + 3] = fma_rn(step, h.w, now[c + 3]);
            }
        } else {
#pragma unroll 4
            for (int c = 0; c < length; ++c) {
                now[c] = fma_rn(step, row[c], now[c]);
            }
        }
    }

    __device__ void begin(descent_row const& r, std::uint32_t first, int length) {
#pragma unroll unrolled
        for (int j = 0; j < Most; ++j) {
            bool const inside = j < length;
            std::uint32_t const at = first + static_cast<std::uint32_t>(inside ? j : 0);
            now[j] = inside ? r.slope[at] : 0.0F;
            code[j] = inside ? r.code[at] : std::uint8_t{0};
            delta[j] = 0;
        }
    }

    __device__ double gain(descent_row const& r, std::uint32_t first, int length) const {
        double sum = 0;
        double square = 0;  // delta (H + damping I) delta^T
#pragma unroll unrolled
        for (int j = 0; j < Most; ++j) {
            if (j < length) {
                auto const d = static_cast<double>(delta[j]);
                auto const before =
                    static_cast<double>(r.slope[first + static_cast<std::uint32_t>(j)]);
                auto const after = static_cast<double>(now[j]);
                sum += d * (before + after);
                square += d * (after - before);
            }
        }
        return sum < -static_cast<double>(descent_least_gain) * square ? sum : 0.0;
    }
};

/// The scale that lane `lane` tries; false: none.
__device__ inline bool scale_to_try(descent_layer const& a, int lane, group_scale const& old,
                                    group_scale& tried) {
    tried = old;
    if (!a.tries_scales || a.format.grain == granularity::tensor) {
        return lane == 0 && old.value != 0.0F;
    }
    int const span = fpq::detail::joint_span(a.format.scale);
    int const moves = a.format.symmetric ? 1 : 3;
    int const step = lane / moves - span;
    int const zero = static_cast<int>(old.zero) + (a.format.symmetric ? 0 : lane % moves - 1);
    int const last_zero = (1 << element_bits(a.format.element)) - 1;
    if (step > span || zero < 0 || zero > last_zero) {
        return false;
    }
    if (step != 0 || zero != static_cast<int>(old.zero)) {
        auto const at = fpq::detail::scale_near(a.format.scale, old.stored, step);
        if (step != 0 && !at.ok) {
            return false;
        }
        tried = decode_group_scale(a.format.scale, step == 0 ? old.stored : at.stored,
                                   static_cast<std::uint8_t>(zero), a.global_scale);
    }
    return tried.value != 0.0F;
}

/// Visits the group of columns [first, first + length) of a row's block, by one warp, and carries
/// what it changes to the slopes of the row's `inside` columns. Returns whether anything changed.
template <class Codec, int Most>
__device__ bool visit_group(descent_layer const& a, descent_row const& r, Codec const& codec,
                            std::size_t g, std::uint32_t first, int length, std::uint32_t inside) {
    auto const lane = static_cast<int>(threadIdx.x % 32);
    group_scale const old =
        decode_group_scale(a.format.scale, a.scales[g], a.zeros[g], a.global_scale);
    group_scale tried{};
    descent_candidate<Codec, Most> mine;
    double gain = 0;
    if (scale_to_try(a, lane, old, tried)) {
        gain = mine.consider(r, codec, first, length, old, tried);
    }
    double best = gain;
    int winner = lane;  // the first of equals
    FPQ_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
        double const other = __shfl_xor_sync(0xFFFFFFFFu, best, distance);
        int const whose = __shfl_xor_sync(0xFFFFFFFFu, winner, distance);
        bool const better = other < best || (other == best && whose < winner);
        best = better ? other : best;
        winner = better ? whose : winner;
    }
    if (!(best < 0.0)) {
        return false;
    }
    if (lane == winner) {
#pragma unroll descent_candidate < Codec, Most> ::unrolled
        for (int j = 0; j < Most; ++j) {
            if (j < length) {
                r.code[first + static_cast<std::uint32_t>(j)] = mine.code[j];
            }
        }
        a.scales[g] = tried.stored;
        a.zeros[g] = tried.zero;
    }
    float const value = __shfl_sync(0xFFFFFFFFu, tried.value, winner);
    auto const zero =
        static_cast<std::uint8_t>(__shfl_sync(0xFFFFFFFFu, static_cast<int>(tried.zero), winner));
    __syncwarp();
    for (int j = lane; j < length; j += 32) {
        std::uint32_t const at = first + static_cast<std::uint32_t>(j);
        float const left = add_rn(r.w[at], -mul_rn(codec.decode(r.code[at], zero), value));
        r.change[at] = left - r.error[at];
        r.error[at] = left;
    }
    __syncwarp();
    for (std::uint32_t c = static_cast<std::uint32_t>(lane); c < inside; c += 32) {
        float slope = r.slope[c];
#pragma unroll 8
        for (int j = 0; j < length; ++j) {
            std::uint32_t const at = first + static_cast<std::uint32_t>(j);
            slope = fma_rn(r.change[at], r.h[at * r.h_pitch + c], slope);
        }
        r.slope[c] = slope;
    }
    __syncwarp();
    return true;
}

}  // namespace detail

/// Tile t of the rows, one a block of threads, in block (turn + t) % slots of the columns.
template <class Codec, int Most>
__global__ void __launch_bounds__(descent_tile::threads, 1)
    descent_tile_kernel(descent_layer const a, std::uint32_t turn, Codec const codec) {
    using tile = descent_tile;
    extern __shared__ __align__(16) float descent_shared[];
    std::uint32_t const rows_tile = a.first + blockIdx.x;
    std::uint32_t const col0 = (turn + rows_tile) % a.slots * a.width;
    float* const changes = a.changes + std::size_t{rows_tile} * a.tile_rows * a.width;
    if (col0 >= a.cols) {
        return;
    }
    std::uint32_t const row0 = rows_tile * a.tile_rows;
    std::uint32_t const rows = min(a.tile_rows, a.rows - row0);
    std::uint32_t const inside = min(a.width, a.cols - col0);
    std::uint32_t const h_pitch = a.width + tile::pad;
    float* const slopes = descent_shared;
    float* const h = slopes + a.tile_rows * a.width;
    float* const spread = h + a.width * h_pitch;  // (warps, width)
    float* const inverse = spread + tile::warps * a.width;
    float* const inverse_weight = inverse + a.width;
    float* const factors = inverse_weight + a.tile_rows;  // (ring, tile_rows)
    float* const of_rows = factors + tile::ring * a.tile_rows;
    auto* const row_codes =
        reinterpret_cast<std::uint8_t*>(of_rows + tile::warps * tile::row_values);
    __shared__ bool changed_by[tile::warps];

    for (std::uint32_t at = threadIdx.x; at < a.width * a.width; at += tile::threads) {
        std::uint32_t const i = at / a.width;
        std::uint32_t const j = at % a.width;
        h[i * h_pitch + j] = a.inputs[std::size_t{col0 + i} * a.stride + col0 + j];
    }
    for (std::uint32_t j = threadIdx.x; j < a.width; j += tile::threads) {
        float const curvature = a.inputs[std::size_t{col0 + j} * a.stride + col0 + j];
        inverse[j] = curvature > 0.0F ? div_rn(1.0F, curvature) : 0.0F;
    }
    for (std::uint32_t i = threadIdx.x; i < rows && a.outputs != nullptr; i += tile::threads) {
        float const weight = a.outputs[std::size_t{row0 + i} * a.row_stride + row0 + i];
        inverse_weight[i] = weight > 0.0F ? div_rn(1.0F, weight) : 0.0F;
    }
    for (std::uint32_t at = threadIdx.x; at < rows * a.width; at += tile::threads) {
        std::uint32_t const i = at / a.width;
        std::uint32_t const j = at % a.width;
        std::size_t const row = row0 + i;
        float slope = a.errors_h[row * a.stride + col0 + j];
        if (a.outputs != nullptr) {
            float const weight = a.outputs[row * a.row_stride + row];
            // A row that no loss depends on is coupled to nothing.
            slope = weight > 0.0F
                        ? a.slopes[std::size_t{rows_tile} * a.tile_rows * a.width + at] / weight
                        : slope;
        }
        slopes[at] = slope;
    }
    auto const warp = threadIdx.x / 32;
    auto const lane = threadIdx.x % 32;
    float* const own = of_rows + warp * tile::row_values;
    std::uint8_t* const codes = row_codes + warp * tile::most_width;
    __syncthreads();

    // How far row i's changes reach those below.
    auto const find_factors = [&](std::uint32_t i) {
        float const* const pull = a.outputs + std::size_t{row0 + i} * a.row_stride + row0;
        for (std::uint32_t below = i + 1 + threadIdx.x; below < rows; below += tile::threads) {
            factors[i % tile::ring * a.tile_rows + below] = pull[below] * inverse_weight[below];
        }
    };
    for (std::uint32_t at = threadIdx.x; at < a.tile_rows * a.width; at += tile::threads) {
        changes[at] = 0;
    }
    if (a.outputs != nullptr) {
        find_factors(0);
    }
    __syncthreads();

    // Visits columns [begin, end) of row i with the calling warp.
    auto const visit = [&](std::uint32_t i, std::uint32_t begin, std::uint32_t end) {
        std::size_t const row = row0 + i;
        std::size_t const from = row * a.stride + col0;
        detail::descent_row const r{own,
                                    own + tile::most_width,
                                    slopes + i * a.width,
                                    own + 2 * tile::most_width,
                                    codes,
                                    h,
                                    h_pitch,
                                    inverse};
        for (std::uint32_t c = begin + lane; c < end; c += 32) {
            own[c] = a.w[from + c];
            r.error[c] = a.error[from + c];
            r.change[c] = 0;
            codes[c] = a.codes[from + c];
        }
        __syncwarp();
        bool any = false;
        for (std::uint32_t first = begin; first < end; first += a.group) {
            any = detail::visit_group<Codec, Most>(
                      a, r, codec, row * a.groups + (col0 + first) / a.group, first,
                      static_cast<int>(min(a.group, end - first)), inside) ||
                  any;
        }
        for (std::uint32_t c = begin + lane; c < end && any; c += 32) {
            changes[i * a.width + c] = r.change[c];
            a.error[from + c] = r.error[c];
            a.codes[from + c] = codes[c];
        }
        if (any && lane == 0) {
            atomicOr(a.changed, 1u);
        }
        __syncwarp();
        return any;
    };
    if (a.outputs == nullptr) {
        for (std::uint32_t i = warp; i < rows; i += tile::warps) {
            visit(i, 0, inside);
        }
        return;
    }
    std::uint32_t const groups = (inside + a.group - 1) / a.group;
    std::uint32_t const span = (groups + tile::warps - 1) / tile::warps * a.group;  // of a warp
    std::uint32_t const used = (inside + span - 1) / span;                          // warps
    for (std::uint32_t step = 0; step < rows + used - 1; ++step) {
        bool const visits = warp < used && step >= warp && step - warp < rows;
        bool const any = visits && visit(step - warp, warp * span, min(inside, (warp + 1) * span));
        if (lane == 0) {
            changed_by[warp] = any;
        }
        __syncthreads();
        // changes (H_I + damping I), by warp.
        for (std::uint32_t at = threadIdx.x; at < used * a.width; at += tile::threads) {
            std::uint32_t const w = at / a.width;
            std::uint32_t const c = at % a.width;
            float const* const change = of_rows + w * tile::row_values + 2 * tile::most_width;
            float sum = 0;
            if (changed_by[w]) {
#pragma unroll 8
                for (std::uint32_t k = w * span; k < min(inside, (w + 1) * span); ++k) {
                    sum = fma_rn(change[k], h[k * h_pitch + c], sum);
                }
            }
            spread[at] = sum;
        }
        if (step + 1 < rows) {
            find_factors(step + 1);
        }
        __syncthreads();
        for (std::uint32_t below = warp; below < rows; below += tile::warps) {
            if (below + used <= step + 1) {
                continue;  // above all rows of this step
            }
            for (std::uint32_t c = lane; c < a.width; c += 32) {
                float slope = slopes[below * a.width + c];
                for (std::uint32_t w = 0; w < used; ++w) {
                    if (changed_by[w] && step - w < below) {
                        slope = fma_rn(factors[(step - w) % tile::ring * a.tile_rows + below],
                                       spread[w * a.width + c], slope);
                    }
                }
                slopes[below * a.width + c] = slope;
            }
        }
        __syncthreads();
    }
}

}  // namespace fpq::cuda
