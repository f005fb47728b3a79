// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of launch_embed, launch_add, launch_silu_mul, launch_rms_norm: checks,
// then the kernel of the row's type and width.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/rms_norm.cuh"
#include "fpq/cuda/forward/row_plan.hpp"
#include "fpq/cuda/forward/rows_kernel.cuh"
#include "fpq/cuda/ptx/launch_overlapping.cuh"

namespace fpq::cuda {

namespace detail {

/// Every value of (rows, cols) by `step`.
template <class Step>
status launch_step(char const* who, Step const& step, std::size_t rows, std::size_t cols,
                   cudaStream_t stream) {
    constexpr std::size_t across = rows_threads * Step::width;
    dim3 const grid(
        static_cast<unsigned>((cols + across - 1) / across),
        static_cast<unsigned>(std::min<std::size_t>((rows + rows_held - 1) / rows_held, 65535)));
    return launch_overlapping<rows_kernel<Step>>(who, grid, rows_threads, stream, step, rows,
                                                 static_cast<std::uint32_t>(cols));
}

/// Calls f with a value of the stream's type.
template <class F>
status with_stream_type(char const* who, float_type type, F const& f) {
    if (type == float_type::bf16) {
        return f(bf16{});
    }
    return type == float_type::fp32 ? f(0.0F)
                                    : unsupported(who, "a bf16 or fp32 stream", name_of(type));
}

template <class Stream, bool Add>
status launch_norm(rms_norm_work<Stream> const& work, std::size_t rows, cudaStream_t stream) {
    row_plan const plan = plan_row(work.cols);
    char const* const who = "launch_rms_norm";
    dim3 const blocks(static_cast<unsigned>(rows));
    dim3 const threads(static_cast<unsigned>(plan.threads));
    switch (plan.held) {
        case 1:
            return launch_overlapping<rms_norm_kernel<Stream, Add, 1>>(who, blocks, threads, stream,
                                                                       work);
        case 2:
            return launch_overlapping<rms_norm_kernel<Stream, Add, 2>>(who, blocks, threads, stream,
                                                                       work);
        case 4:
            return launch_overlapping<rms_norm_kernel<Stream, Add, 4>>(who, blocks, threads, stream,
                                                                       work);
        default:
            return launch_overlapping<rms_norm_kernel<Stream, Add, 8>>(who, blocks, threads, stream,
                                                                       work);
    }
}

}  // namespace detail

status launch_embed(std::int32_t const* tokens, bf16 const* table, std::size_t vocab,
                    stream_matrix const& out, cudaStream_t stream) {
    char const* const who = "launch_embed";
    if (status s = check_rows(who, out.rows, out.cols); !s.ok() || out.rows == 0) {
        return s;
    }
    if (vocab == 0 || vocab > 0x7FFFFFFFu) {
        return refuse("launch_embed: vocab", "1 to 2147483647", static_cast<long long>(vocab));
    }
    if (status s = check_given(who, {tokens, table, out.data}); !s.ok()) {
        return s;
    }
    return detail::with_stream_type(who, out.type, [&](auto type) {
        using stream_type = decltype(type);
        auto* const to = static_cast<stream_type*>(out.data);
        auto const rows = static_cast<std::uint32_t>(vocab);
        if (out.cols % 8 == 0 && on_16_bytes({table, out.data})) {
            embed_step<stream_type, 8> const step{tokens, table, rows, to, out.cols};
            return detail::launch_step(who, step, out.rows, out.cols, stream);
        }
        embed_step<stream_type, 1> const step{tokens, table, rows, to, out.cols};
        return detail::launch_step(who, step, out.rows, out.cols, stream);
    });
}

status launch_add(stream_matrix const& x, bf16 const* added, cudaStream_t stream) {
    char const* const who = "launch_add";
    if (status s = check_rows(who, x.rows, x.cols); !s.ok() || x.rows == 0) {
        return s;
    }
    if (status s = check_given(who, {x.data, added}); !s.ok()) {
        return s;
    }
    return detail::with_stream_type(who, x.type, [&](auto type) {
        using stream_type = decltype(type);
        auto* const to = static_cast<stream_type*>(x.data);
        if (x.cols % 8 == 0 && on_16_bytes({x.data, added})) {
            add_step<stream_type, 8> const step{to, added, x.cols};
            return detail::launch_step(who, step, x.rows, x.cols, stream);
        }
        add_step<stream_type, 1> const step{to, added, x.cols};
        return detail::launch_step(who, step, x.rows, x.cols, stream);
    });
}

status launch_silu_mul(bf16_rows const& gate, bf16_rows const& up, std::size_t rows,
                       std::size_t cols, bf16_rows const& out, cudaStream_t stream) {
    char const* const who = "launch_silu_mul";
    if (status s = check_rows(who, rows, cols); !s.ok() || rows == 0) {
        return s;
    }
    if (status s = check_given(who, {gate.data, up.data, out.data}); !s.ok()) {
        return s;
    }
    std::size_t const least = std::min({gate.stride, up.stride, out.stride});
    if (least < cols) {
        return refuse("launch_silu_mul: stride", "cols or more", static_cast<long long>(least));
    }
    if (cols % 8 == 0 && (gate.stride | up.stride | out.stride) % 8 == 0 &&
        on_16_bytes({gate.data, up.data, out.data})) {
        silu_step<8> const step{gate.data, gate.stride, up.data, up.stride, out.data, out.stride};
        return detail::launch_step(who, step, rows, cols, stream);
    }
    silu_step<1> const step{gate.data, gate.stride, up.data, up.stride, out.data, out.stride};
    return detail::launch_step(who, step, rows, cols, stream);
}

status launch_rms_norm(stream_matrix const& x, bf16 const* added, float const* weight, float eps,
                       bf16* out, cudaStream_t stream) {
    char const* const who = "launch_rms_norm";
    if (status s = check_rows(who, x.rows, x.cols); !s.ok() || x.rows == 0) {
        return s;
    }
    if (x.cols % row_plan::width != 0 || x.cols > row_plan::most_cols) {
        return refuse("launch_rms_norm: cols", "a multiple of 8 up to 16384",
                      static_cast<long long>(x.cols));
    }
    if (status s = check_given(who, {x.data, weight, out}); !s.ok()) {
        return s;
    }
    if (!on_16_bytes({x.data, added, weight, out})) {
        return refuse(who, "addresses on 16 bytes", "others");
    }
    return detail::with_stream_type(who, x.type, [&](auto type) {
        using stream_type = decltype(type);
        rms_norm_work<stream_type> const work{
            static_cast<stream_type*>(x.data),  added, weight, out,
            static_cast<std::uint32_t>(x.cols), eps};
        return added != nullptr ? detail::launch_norm<stream_type, true>(work, x.rows, stream)
                                : detail::launch_norm<stream_type, false>(work, x.rows, stream);
    });
}

}  // namespace fpq::cuda
