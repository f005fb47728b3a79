// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_paged_attention: checks, then the smallest kernel that holds a
// head.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/paged_attention.cuh"
#include "fpq/cuda/ptx/launch_overlapping.cuh"

namespace fpq::cuda {

namespace detail {

/// What both launchers over pages check of a cache.
inline status check_pages(char const* who, paged_cache const& cache) noexcept {
    if (status s = check_given(who, {cache.pages}); !s.ok()) {
        return s;
    }
    return std::has_single_bit(cache.page) && cache.page <= (std::size_t{1} << 20)
               ? status{}
               : refuse_in(who, "page", "a power of two up to 1048576",
                           static_cast<long long>(cache.page));
}

/// q, k, v and out of either as check_attention wants them.
template <class Args>
attention_args rows_of(Args const& a) noexcept {
    attention_args out;
    out.q = a.q;
    out.k = a.cache.keys;
    out.v = a.cache.values;
    out.out = a.out;
    out.heads = a.heads;
    out.kv_heads = a.kv_heads;
    out.head_dim = a.head_dim;
    out.scale = a.scale;
    return out;
}

template <int Dim>
status launch_paged_dim(paged_attention_args const& a, paged_attention_work work,
                        cudaStream_t stream) {
    constexpr std::uint32_t heads = paged_attention_warp<Dim>::heads;
    work.chunks = (work.queries_a_key + heads - 1) / heads;
    std::size_t const blocks = a.count * a.kv_heads * work.chunks;
    if (blocks > 0x7FFFFFFFu) {
        return refuse("launch_paged_attention: queries", "fewer", static_cast<long long>(a.count));
    }
    dim3 const grid(static_cast<unsigned>(blocks),
                    static_cast<unsigned>(std::clamp<std::size_t>(a.splits, 1, 65535)));
    return launch_overlapping<paged_attention_kernel<Dim>>("launch_paged_attention", grid,
                                                           paged_attention_threads, stream, work);
}

}  // namespace detail

status launch_paged_attention(paged_attention_args const& a, cudaStream_t stream) {
    char const* const who = "launch_paged_attention";
    status s = check_heads(who, a.heads, a.kv_heads, a.head_dim);
    if (!s.ok() || a.count == 0) {
        return s;
    }
    s = first_error(detail::check_pages(who, a.cache), check_attention(who, detail::rows_of(a)));
    s = first_error(s, check_given(who, {a.queries, a.partials, a.counters}));
    if (!s.ok()) {
        return s;
    }
    paged_attention_work const work{a.q.data,
                                    a.cache.keys.data,
                                    a.cache.values.data,
                                    a.out.data,
                                    a.q.stride,
                                    a.cache.keys.stride,
                                    a.cache.values.stride,
                                    a.out.stride,
                                    a.cache.pages,
                                    a.queries,
                                    static_cast<std::uint32_t>(std::countr_zero(a.cache.page)),
                                    static_cast<std::uint32_t>(a.kv_heads),
                                    static_cast<std::uint32_t>(a.heads / a.kv_heads),
                                    0,
                                    static_cast<std::uint32_t>(a.head_dim),
                                    scale_of_scores(a),
                                    a.partials,
                                    a.counters};
    if (a.head_dim <= 64) {
        return detail::launch_paged_dim<64>(a, work, stream);
    }
    return a.head_dim <= 128 ? detail::launch_paged_dim<128>(a, work, stream)
                             : detail::launch_paged_dim<256>(a, work, stream);
}

}  // namespace fpq::cuda
