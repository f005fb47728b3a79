// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_gptq_coupled: gather, then one anti-diagonal of tiles after the
// other, each followed by what its errors add below and to the right, then pack.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/two_sided.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/gptq/weights.cuh"
#include "fpq/cuda/two_sided/coupled_tile.cuh"
#include "fpq/cuda/two_sided/matrices.cuh"

namespace fpq::cuda {

namespace detail {

inline constexpr std::size_t whole_tiles(std::size_t n, std::size_t side) noexcept {
    return (n + side - 1) / side * side;
}

/// One solve; its stages in the order in which run() calls them.
class coupled_run {
public:
    coupled_run(cudaStream_t stream, gptq_factor const& columns, gptq_factor const& rows,
                gptq_layer const& layer, two_sided_workspace& workspace)
        : stream_(stream),
          columns_(columns),
          rows_(rows),
          layer_(layer),
          ws_(workspace),
          stride_(whole_tiles(layer.cols, coupled_tile::cols)),
          padded_(whole_tiles(layer.rows, coupled_tile::rows)) {}

    status run() {
        status s = allocate();
        if (s.ok()) s = gather();
        if (s.ok()) s = sweep();
        if (s.ok()) s = pack();
        return s.ok() ? look() : s;
    }

private:
    static constexpr int threads = gptq_row_threads;

    [[nodiscard]] std::size_t groups() const noexcept { return layer_.format.groups(layer_.cols); }
    [[nodiscard]] gptq_sums* sums() const noexcept {
        return reinterpret_cast<gptq_sums*>(ws_.found.data());
    }

    status allocate() {
        std::size_t const values = padded_ * stride_;
        status s = ensure(ws_.error, values, stream_);
        if (s.ok()) s = ensure(ws_.first, values, stream_);
        if (s.ok()) s = ensure(ws_.second, values, stream_);
        if (s.ok()) s = ensure(ws_.codes, values, stream_);
        if (s.ok()) s = ensure(ws_.steps, layer_.rows * groups(), stream_);
        if (s.ok()) s = ensure(ws_.found, sizeof(gptq_sums), stream_);
        return s;
    }

    template <class T>
    status gather_from() {
        gptq_gather_kernel<T><<<static_cast<unsigned>(layer_.rows), threads, 0, stream_>>>(
            static_cast<T const*>(layer_.w), layer_.w_stride, layer_.cols, columns_.order.data(),
            columns_.diagonal.data(), layer_.zero_dead_columns, ws_.first.data(), ws_.error.data(),
            stride_, sums());
        return after_launch("gptq_gather_kernel");
    }

    /// w in processing order three times, 0 beyond the layer; and steps.
    status gather() {
        gptq_begin_kernel<1><<<1, 1, 0, stream_>>>(sums());
        status s = after_launch("gptq_begin_kernel");
        if (s.ok()) {
            s = layer_.type == float_type::bf16   ? gather_from<bf16>()
                : layer_.type == float_type::fp16 ? gather_from<fp16>()
                                                  : gather_from<float>();
        }
        std::size_t const inside = layer_.rows * stride_;
        std::size_t const beyond = (padded_ - layer_.rows) * stride_ * sizeof(float);
        for (float* const matrix : {ws_.first.data(), ws_.error.data()}) {
            if (s.ok()) {
                s = from_cuda(cudaMemsetAsync(matrix + inside, 0, beyond, stream_),
                              "launch_gptq_coupled: clear");
            }
        }
        if (s.ok()) {
            s = from_cuda(cudaMemcpyAsync(ws_.second.data(), ws_.first.data(),
                                          padded_ * stride_ * sizeof(float),
                                          cudaMemcpyDeviceToDevice, stream_),
                          "launch_gptq_coupled: copy");
        }
        if (!s.ok()) {
            return s;
        }
        packed_view const q{layer_.format, layer_.rows,  layer_.cols,        nullptr,
                            layer_.scales, layer_.zeros, layer_.global_scale};
        std::size_t const count = layer_.rows * groups();
        gptq_steps_kernel<threads>
            <<<static_cast<unsigned>((count + threads - 1) / threads), threads, 0, stream_>>>(
                q, groups(), ws_.steps.data());
        return after_launch("gptq_steps_kernel");
    }

    [[nodiscard]] coupled_args args() const noexcept {
        coupled_args a{};
        a.target = ws_.first.data();
        a.whole = ws_.second.data();
        a.error = ws_.error.data();
        a.codes = ws_.codes.data();
        a.stride = stride_;
        a.columns = columns_.feedback.data();
        a.above = rows_.feedback.data();
        a.order = columns_.order.data();
        a.steps = ws_.steps.data();
        a.zeros = layer_.format.symmetric ? nullptr : layer_.zeros;
        a.zero_stride = layer_.format.grain == granularity::tensor ? 0 : groups();
        a.rows = static_cast<std::uint32_t>(layer_.rows);
        a.cols = static_cast<std::uint32_t>(layer_.cols);
        a.group = static_cast<std::uint32_t>(layer_.format.group_of(layer_.cols));
        a.groups = static_cast<std::uint32_t>(groups());
        return a;
    }

    status sweep() {
        coupled_args const a = args();
        auto const panels = static_cast<std::uint32_t>(padded_ / coupled_tile::rows);
        auto const blocks = static_cast<std::uint32_t>(stride_ / coupled_tile::cols);
        return visit_gptq_codec(layer_.format.element, layer_.format.symmetric, [&](auto codec) {
            auto const kernel = coupled_tile_kernel<decltype(codec)>;
            status s =
                from_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               static_cast<int>(coupled_tile::shared_bytes)),
                          "coupled_tile_kernel: shared memory");
            for (std::uint32_t step = 0; s.ok() && step < panels + blocks - 1; ++step) {
                std::uint32_t const first = step < blocks ? 0 : step - blocks + 1;
                std::uint32_t const count = std::min(step, panels - 1) - first + 1;
                kernel<<<count, coupled_tile::threads, coupled_tile::shared_bytes, stream_>>>(
                    a, step, first, codec);
                s = after_launch("coupled_tile_kernel");
                constexpr unsigned parts = coupled_tile::rows / push_side;
                static_assert(coupled_tile::cols == push_side);
                if (s.ok() && first + 1 < panels) {
                    coupled_push_kernel<coupled_way::down>
                        <<<dim3(parts, panels, count), push_threads, 0, stream_>>>(a, step, first);
                    s = after_launch("coupled_push_kernel");
                }
                if (s.ok() && step - (first + count - 1) + 1 < blocks) {
                    coupled_push_kernel<coupled_way::right>
                        <<<dim3(parts, blocks, count), push_threads, 0, stream_>>>(a, step, first);
                    s = after_launch("coupled_push_kernel");
                }
            }
            return s;
        });
    }

    status pack() {
        gptq_pack_kernel<threads><<<static_cast<unsigned>(layer_.rows), threads, 0, stream_>>>(
            ws_.codes.data(), stride_, columns_.position.data(), layer_.cols,
            element_bits(layer_.format.element), layer_.codes);
        return after_launch("gptq_pack_kernel");
    }

    /// A weight that is not finite is refused.
    status look() {
        gptq_sums found{};
        status s = from_cuda(
            cudaMemcpyAsync(&found, sums(), sizeof found, cudaMemcpyDeviceToHost, stream_),
            "launch_gptq_coupled: copy");
        if (s.ok()) {
            s = from_cuda(cudaStreamSynchronize(stream_), "launch_gptq_coupled: wait");
        }
        return s.ok() ? refuse_weight("launch_gptq_coupled", found, layer_) : s;
    }

    cudaStream_t stream_;
    gptq_factor const& columns_;
    gptq_factor const& rows_;
    gptq_layer const& layer_;
    two_sided_workspace& ws_;
    std::size_t stride_;
    std::size_t padded_;
};

}  // namespace detail

status launch_gptq_coupled(linear_algebra& libraries, cudaStream_t stream,
                           gptq_factor const& columns, gptq_factor const& rows,
                           gptq_layer const& layer, two_sided_workspace& workspace) {
    char const* const who = "launch_gptq_coupled";
    if (status s = check_layer(who, layer); !s.ok()) {
        return s;
    }
    if (columns.size != layer.cols || rows.size != layer.rows) {
        return refuse_in(
            who, "factors", "those of the layer's columns and rows",
            static_cast<long long>(columns.size != layer.cols ? columns.size : rows.size));
    }
    if (!std::is_sorted(rows.host_order.begin(), rows.host_order.end())) {
        return refuse("launch_gptq_coupled: rows", "a factor in storage order", "another order");
    }
    if (layer.rows == 0) {
        return {};
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    return detail::coupled_run(stream, columns, rows, layer, workspace).run();
}

}  // namespace fpq::cuda
