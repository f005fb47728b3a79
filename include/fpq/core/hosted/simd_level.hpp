// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. Which instructions the kernels may use: what the processor has, found once, or
// less when a test or a benchmark asks for less. Every level gives the same bits.
#pragma once

#include <atomic>
#include <cstdint>

// GCC and clang can compile single functions for more than the baseline; elsewhere the generic
// kernels are the only ones. This follows from the target alone, so that all units of a program
// agree; limit_simd_level() is what turns kernels off.
#if defined(__x86_64__) && defined(__GNUC__)
#define FPQ_X86_KERNELS 1
// No FMA here: what has no fused instruction cannot be contracted into one.
#define FPQ_AVX2 [[gnu::target("avx2,f16c")]]
#define FPQ_AVX512 [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2")]]
#if defined(__clang__)
#define FPQ_INTRINSICS_BEGIN
#define FPQ_INTRINSICS_END
#else
// g++ 12 takes the undefined pass-through operands of its own intrinsics for mistakes (bug 105593).
#define FPQ_INTRINSICS_BEGIN                                                                   \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"") \
        _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")
#define FPQ_INTRINSICS_END _Pragma("GCC diagnostic pop")
#endif
#else
#define FPQ_X86_KERNELS 0
#define FPQ_INTRINSICS_BEGIN
#define FPQ_INTRINSICS_END
#endif

namespace fpq {

/// generic: what the compiler's baseline has. avx512: with BW, VL, DQ, VBMI and VBMI2.
enum class simd_level : std::uint8_t { generic, avx2, avx512 };

/// The best level of this processor.
inline simd_level simd_level_of_processor() noexcept {
#if FPQ_X86_KERNELS
    static simd_level const found = [] {
        bool const avx2 = __builtin_cpu_supports("avx2") != 0;
        bool const avx512 =
            __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
            __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
            __builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("avx512vbmi2") != 0;
        return avx2 && avx512 ? simd_level::avx512 : avx2 ? simd_level::avx2 : simd_level::generic;
    }();
    return found;
#else
    return simd_level::generic;
#endif
}

namespace detail {

inline std::atomic<simd_level>& simd_limit() noexcept {
    static std::atomic<simd_level> limit{simd_level::avx512};
    return limit;
}

}  // namespace detail

/// The level that kernels called from now on use: the processor's, or the limit if that is less.
inline simd_level active_simd_level() noexcept {
    simd_level const limit = detail::simd_limit().load(std::memory_order_relaxed);
    simd_level const best = simd_level_of_processor();
    return limit < best ? limit : best;
}

/// For tests and benchmarks: no level above this one, in all threads.
inline void limit_simd_level(simd_level limit) noexcept {
    detail::simd_limit().store(limit, std::memory_order_relaxed);
}

}  // namespace fpq
