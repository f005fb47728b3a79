// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The fast quantizer of bf16 and fp16 matrices for the methods that score candidates:
// sweep and four_over_six. A thread owns 16 values as in quantize_packed.cuh and scores a window of
// candidates around its start; see group_search.cuh. Groups that fast errors leave undecided wait
// until a warp has enough of them to settle one a lane.
//
// No byte outside the window can win. Upwards: where the maximum is below 3.5 steps, no value goes
// to a code above 3, and half the step has all the other values of the grid and more. No value's
// exact loss is larger under it, so neither is the sum; the CPU path tries it first. Downwards:
// what the maximum alone loses to clipping is more than the best error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/cuda/quantize/group_search_warp.cuh"
#include "fpq/cuda/quantize/packed.cuh"

namespace fpq::cuda {

/// Scale byte and codes of a segment where something is not finite or far from 1, by the group
/// rules. All lanes enter.
template <class Half, class Block, scale_rule Method>
__device__ std::uint32_t search_carefully(half_segment const& x, quantize_work const& work,
                                          float global, std::uint32_t (&out)[4]) {
    constexpr bool wide = !Block::has_global_scale;
    group_rule const rule{Block::format, Method, global, false, {}};
    float v[wide ? 32 : 16];
    int const own = wide && threadIdx.x % 2 != 0 ? 16 : 0;
    FPQ_UNROLL
    for (int i = 0; i < 8; ++i) {
        v[own + 2 * i] = to_float(Half{static_cast<std::uint16_t>(x.word[i])});
        v[own + 2 * i + 1] = to_float(Half{static_cast<std::uint16_t>(x.word[i] >> 16)});
    }
    if constexpr (wide) {
#pragma unroll 1
        for (int i = 0; i < 16; ++i) {
            v[16 - own + i] = __shfl_xor_sync(0xFFFFFFFFu, v[own + i], 1);
        }
    }
    // The count is a run-time value: unrolled, this rare path would be most of the kernel.
    std::uint8_t const byte = group_byte(rule, v, work.map.wide_group ? 32 : 16);
    float const s = step_of(Block::scale, byte, global);
    std::uint32_t codes[2] = {};
#pragma unroll 1
    for (int i = 0; i < 16; ++i) {
        codes[i / 8] |= std::uint32_t{code_of(rule, v[own + i], s, 0)} << (i % 8 * 4);
    }
    out[0] = codes[0];
    out[1] = codes[1];
    return byte;
}

/// A lane's part of a group.
struct search_segment {
    bool inside;
    half_segment x;
    float a;             // the group's maximum
    std::uint32_t byte;  // by minmax
    int start;           // of the search
};

/// A group that fast errors could not decide.
struct undecided {
    std::uint32_t unit;  // of its first lane
    std::uint32_t open;
};
inline constexpr unsigned undecided_room = 64;  // of a warp: below 32 before a turn adds up to 32

template <class Half, class Block, scale_rule Method>
struct group_searcher {
    static constexpr bool wide = !Block::has_global_scale;
    static constexpr bool sweeps = Method == scale_rule::sweep;
    using op = half_words<Half>;
    using own_table = std::conditional_t<wide, no_search_table, search_table>;

    quantize_work const& work;
    plain_rule<Block> rule;
    search_steps<Block> steps;
    plain_byte<Block> floor_of;
    bool exact_steps;

    /// All threads of the block call it; both tables are shared.
    __device__ group_searcher(quantize_work const& w, half_reciprocal* table, own_table& candidates)
        : work(w),
          rule(w, scale_rule::minmax, table),
          steps(rule.steps, rule.global, candidates),
          floor_of(scale_rule::floor, rule.global),
          exact_steps((bits_of<std::uint32_t>(rule.global) & 0x7FFFFFu) == 0) {}

    __device__ search_segment read(std::uint32_t unit, bool wanted) const {
        search_segment s;
        segment_place const place = work.map.at(unit);
        s.inside = wanted && place.row < work.map.rows && place.seg < work.map.segs;
        s.x.clear();
        if (s.inside) {
            s.x.load(static_cast<std::uint16_t const*>(work.x) + place.row * work.stride +
                     place.seg * segment);
        }
        s.a = s.x.template maximum<Half>();
        if constexpr (wide) {
            float const other = __shfl_xor_sync(whole_warp, s.a, 1);
            s.a = other > s.a || other != other ? other : s.a;
        }
        s.byte = rule.byte_of(s.a);
        s.start = static_cast<int>(wide && sweeps ? floor_of(s.a) : s.byte);
        return s;
    }
    /// Value i of a segment, its magnitude normalised.
    __device__ float normalised(search_segment const& s, int i) const {
        std::uint32_t const w = s.x.word[i / 2];
        return mul_rn(absolute(i % 2 == 0 ? op::low(w) : op::high(w)), steps.unit);
    }
    /// The place is found anew where it is not the unit itself: registers are scarce in between.
    __device__ void write(std::uint32_t unit, search_segment const& s, std::uint32_t byte,
                          std::uint32_t const (&out)[4], bool wanted) const {
        std::size_t at = unit;
        std::uint32_t scale = wide ? unit >> 1 : unit;
        if (work.map.swizzled) {
            segment_place const place = work.map.template place<true>(unit);
            at = place.row * static_cast<std::size_t>(work.map.segs) + place.seg;
            scale = place.scale;
        }
        if (s.inside) {
            reinterpret_cast<uint2*>(work.codes)[at] = {out[0], out[1]};
        }
        bool const owner = !wide || threadIdx.x % 2 == 0;
        if (owner && wanted && (work.map.swizzled || s.inside)) {
            work.scales[scale] = static_cast<std::uint8_t>(s.inside ? byte : 0u);
        }
    }
    /// False where the fast errors do not apply.
    __device__ bool is_plain(search_segment const& s) const {
        bool const plain = rule.plain_global && is_plain_maximum(s.a);
        if constexpr (wide) {
            return plain && s.start >= 2 && s.start <= e8m0::max_code - 3;
        } else {
            // Only beyond the last byte do quotients reach this far.
            constexpr int last = e4m3::max_code;
            return plain && !(s.start == last && s.a > unclipped_reach * steps.table->size[last]);
        }
    }
    /// The candidates that fast errors leave open.
    __device__ std::uint32_t open_of(search_segment const& s) const {
        std::uint32_t v[16];
        FPQ_UNROLL
        for (int i = 0; i < 16; ++i) {
            float const x = normalised(s, i);
            v[i] = pair_of(x, x);
        }
        float const a = mul_rn(s.a, steps.unit);
        float norm = (wide ? 32.0F : 16.0F) * a * a;  // at most
        if (!wide && !exact_steps) {
            norm = 0.0F;
            FPQ_UNROLL
            for (int i = 0; i < 16; ++i) {
                norm = fma_rn(normalised(s, i), normalised(s, i), norm);
            }
        }
        search_limit const limit(norm, exact_steps);
        if constexpr (sweeps) {
            return open_candidates(v, a, s.start, limit, steps);
        } else {
            int const four =
                max(static_cast<int>(e4m3_byte(mul_rn(mul_rn(s.a, 0.25F), rule.global))), 1);
            return open_of_two(v, s.start, four, limit, steps);
        }
    }
    /// One turn of a warp; undecided groups are appended to `queue` at `count`.
    __device__ void turn(std::uint32_t unit, undecided* queue, unsigned& count) {
        bool const wanted = unit < work.map.units;
        search_segment const s = read(unit, wanted);
        std::uint32_t byte;
        std::uint32_t out[4];
        if (__any_sync(whole_warp, !is_plain(s))) {
            byte = search_carefully<Half, Block, Method>(s.x, work, rule.global, out);
        } else {
            steps.normalise(s.a);
            std::uint32_t const left = open_of(s);
            std::uint32_t const open = s.a == 0.0F ? bit_of_offset(0) : left;
            int const offset = offset_of_bit(__ffs(static_cast<int>(open)) - 1);
            byte = s.a == 0.0F ? s.byte : static_cast<std::uint32_t>(s.start + offset);
            encode_segment<Half, Block>(s.x, steps.halves(byte), out);
            bool const owner = !wide || threadIdx.x % 2 == 0;
            bool const unsure = owner && (open & (open - 1)) != 0;
            std::uint32_t const all = __ballot_sync(whole_warp, unsure);
            if (unsure) {
                std::uint32_t const before = all & ((1u << (threadIdx.x % 32)) - 1u);
                queue[count + __popc(before)] = {unit, open};
            }
            count += __popc(all);
        }
        write(unit, s, byte, out, wanted);
    }
    /// Settles `count` groups of `queue`, at most a warp full, and writes them again.
    __device__ void settle_queue(undecided const* queue, unsigned count) {
        unsigned const lane = threadIdx.x % 32;
        unsigned const own = wide ? lane / 2 : lane;
        bool const wanted = own < count;
        undecided const group = wanted ? queue[own] : undecided{0, 0};
        std::uint32_t const unit = group.unit + (wide ? lane % 2 : 0);
        search_segment const s = read(unit, wanted);
        steps.normalise(s.a);
        float x[16];
        FPQ_UNROLL
        for (int i = 0; i < 16; ++i) {
            x[i] = normalised(s, i);
        }
        int const offset = settle<Block>(x, group.open, s.start, steps);
        auto const byte = static_cast<std::uint32_t>(s.start + offset);
        std::uint32_t out[4];
        encode_segment<Half, Block>(s.x, steps.halves(byte), out);
        write(unit, s, byte, out, wanted);
    }
};

/// Blocks that a multiprocessor should hold, as many as there are registers for without spills.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
inline constexpr unsigned search_blocks = 4;
#else
inline constexpr unsigned search_blocks = 3;
#endif

/// One segment a thread at a time, the grid walking the matrix; see the head of the file.
template <class Half, class Block, scale_rule Method>
__global__ void __launch_bounds__(quantize_threads, search_blocks)
    quantize_search(quantize_work const work) {
    constexpr unsigned full = Block::has_global_scale ? 32 : 16;
    __shared__ half_reciprocal table[plain_rule<Block>::table_entries];
    __shared__ undecided queues[quantize_threads / 32][undecided_room];
    using searcher_type = group_searcher<Half, Block, Method>;
    __shared__ typename searcher_type::own_table candidates;
    searcher_type searcher(work, table, candidates);
    undecided* const queue = queues[threadIdx.x / 32];
    unsigned count = 0;
    std::uint32_t const step = gridDim.x * quantize_threads;
    for (std::uint32_t base = blockIdx.x * quantize_threads; base < work.map.units; base += step) {
        searcher.turn(base + threadIdx.x, queue, count);
        __syncwarp();
        if (count >= full) {
            count -= full;
            searcher.settle_queue(queue + count, full);
            __syncwarp();
        }
    }
    // What the warps have left, in as few turns as will do.
    unsigned const warp = threadIdx.x / 32;
    unsigned const lane = threadIdx.x % 32;
    __shared__ unsigned left[quantize_threads / 32];
    undecided const own = queue[lane];
    if (lane == 0) {
        left[warp] = count;
    }
    __syncthreads();
    unsigned before = 0;
    unsigned all = 0;
    for (unsigned w = 0; w < quantize_threads / 32; ++w) {
        before += w < warp ? left[w] : 0;
        all += left[w];
    }
    undecided* const together = queues[0];
    if (lane < count) {
        together[before + lane] = own;
    }
    __syncthreads();
    if (full * warp < all) {
        searcher.settle_queue(together + full * warp, min(full, all - full * warp));
    }
}

}  // namespace fpq::cuda
