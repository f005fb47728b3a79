// SPDX-License-Identifier: Apache-2.0
// Floor 2. 4-bit codes to float32 and bf16, AVX-512: a group's 16 decoded values are made once,
// then every code is one permute away. Wider codes gather from a table of 256.
#pragma once

#include "fpq/quant/kernels/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fpq/core/half.hpp"

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// What one row's decoding needs: (table[code] - zero) * step, group by group.
struct decode_row {
    std::uint8_t const* codes;  // packed if 4 bits, else one byte a code
    std::size_t group;          // a multiple of 16
    float const* table;         // 16 or 256 values
    float const* step;          // one a group
    float const* zero;          // one a group; null: 0
};

/// Bit offsets of the codes of eight bytes, one a dword (or one a word) of the register.
struct alignas(64) shift_bytes {
    std::uint8_t at[64];
};
inline constexpr shift_bytes nibble_of_dword = [] {
    shift_bytes t{};
    for (unsigned i = 0; i < 64; ++i) {
        t.at[i] = static_cast<std::uint8_t>(i / 4 * 4);
    }
    return t;
}();
inline constexpr shift_bytes nibble_of_word = [] {
    shift_bytes t{};
    for (unsigned i = 0; i < 64; ++i) {
        t.at[i] = static_cast<std::uint8_t>(i / 2 * 4 % 64);
    }
    return t;
}();

/// The 16 decoded values of group g.
FPQ_AVX512 [[gnu::always_inline]] inline __m512 group_values(decode_row const& r, __m512 table,
                                                             std::size_t g) noexcept {
    __m512 const from_zero =
        r.zero == nullptr ? table : _mm512_sub_ps(table, _mm512_set1_ps(r.zero[g]));
    return _mm512_mul_ps(from_zero, _mm512_set1_ps(r.step[g]));
}

/// How 16 values are stored. quarters: past the caches in four parts, aligned to 16 bytes only.
enum class store_kind { plain, lines, quarters };

template <store_kind Kind>
FPQ_AVX512 [[gnu::always_inline]] inline void store_16(float* out, __m512 v) noexcept {
    if constexpr (Kind == store_kind::lines) {
        _mm512_stream_ps(out, v);
    } else if constexpr (Kind == store_kind::quarters) {
        _mm_stream_ps(out, _mm512_castps512_ps128(v));
        _mm_stream_ps(out + 4, _mm512_extractf32x4_ps(v, 1));
        _mm_stream_ps(out + 8, _mm512_extractf32x4_ps(v, 2));
        _mm_stream_ps(out + 12, _mm512_extractf32x4_ps(v, 3));
    } else {
        _mm512_storeu_ps(out, v);
    }
}

/// n values, a multiple of 16.
template <store_kind Kind>
FPQ_AVX512 inline void decode_nibbles_avx512(decode_row const& r, std::size_t n, float* out) {
    __m512 const table = _mm512_loadu_ps(r.table);
    __m512i const shifts = _mm512_load_si512(nibble_of_dword.at);
    std::uint8_t const* codes = r.codes;
    std::size_t g = 0;
    for (std::size_t i = 0; i < n; ++g) {
        __m512 const values = group_values(r, table, g);
        std::size_t const end = i + r.group < n ? i + r.group : n;
        for (; i < end; i += 16, codes += 8) {
            long long sixteen_codes = 0;  // rows of codes need not be aligned
            std::memcpy(&sixteen_codes, codes, sizeof sixteen_codes);
            __m512i const eight = _mm512_set1_epi64(sixteen_codes);
            // The permute reads the low four bits of each dword.
            __m512 const v =
                _mm512_permutexvar_ps(_mm512_multishift_epi64_epi8(shifts, eight), values);
            store_16<Kind>(out + i, v);
        }
    }
    if constexpr (Kind != store_kind::plain) {
        _mm_sfence();  // other threads see the values once this row is done
    }
}

/// The same rounded to bf16; every value is finite.
FPQ_AVX512 [[gnu::always_inline]] inline __m256i narrow_bf16(__m512 x) noexcept {
    __m512i const bits = _mm512_castps_si512(x);
    __m512i const odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i const up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
}

/// n values, a multiple of 32; steps and zeros as for float.
FPQ_AVX512 inline void decode_nibbles_avx512(decode_row const& r, std::size_t n, bf16* out) {
    __m512 const table = _mm512_loadu_ps(r.table);
    __m512i const shifts = _mm512_load_si512(nibble_of_word.at);
    __m512i const twice = _mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0);
    __m512i const upper_half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
    std::size_t last = ~std::size_t{0};
    __m256i low = _mm256_setzero_si256();
    for (std::size_t i = 0; i < n; i += 32) {
        std::size_t const g = i / r.group;
        if (g != last) {
            low = narrow_bf16(group_values(r, table, g));
        }
        std::size_t const h = (i + 16) / r.group;
        __m256i const high = h == g ? low : narrow_bf16(group_values(r, table, h));
        last = g;
        __m512i const values = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        __m512i const sixteen = _mm512_castsi128_si512(
            _mm_loadu_si128(reinterpret_cast<__m128i const*>(r.codes + i / 2)));
        __m512i const nibbles =
            _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi64(twice, sixteen));
        // The second 16 values look into the upper half of the 32 words.
        __m512i const index =
            _mm512_ternarylogic_epi32(nibbles, _mm512_set1_epi16(0x0F), upper_half, 0xEA);
        _mm512_storeu_si512(out + i, _mm512_permutexvar_epi16(index, values));
    }
}

/// n values of one byte each, a multiple of 16.
FPQ_AVX512 inline void decode_bytes_avx512(decode_row const& r, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; i += 16) {
        std::size_t const g = i / r.group;
        __m512i const code =
            _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(r.codes + i)));
        __m512 const value = _mm512_i32gather_ps(code, r.table, 4);
        _mm512_storeu_ps(out + i, group_values(r, value, g));
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif
