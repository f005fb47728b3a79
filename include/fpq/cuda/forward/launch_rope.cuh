// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_rope.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/rope.cuh"
#include "fpq/cuda/forward/rope_map.hpp"
#include "fpq/cuda/ptx/launch_overlapping.cuh"

namespace fpq::cuda {

namespace detail {

template <int Width, int Lanes, int Held>
status launch_rope_heads(rope_work const& work, cudaStream_t stream) {
    constexpr std::size_t groups = rope_threads / Lanes;
    std::size_t const wanted = work.tokens * work.map.groups_a_token;
    std::size_t const blocks = (wanted + groups - 1) / groups;
    if (blocks > 0x7FFFFFFFu) {
        return refuse("launch_rope: tokens", "fewer", static_cast<long long>(work.tokens));
    }
    return launch_overlapping<rope_kernel<Width, Lanes, Held>>(
        "launch_rope", static_cast<unsigned>(blocks), rope_threads, stream, work);
}

template <int Width, int Lanes>
status launch_rope_lanes(rope_work const& work, cudaStream_t stream) {
    return work.map.held == 1 ? launch_rope_heads<Width, Lanes, 1>(work, stream)
                              : launch_rope_heads<Width, Lanes, 4>(work, stream);
}

}  // namespace detail

status launch_rope(rope_args const& a, cudaStream_t stream) {
    char const* const who = "launch_rope";
    status s = check_heads(who, a.heads, a.kv_heads, a.head_dim);
    if (!s.ok() || a.tokens == 0) {
        return s;
    }
    s = first_error(check_head_rows(who, "q", a.q, a.heads * a.head_dim),
                    check_head_rows(who, "k", a.k, a.kv_heads * a.head_dim));
    s = first_error(s, check_given(who, {a.cos, a.sin}));
    if (!s.ok()) {
        return s;
    }
    if (!on_16_bytes({a.cos, a.sin, a.q_norm, a.k_norm})) {
        return refuse(who, "tables and norms on 16 bytes", "others");
    }
    if ((a.q_norm == nullptr) != (a.k_norm == nullptr)) {
        return refuse(who, "both norms or none", "one");
    }
    if (a.positions == nullptr && (a.length == 0 || a.length > 0x7FFFFFFFu)) {
        return refuse("launch_rope: length", "1 to 2147483647, or positions",
                      static_cast<long long>(a.length));
    }
    bool const stored = a.slots != nullptr;
    if (stored) {
        s = first_error(check_head_rows(who, "v", a.v, a.kv_heads * a.head_dim),
                        check_head_rows(who, "keys", a.keys, a.kv_heads * a.head_dim));
        s = first_error(s, check_head_rows(who, "values", a.values, a.kv_heads * a.head_dim));
        if (!s.ok()) {
            return s;
        }
    }
    rope_work const work{a.q.data,
                         a.q.stride,
                         a.k.data,
                         a.k.stride,
                         static_cast<std::uint32_t>(a.heads),
                         static_cast<std::uint32_t>(a.kv_heads),
                         a.tokens,
                         static_cast<std::uint32_t>(a.length),
                         a.positions,
                         a.cos,
                         a.sin,
                         a.q_norm,
                         a.k_norm,
                         a.eps,
                         plan_rope(a.head_dim, a.heads + (stored ? 2 : 1) * a.kv_heads, a.tokens),
                         stored ? a.keys.data : a.k.data,
                         stored ? a.keys.stride : a.k.stride,
                         a.slots,
                         a.v.data,
                         a.v.stride,
                         a.values.data,
                         a.values.stride};
    if (work.map.width == 4) {
        return detail::launch_rope_lanes<4, 32>(work, stream);
    }
    switch (work.map.lanes) {
        case 4:
            return detail::launch_rope_lanes<8, 4>(work, stream);
        case 8:
            return detail::launch_rope_lanes<8, 8>(work, stream);
        default:
            return detail::launch_rope_lanes<8, 16>(work, stream);
    }
}

}  // namespace fpq::cuda
