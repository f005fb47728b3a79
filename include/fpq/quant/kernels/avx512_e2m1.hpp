// SPDX-License-Identifier: Apache-2.0
// Floor 2. E2M1 codes of 128 weights under one-byte scales, AVX-512: cell, threshold, compare, pack
// (e2m1_table.hpp says why this is exact). Eight vectors of 16 weights make 64 bytes of codes.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/core/half.hpp"
#include "fpq/quant/kernels/e2m1_table.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Bytes of the two lookups of the packer, made at compile time.
struct alignas(64) bytes64 {
    std::uint8_t at[64];
};

/// (cell modulo 32) << 1 | (below the threshold) -> code.
inline constexpr bytes64 e2m1_codes = [] {
    bytes64 t{};
    for (unsigned i = 0; i < 64; ++i) {
        unsigned const below = i & 1u;
        unsigned const code = e2m1_code_at(i >> 1);
        unsigned const sign = code < 8 ? unsigned{e2m1_negative_at(i >> 1)} : below;
        t.at[i] = static_cast<std::uint8_t>((code < 8 ? code + 1 - below : code - 8) | sign << 3);
    }
    return t;
}();

/// Where byte v * 8 + j of the output, vector v's pair j, is found: byte j * 8 + v.
inline constexpr bytes64 order_of_adjacent = [] {
    bytes64 t{};
    for (unsigned i = 0; i < 64; ++i) {
        t.at[i] = static_cast<std::uint8_t>((i % 8) * 8 + i / 8);
    }
    return t;
}();

/// The same for halves: byte j * 4 + v % 4 of half v / 4.
inline constexpr bytes64 order_of_halves = [] {
    bytes64 t{};
    for (unsigned i = 0; i < 64; ++i) {
        unsigned const v = i / 8;
        t.at[i] = static_cast<std::uint8_t>((v / 4) * 32 + (i % 8) * 4 + v % 4);
    }
    return t;
}();

FPQ_AVX512 [[gnu::always_inline]] inline __m512i load_bytes(bytes64 const& t) noexcept {
    return _mm512_load_si512(t.at);
}

/// 16 values as float32. bf16: the even ones, then the odd ones (their order costs a shuffle),
/// which keep the even ones in the bits that e2m1_input calls unseen.
template <class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i load_values(T const* x) noexcept {
    if constexpr (std::is_same_v<T, float>) {
        return _mm512_loadu_si512(x);
    } else if constexpr (std::is_same_v<T, bf16>) {
        __m256i const words = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(x));
        __m512i const shifts =
            _mm512_set_epi64(0, 0, 0, 0, 0x1000000010, 0x1000000010, 0x1000000010, 0x1000000010);
        return _mm512_sllv_epi32(_mm512_broadcast_i64x4(words), shifts);
    } else {
        return _mm512_castps_si512(
            _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(x))));
    }
}
template <class T>
inline constexpr std::uint32_t unseen_bits = std::is_same_v<T, bf16> ? 0xFFFFu : 0u;

/// (cell << 1 | below) of 16 weights under one scale, plus 0x80000040. Clamp: |w| / s may exceed
/// e2m1_signed_end.
template <bool Clamp, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i e2m1_lookup(T const* x, e2m1_row const& row,
                                                             float const& cell_unit) noexcept {
    __m512i const w = load_values(x);
    __m512 const cell = _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_set1_ps(cell_unit),
                                        _mm512_set1_ps(e2m1_cell_base));
    __m512i index = _mm512_castps_si512(cell);
    if constexpr (Clamp) {
        constexpr std::int32_t zero = bits_of<std::int32_t>(e2m1_cell_base);
        index = _mm512_max_epi32(index, _mm512_set1_epi32(zero - e2m1_last_cell));
        index = _mm512_min_epi32(index, _mm512_set1_epi32(zero + e2m1_last_cell));
    }
    __m512i const threshold =
        _mm512_permutex2var_epi32(_mm512_load_si512(row.threshold.data()), index,
                                  _mm512_load_si512(row.threshold.data() + 16));
    // The funnel shift appends the sign bit and pushes out the float's own.
    return _mm512_shldi_epi32(index, _mm512_sub_epi32(w, threshold), 1);
}

/// Four vectors of bytes in dwords to one: byte k of every dword from vector k; then the codes.
FPQ_AVX512 [[gnu::always_inline]] inline __m512i merge_codes(__m512i a, __m512i b, __m512i c,
                                                             __m512i d) noexcept {
    __m512i const low =
        _mm512_ternarylogic_epi32(a, _mm512_slli_epi32(b, 8), _mm512_slli_epi32(c, 16), 0xFE);
    __m512i const all = _mm512_or_si512(low, _mm512_slli_epi32(d, 24));
    return _mm512_permutexvar_epi8(all, load_bytes(e2m1_codes));
}

/// e2m1_lookup of vector K of x, whose groups have one of `bytes` each.
template <std::size_t Group, bool Clamp, std::size_t K, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i e2m1_vector(T const* x, std::uint8_t const* bytes,
                                                             e2m1_row const* rows,
                                                             float const* units) noexcept {
    std::size_t const byte = bytes[K * 16 / Group];
    return e2m1_lookup<Clamp>(x + 16 * K, rows[byte], units[byte]);
}

/// 64 bytes of codes of x (128) under bytes (128 / Group), all within the table.
/// Unless Clamp: every |w| / s is below e2m1_signed_end.
template <std::size_t Group, bool Clamp, class T>
FPQ_AVX512 [[gnu::always_inline]] inline __m512i e2m1_encode_128(T const* x,
                                                                 std::uint8_t const* bytes,
                                                                 e2m1_row const* rows,
                                                                 float const* units) noexcept {
    // Written out: g++ -O2 would keep a loop and pass the vectors through memory.
    __m512i const first = merge_codes(e2m1_vector<Group, Clamp, 0>(x, bytes, rows, units),
                                      e2m1_vector<Group, Clamp, 1>(x, bytes, rows, units),
                                      e2m1_vector<Group, Clamp, 2>(x, bytes, rows, units),
                                      e2m1_vector<Group, Clamp, 3>(x, bytes, rows, units));
    __m512i const second = merge_codes(e2m1_vector<Group, Clamp, 4>(x, bytes, rows, units),
                                       e2m1_vector<Group, Clamp, 5>(x, bytes, rows, units),
                                       e2m1_vector<Group, Clamp, 6>(x, bytes, rows, units),
                                       e2m1_vector<Group, Clamp, 7>(x, bytes, rows, units));
    if constexpr (std::is_same_v<T, bf16>) {
        __m512i const even = _mm512_inserti64x4(first, _mm512_castsi512_si256(second), 1);
        __m512i const odd = _mm512_shuffle_i64x2(first, second, 0xEE);
        __m512i const pairs = _mm512_or_si512(even, _mm512_slli_epi32(odd, 4));
        return _mm512_permutexvar_epi8(load_bytes(order_of_halves), pairs);
    } else {
        // The odd value is the upper dword of its qword: 28 down puts its code above the even one.
        __m512i const low = _mm512_or_si512(first, _mm512_srli_epi64(first, 28));
        __m512i const high = _mm512_or_si512(second, _mm512_srli_epi64(second, 28));
        __m512i const pairs = _mm512_mask_blend_epi32(0xAAAA, low, _mm512_slli_epi64(high, 32));
        return _mm512_permutexvar_epi8(load_bytes(order_of_adjacent), pairs);
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
