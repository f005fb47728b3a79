// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_cached_attention: checks, then the smallest kernel that holds a
// head and, up to eight, the query heads of a key head.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/forward/cached_attention.cuh"
#include "fpq/cuda/forward/checks.hpp"

namespace fpq::cuda {

namespace detail {

template <int Lanes, int Group>
status launch_cached_attention_group(cached_attention_args const& a, cached_attention_work work,
                                     cudaStream_t stream) {
    work.chunks = (work.queries_a_key + Group - 1) / Group;
    std::size_t const blocks = a.sequences * a.kv_heads * work.chunks;
    if (blocks > 0x7FFFFFFFu) {
        return refuse("launch_cached_attention: sequences", "fewer",
                      static_cast<long long>(a.sequences));
    }
    cached_attention_kernel<Lanes, Group>
        <<<static_cast<unsigned>(blocks), cached_attention_threads, 0, stream>>>(work);
    return after_launch("launch_cached_attention");
}

template <int Lanes>
status launch_cached_attention_lanes(cached_attention_args const& a,
                                     cached_attention_work const& work, cudaStream_t stream) {
    if (work.queries_a_key == 1) {
        return launch_cached_attention_group<Lanes, 1>(a, work, stream);
    }
    if (work.queries_a_key == 2) {
        return launch_cached_attention_group<Lanes, 2>(a, work, stream);
    }
    return work.queries_a_key <= 4 ? launch_cached_attention_group<Lanes, 4>(a, work, stream)
                                   : launch_cached_attention_group<Lanes, 8>(a, work, stream);
}

}  // namespace detail

status launch_cached_attention(cached_attention_args const& a, cudaStream_t stream) {
    char const* const who = "launch_cached_attention";
    status s = check_heads(who, a.heads, a.kv_heads, a.head_dim);
    if (!s.ok() || a.sequences == 0) {
        return s;
    }
    constexpr std::size_t most_length = 0x3FFFFFFF;
    if (a.length == 0 || a.length > a.capacity || a.length > most_length) {
        return refuse_in(who, "length", "1 to the capacity, up to 1073741823",
                         static_cast<long long>(a.length));
    }
    if (a.sequences > 0x7FFFFFFFu) {
        return refuse("launch_cached_attention: sequences", "up to 2147483647",
                      static_cast<long long>(a.sequences));
    }
    if (s = check_attention(who, a); !s.ok()) {
        return s;
    }
    cached_attention_work const work{a.q.data,
                                     a.k.data,
                                     a.v.data,
                                     a.out.data,
                                     a.q.stride,
                                     a.k.stride,
                                     a.v.stride,
                                     a.out.stride,
                                     a.capacity,
                                     static_cast<std::uint32_t>(a.length),
                                     static_cast<std::uint32_t>(a.kv_heads),
                                     static_cast<std::uint32_t>(a.heads / a.kv_heads),
                                     0,
                                     static_cast<std::uint32_t>(a.head_dim),
                                     scale_of_scores(a)};
    if (a.head_dim <= 64) {
        return detail::launch_cached_attention_lanes<8>(a, work, stream);
    }
    return a.head_dim <= 128 ? detail::launch_cached_attention_lanes<16>(a, work, stream)
                             : detail::launch_cached_attention_lanes<32>(a, work, stream);
}

}  // namespace fpq::cuda
