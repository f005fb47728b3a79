// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What the launchers of the forward pass check before they queue anything.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/gemm/checks.hpp"

namespace fpq::cuda {

/// Up to 2^31 - 1 rows, and 1 to as many columns. No row is nothing to do, and no error.
inline status check_rows(char const* who, std::size_t rows, std::size_t cols) noexcept {
    constexpr std::size_t most = 0x7FFFFFFF;
    if (rows > most) {
        return refuse_in(who, "rows", "up to 2147483647", static_cast<long long>(rows));
    }
    if (cols == 0 || cols > most) {
        return refuse_in(who, "cols", "1 to 2147483647", static_cast<long long>(cols));
    }
    return {};
}

inline status check_given(char const* who, std::initializer_list<void const*> pointers) noexcept {
    return std::find(pointers.begin(), pointers.end(), nullptr) == pointers.end()
               ? status{}
               : refuse(who, "device pointers", "null");
}

inline bool on_16_bytes(std::initializer_list<void const*> pointers) noexcept {
    return std::all_of(pointers.begin(), pointers.end(),
                       [](void const* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

/// Heads that kernels take: a multiple of 8 values up to 256, kv_heads a divisor of heads, rows
/// wide enough and on 16 bytes.
inline status check_heads(char const* who, std::size_t heads, std::size_t kv_heads,
                          std::size_t head_dim) noexcept {
    constexpr std::size_t most_heads = 65535;
    if (head_dim == 0 || head_dim % 8 != 0 || head_dim > 256) {
        return refuse_in(who, "head_dim", "a multiple of 8 up to 256",
                         static_cast<long long>(head_dim));
    }
    if (heads == 0 || heads > most_heads) {
        return refuse_in(who, "heads", "1 to 65535", static_cast<long long>(heads));
    }
    if (kv_heads == 0 || heads % kv_heads != 0) {
        return refuse_in(who, "kv_heads", "a divisor of heads", static_cast<long long>(kv_heads));
    }
    return {};
}

inline status check_head_rows(char const* who, char const* what, bf16_rows const& rows,
                              std::size_t cols) noexcept {
    if (rows.data == nullptr) {
        return refuse(who, "device pointers", "null");
    }
    if (rows.stride < cols || rows.stride % 8 != 0) {
        return refuse_in(who, what, "a stride of its columns or more, a multiple of 8",
                         static_cast<long long>(rows.stride));
    }
    return on_16_bytes({rows.data}) ? status{} : refuse(who, "addresses on 16 bytes", "others");
}

/// q, k, v, out and the scale of an attention; its heads are checked before.
template <class Args>
status check_attention(char const* who, Args const& a) noexcept {
    std::size_t const q_cols = a.heads * a.head_dim;
    std::size_t const k_cols = a.kv_heads * a.head_dim;
    status s =
        first_error(check_head_rows(who, "q", a.q, q_cols), check_head_rows(who, "k", a.k, k_cols));
    s = first_error(s, check_head_rows(who, "v", a.v, k_cols));
    s = first_error(s, check_head_rows(who, "out", a.out, q_cols));
    if (!s.ok()) {
        return s;
    }
    return a.scale >= 0 && std::isfinite(a.scale) ? status{}
                                                  : refuse(who, "a scale of 0 or more", "another");
}

/// What scores are multiplied with for a softmax in powers of two; a scale of 0: by the head's
/// size.
template <class Args>
float scale_of_scores(Args const& a) noexcept {
    constexpr float log2_e = 1.44269504F;
    return (a.scale > 0 ? a.scale : 1.0F / std::sqrt(static_cast<float>(a.head_dim))) * log2_e;
}

}  // namespace fpq::cuda
