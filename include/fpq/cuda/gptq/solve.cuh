// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_gptq: gather, then block after block the column kernel and the
// matrix products that carry its errors to the right, then pack.
//
// Updates go right: after each block of 128 columns the rest of its panel, after each panel
// everything beyond it. A panel of 512 makes the large products four times deeper, so that they are
// bound by arithmetic and not by the targets that they rewrite.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/gptq/sweep.cuh"
#include "fpq/cuda/gptq/weights.cuh"

namespace fpq::cuda {

namespace detail {

inline std::size_t gptq_stride(std::size_t cols) noexcept {
    std::size_t const width = gptq_block::width;
    return (cols + width - 1) / width * width;
}

inline status check_solve(gptq_factor const& factor, gptq_layer const& layer) {
    auto const number = [](std::size_t x) { return static_cast<long long>(x); };
    if (status s = check_layer("launch_gptq", layer); !s.ok()) {
        return s;
    }
    if (factor.size != layer.cols) {
        return refuse("launch_gptq: cols", "those of the factor", number(layer.cols));
    }
    if (layer.panel == 0 || layer.panel % gptq_block::width != 0) {
        return refuse("launch_gptq: panel", "a multiple of 128", number(layer.panel));
    }
    return {};
}

/// One solve; its stages in the order in which run() calls them.
class gptq_run {
public:
    gptq_run(linear_algebra& libraries, cudaStream_t stream, gptq_factor const& factor,
             gptq_layer const& layer, gptq_workspace& workspace)
        : libraries_(libraries), stream_(stream), f_(factor), layer_(layer), ws_(workspace) {}

    status run() {
        status s = allocate();
        if (s.ok()) s = gather(f_.order.data(), layer_.zero_dead_columns);
        if (s.ok()) s = decode_steps();
        if (s.ok()) s = sweep_all();
        if (s.ok()) s = pack();
        return s;
    }

    /// W in original order, W H, and the sum of their products.
    status energy(float const* h) {
        bool const alone = ws_.sums.size() == 0;
        std::size_t const values = layer_.rows * stride();
        status s = ensure(ws_.loss, layer_.rows, stream_);
        if (s.ok()) s = ensure(ws_.target, values, stream_);
        if (s.ok()) s = ensure(ws_.error, values, stream_);
        if (s.ok()) s = ensure(ws_.sums, sizeof(gptq_sums), stream_);
        if (s.ok() && alone) {
            gptq_begin_kernel<1><<<1, 1, 0, stream_>>>(sums());
            s = after_launch("gptq_begin_kernel");
        }
        if (s.ok()) s = gather(nullptr, false);
        if (!s.ok()) {
            return s;
        }
        float const one = 1.0F;
        float const zero = 0.0F;
        auto const n = static_cast<std::int64_t>(layer_.cols);
        auto const ld = static_cast<std::int64_t>(stride());
        // Row-major lower is column-major upper, and the product comes transposed as it should.
        s = from_cublas(cublasSsymm_64(libraries_.blas(), CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER,
                                       n, static_cast<std::int64_t>(layer_.rows), &one, h, n,
                                       ws_.target.data(), ld, &zero, ws_.error.data(), ld),
                        "launch_gptq_energy: cublasSsymm");
        if (!s.ok()) {
            return s;
        }
        gptq_dot_kernel<gptq_row_threads><<<rows(), gptq_row_threads, 0, stream_>>>(
            ws_.target.data(), ws_.error.data(), stride(), ws_.loss.data());
        s = after_launch("gptq_dot_kernel");
        return s.ok() ? sum_of(layer_.rows, &sums()->energy) : s;
    }

private:
    [[nodiscard]] unsigned rows() const noexcept { return static_cast<unsigned>(layer_.rows); }
    [[nodiscard]] std::size_t stride() const noexcept { return gptq_stride(layer_.cols); }
    [[nodiscard]] std::size_t groups() const noexcept { return layer_.format.groups(layer_.cols); }
    [[nodiscard]] std::size_t tiles() const noexcept {
        return (layer_.rows + gptq_rows - 1) / gptq_rows;
    }
    [[nodiscard]] gptq_sums* sums() const noexcept {
        return reinterpret_cast<gptq_sums*>(ws_.sums.data());
    }

    status allocate() {
        std::size_t const values = layer_.rows * stride();
        status s = ensure(ws_.target, values, stream_);
        if (s.ok()) s = ensure(ws_.error, values, stream_);
        if (s.ok()) s = ensure(ws_.codes, values, stream_);
        if (s.ok()) s = ensure(ws_.steps, layer_.rows * groups(), stream_);
        if (s.ok()) s = ensure(ws_.loss, tiles() * (stride() / gptq_block::width), stream_);
        if (s.ok()) s = ensure(ws_.sums, sizeof(gptq_sums), stream_);
        if (!s.ok()) {
            return s;
        }
        gptq_begin_kernel<1><<<1, 1, 0, stream_>>>(sums());
        return after_launch("gptq_begin_kernel");
    }

    template <class T>
    status gather_from(std::uint32_t const* order, bool zero_dead) {
        gptq_gather_kernel<T><<<rows(), gptq_row_threads, 0, stream_>>>(
            static_cast<T const*>(layer_.w), layer_.w_stride, layer_.cols, order,
            f_.diagonal.data(), zero_dead, ws_.target.data(), ws_.error.data(), stride(), sums());
        return after_launch("gptq_gather_kernel");
    }

    status gather(std::uint32_t const* order, bool zero_dead) {
        switch (layer_.type) {
            case float_type::bf16:
                return gather_from<bf16>(order, zero_dead);
            case float_type::fp16:
                return gather_from<fp16>(order, zero_dead);
            case float_type::fp32:
                break;
        }
        return gather_from<float>(order, zero_dead);
    }

    status decode_steps() {
        packed_view const q{layer_.format, layer_.rows,  layer_.cols,        nullptr,
                            layer_.scales, layer_.zeros, layer_.global_scale};
        std::size_t const count = layer_.rows * groups();
        auto const blocks =
            static_cast<unsigned>((count + gptq_row_threads - 1) / gptq_row_threads);
        gptq_steps_kernel<gptq_row_threads>
            <<<blocks, gptq_row_threads, 0, stream_>>>(q, groups(), ws_.steps.data());
        return after_launch("gptq_steps_kernel");
    }

    status sweep_block(std::size_t first) {
        gptq_sweep_args a{};
        a.target = ws_.target.data();
        a.error = ws_.error.data();
        a.codes = ws_.codes.data();
        a.stride = stride();
        a.feedback = f_.feedback.data();
        a.cost = f_.cost.data();
        a.order = f_.order.data();
        a.steps = ws_.steps.data();
        a.zeros = layer_.format.symmetric ? nullptr : layer_.zeros;
        a.zero_stride = layer_.format.grain == granularity::tensor ? 0 : groups();
        a.loss = ws_.loss.data() + first / gptq_block::width * tiles();
        a.rows = rows();
        a.cols = static_cast<std::uint32_t>(layer_.cols);
        a.first = static_cast<std::uint32_t>(first);
        a.group = static_cast<std::uint32_t>(layer_.format.group_of(layer_.cols));
        a.groups = static_cast<std::uint32_t>(groups());
        return visit_gptq_codec(layer_.format.element, layer_.format.symmetric, [&](auto codec) {
            gptq_sweep_kernel<<<static_cast<unsigned>(tiles()), gptq_threads, 0, stream_>>>(a,
                                                                                            codec);
            return after_launch("gptq_sweep_kernel");
        });
    }

    /// targets [to, end) += errors [from, to of depth) * feedback. Row-major as column-major:
    /// the transposed product, with everything as it lies.
    status update(std::size_t from, std::size_t depth, std::size_t to, std::size_t end) {
        float const one = 1.0F;
        auto const n = static_cast<std::int64_t>(layer_.cols);
        auto const ld = static_cast<std::int64_t>(stride());
        return from_cublas(
            cublasGemmEx_64(
                libraries_.blas(), CUBLAS_OP_N, CUBLAS_OP_N, static_cast<std::int64_t>(end - to),
                static_cast<std::int64_t>(layer_.rows), static_cast<std::int64_t>(depth), &one,
                f_.feedback.data() + from * layer_.cols + to, CUDA_R_32F, n,
                ws_.error.data() + from, CUDA_R_32F, ld, &one, ws_.target.data() + to, CUDA_R_32F,
                ld, layer_.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                CUBLAS_GEMM_DEFAULT),
            "launch_gptq: cublasGemmEx");
    }

    status sweep_all() {
        std::size_t const cols = layer_.cols;
        for (std::size_t panel = 0; panel < cols; panel += layer_.panel) {
            std::size_t const end = std::min(panel + layer_.panel, cols);
            for (std::size_t first = panel; first < end; first += gptq_block::width) {
                status s = sweep_block(first);
                std::size_t const next = first + gptq_block::width;
                if (s.ok() && next < end) {
                    s = update(first, gptq_block::width, next, end);
                }
                if (!s.ok()) {
                    return s;
                }
            }
            if (end < cols) {
                if (status s = update(panel, end - panel, end, cols); !s.ok()) {
                    return s;
                }
            }
        }
        return {};
    }

    status pack() {
        gptq_pack_kernel<gptq_row_threads><<<rows(), gptq_row_threads, 0, stream_>>>(
            ws_.codes.data(), stride(), f_.position.data(), layer_.cols,
            element_bits(layer_.format.element), layer_.codes);
        if (status s = after_launch("gptq_pack_kernel"); !s.ok()) {
            return s;
        }
        return sum_of(tiles() * (stride() / gptq_block::width), &sums()->loss);
    }

    status sum_of(std::size_t count, double* out) {
        gptq_sum_kernel<gptq_row_threads>
            <<<1, gptq_row_threads, 0, stream_>>>(ws_.loss.data(), count, out);
        return after_launch("gptq_sum_kernel");
    }

    linear_algebra& libraries_;
    cudaStream_t stream_;
    gptq_factor const& f_;
    gptq_layer const& layer_;
    gptq_workspace& ws_;
};

}  // namespace detail

status launch_gptq(linear_algebra& libraries, cudaStream_t stream, gptq_factor const& factor,
                   gptq_layer const& layer, gptq_workspace& workspace) {
    if (status s = detail::check_solve(factor, layer); !s.ok()) {
        return s;
    }
    if (layer.rows == 0) {
        return {};
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    return detail::gptq_run(libraries, stream, factor, layer, workspace).run();
}

status launch_gptq_energy(linear_algebra& libraries, cudaStream_t stream, float const* h,
                          gptq_layer const& layer, gptq_workspace& workspace) {
    if (layer.rows == 0) {
        return {};
    }
    if (h == nullptr) {
        return refuse("launch_gptq_energy: h", "a Hessian", "null");
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    gptq_factor const none;
    return detail::gptq_run(libraries, stream, none, layer, workspace).energy(h);
}

status read_gptq_report(cudaStream_t stream, gptq_layer const& layer,
                        gptq_workspace const& workspace, gptq_report& report) {
    report = {};
    if (layer.rows == 0) {
        return {};
    }
    gptq_sums sums{};
    status s = from_cuda(
        cudaMemcpyAsync(&sums, workspace.sums.data(), sizeof sums, cudaMemcpyDeviceToHost, stream),
        "read_gptq_report: copy");
    if (s.ok()) {
        s = from_cuda(cudaStreamSynchronize(stream), "read_gptq_report: wait");
    }
    if (s.ok()) s = detail::refuse_weight("launch_gptq", sums, layer);
    if (s.ok()) report = {sums.loss, sums.energy};
    return s;
}

}  // namespace fpq::cuda
