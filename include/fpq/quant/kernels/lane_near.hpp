// SPDX-License-Identifier: Apache-2.0
// Floor 2. One candidate of eight searches, one a lane: its steps, whether a lane can still gain by
// it, and its near errors (lane_errors.hpp). All in registers, AVX2 without FMA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"

#if FPQ_X86_KERNELS
#include <immintrin.h>
#endif

namespace fpq::kernels {

/// What eight searches know. A candidate's index is its place in `near` and `step`.
struct lane_scores {
    alignas(32) float unit[lane_groups];   // what the groups were multiplied by
    alignas(32) float top[lane_groups];    // largest magnitude, multiplied
    alignas(32) float reach[lane_groups];  // of its grid
    alignas(32) float heavy[lane_groups];  // weight of the largest value
    alignas(32) float least[lane_groups];  // near error, so far
    alignas(32) std::int32_t winner[lane_groups];
    float over;   // a near error is at most this times the exact one,
    float under;  // which is at most this times the near one
    float half;   // of the grid's largest value
    float* near;  // (candidates, 8)
    float* step;  // (candidates, 8)
};

/// When a list goes on. below: step or a smaller one may still win, as far as the largest value
/// alone tells: what it loses is one term of the error, and rounding is monotonic. below_power: the
/// same for powers. above: half of step does not hold all values.
enum class lane_test : std::uint8_t { always, below, below_power, above };

/// Steps before `unit`: base[l] * factor, or at[l][index].
struct lane_source {
    float const* base = nullptr;
    float factor = 1.0F;
    float const* const* at = nullptr;  // not null: the table entries
    std::ptrdiff_t index = 0;
};

/// open = lanes whose list goes on under `step`.
template <int Lanes>
[[gnu::always_inline]] inline void open_lanes(lane_scores const& s, lane_test test, std::size_t at,
                                              typename lanes_of<Lanes>::f32 const& step,
                                              typename lanes_of<Lanes>::i32& open) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using u32 = typename lanes_of<Lanes>::u32;
    f32 top;
    std::memcpy(&top, s.top + at, sizeof top);
    if (test == lane_test::above) {
        open = top > step * s.half;
        return;
    }
    f32 reach;
    f32 heavy;
    f32 least;
    std::memcpy(&reach, s.reach + at, sizeof reach);
    std::memcpy(&heavy, s.heavy + at, sizeof heavy);
    std::memcpy(&least, s.least + at, sizeof least);
    u32 const bits = __builtin_bit_cast(u32, step) & 0x7FFFFFFFu;
    f32 const over = top - __builtin_bit_cast(f32, bits) * reach;
    f32 cut = over > 0.0F ? over : f32{};
    if (test == lane_test::below) {
        open = cut * cut * heavy < least * s.under;
    } else {
        near_power_lanes<Lanes>(cut);
        open = cut < least * (s.under * s.over * 1.0001F);
    }
}

/// Near errors of candidate `k`. False, and nothing changes: no lane's list goes on.
template <int Lanes, bool Integer, bool Weighted, lane_loss Loss>
[[gnu::always_inline]] inline bool try_candidate_body(lane_block const& b, lane_scores& s,
                                                      lane_source const& from, lane_test test,
                                                      std::size_t k) noexcept {
    using f32 = typename lanes_of<Lanes>::f32;
    using i32 = typename lanes_of<Lanes>::i32;
    float* const steps = s.step + k * lane_groups;
    std::uint64_t any = test == lane_test::always ? 1 : 0;
    for (std::size_t at = 0; at < lane_groups; at += Lanes) {
        f32 step;
        if (from.at != nullptr) {
            float const* const* const p = from.at + at;
            std::ptrdiff_t const i = from.index;
            if constexpr (Lanes == 8) {
                step = f32{p[0][i], p[1][i], p[2][i], p[3][i], p[4][i], p[5][i], p[6][i], p[7][i]};
            } else {
                step = f32{p[0][i], p[1][i], p[2][i], p[3][i]};
            }
        } else {
            std::memcpy(&step, from.base + at, sizeof step);
            step = step * from.factor;
        }
        f32 unit;
        std::memcpy(&unit, s.unit + at, sizeof unit);
        step = step * unit;
        std::memcpy(steps + at, &step, sizeof step);
        if (test != lane_test::always) {
            i32 open;
            open_lanes<Lanes>(s, test, at, step, open);
            std::uint64_t parts[Lanes / 2];
            std::memcpy(parts, &open, sizeof open);
            for (std::uint64_t const part : parts) {
                any |= part;
            }
        }
    }
    if (any == 0) {
        return false;
    }
    float* const near = s.near + k * lane_groups;
    lane_errors_body<Lanes, Integer, Weighted, Loss>(b, steps, near);
    for (std::size_t at = 0; at < lane_groups; at += Lanes) {
        f32 error;
        f32 least;
        i32 winner;
        std::memcpy(&error, near + at, sizeof error);
        std::memcpy(&least, s.least + at, sizeof least);
        std::memcpy(&winner, s.winner + at, sizeof winner);
        // A first error that is no number stays, and with it the first candidate.
        i32 better = error < least;
        better = k == 0 ? ~i32{} : better;
        least = better ? error : least;
        winner = better ? i32{} + static_cast<std::int32_t>(k) : winner;
        std::memcpy(s.least + at, &least, sizeof least);
        std::memcpy(s.winner + at, &winner, sizeof winner);
    }
    return true;
}

template <bool Integer, bool Weighted, lane_loss Loss>
bool try_candidate_generic(lane_block const& b, lane_scores& s, lane_source const& from,
                           lane_test test, std::size_t k) noexcept {
    return try_candidate_body<4, Integer, Weighted, Loss>(b, s, from, test, k);
}
/// Lanes, as bits, whose candidate k may have an exact error of at most `limit`. What is lost of
/// squares below 2^-126 stays below 2^-110.
inline unsigned rivals_generic(lane_scores const& s, std::size_t k, float const* limit) noexcept {
    unsigned bits = 0;
    for (std::size_t l = 0; l < lane_groups; ++l) {
        bool const may = s.near[k * lane_groups + l] <= limit[l] * s.over + 0x1p-110F;
        bits |= (may ? 1u : 0u) << l;
    }
    return bits;
}
#if FPQ_X86_KERNELS
template <bool Integer, bool Weighted, lane_loss Loss>
FPQ_AVX2 bool try_candidate_avx2(lane_block const& b, lane_scores& s, lane_source const& from,
                                 lane_test test, std::size_t k) noexcept {
    return try_candidate_body<8, Integer, Weighted, Loss>(b, s, from, test, k);
}
FPQ_AVX2 inline unsigned rivals_avx2(lane_scores const& s, std::size_t k,
                                     float const* limit) noexcept {
    __m256 const most = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(limit), _mm256_set1_ps(s.over)),
                                      _mm256_set1_ps(0x1p-110F));
    __m256 const near = _mm256_loadu_ps(s.near + k * lane_groups);
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(near, most, _CMP_LE_OQ)));
}
#endif

using try_candidate_function = bool (*)(lane_block const&, lane_scores&, lane_source const&,
                                        lane_test, std::size_t) noexcept;
using rivals_function = unsigned (*)(lane_scores const&, std::size_t, float const*) noexcept;

template <bool Integer, bool Weighted, lane_loss Loss>
try_candidate_function try_candidate_compiled([[maybe_unused]] simd_level level) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        return &try_candidate_avx2<Integer, Weighted, Loss>;
    }
#endif
    return &try_candidate_generic<Integer, Weighted, Loss>;
}

/// The body compiled for `level`; square: sums of squares, else of powers, which have no weights.
inline try_candidate_function try_candidate_at(simd_level level, bool integer, bool weighted,
                                               bool square) noexcept {
    if (!square) {
        constexpr lane_loss power = lane_loss::near_power_2_4;
        return integer ? try_candidate_compiled<true, false, power>(level)
                       : try_candidate_compiled<false, false, power>(level);
    }
    constexpr lane_loss loss = lane_loss::near_square;
    if (weighted) {
        return integer ? try_candidate_compiled<true, true, loss>(level)
                       : try_candidate_compiled<false, true, loss>(level);
    }
    return integer ? try_candidate_compiled<true, false, loss>(level)
                   : try_candidate_compiled<false, false, loss>(level);
}

inline rivals_function rivals_at([[maybe_unused]] simd_level level) noexcept {
#if FPQ_X86_KERNELS
    if (level != simd_level::generic) {
        return &rivals_avx2;
    }
#endif
    return &rivals_generic;
}

}  // namespace fpq::kernels
