// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of launch_store_rows and launch_row_facts.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/launch_rows.cuh"
#include "fpq/cuda/forward/row_facts.cuh"
#include "fpq/cuda/ptx/launch_overlapping.cuh"

namespace fpq::cuda {

status launch_store_rows(bf16_rows const& k, bf16_rows const& v, std::size_t rows, std::size_t cols,
                         std::int32_t const* slots, bf16_rows const& keys, bf16_rows const& values,
                         cudaStream_t stream) {
    char const* const who = "launch_store_rows";
    if (status s = check_rows(who, rows, cols); !s.ok() || rows == 0) {
        return s;
    }
    status s = first_error(check_head_rows(who, "k", k, cols), check_head_rows(who, "v", v, cols));
    s = first_error(s, check_head_rows(who, "keys", keys, cols));
    s = first_error(s, check_head_rows(who, "values", values, cols));
    s = first_error(s, check_given(who, {slots}));
    if (!s.ok()) {
        return s;
    }
    if (cols % 8 != 0) {
        return refuse_in(who, "cols", "a multiple of 8", static_cast<long long>(cols));
    }
    store_step<8> const step{k.data,    k.stride,    v.data,      v.stride,     slots,
                             keys.data, keys.stride, values.data, values.stride};
    return detail::launch_step(who, step, rows, cols, stream);
}

status launch_row_facts(float const* logits, std::size_t stride, std::size_t rows,
                        std::size_t vocab, std::int32_t const* targets, std::int32_t const* counts,
                        row_facts_room const& room, row_facts* facts, cudaStream_t stream) {
    char const* const who = "launch_row_facts";
    if (status s = check_rows(who, rows, vocab); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {logits, targets, counts, facts, room.parts, room.counters});
        !s.ok()) {
        return s;
    }
    if (stride < vocab) {
        return refuse_in(who, "stride", "vocab or more", static_cast<long long>(stride));
    }
    row_facts_work const work{logits,     stride,       static_cast<std::uint32_t>(vocab),
                              targets,    counts,       facts,
                              room.parts, room.counters};
    if (rows > 65535) {
        return refuse_in(who, "rows", "at most 65535", static_cast<long long>(rows));
    }
    dim3 const blocks(row_facts_parts, static_cast<unsigned>(rows));
    if (vocab % 4 == 0 && stride % 4 == 0 && on_16_bytes({logits})) {
        return detail::launch_overlapping<row_facts_kernel<4>>(who, blocks, score_threads, stream,
                                                               work);
    }
    return detail::launch_overlapping<row_facts_kernel<1>>(who, blocks, score_threads, stream,
                                                           work);
}

}  // namespace fpq::cuda
