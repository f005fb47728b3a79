// SPDX-License-Identifier: Apache-2.0
// Floor 6. Second moments on a CUDA device: products of bf16 on the tensor cores, float32 sums.
// Windows are cut into the shards of linalg/sharded_second_moment.hpp, and shards are added in its
// tree, so that the bytes do not depend on which device summed what.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"

namespace fpq {

/// The second moment (width, width) of a known number of windows, which come in order. At most
/// log2(8) + 1 = 4 matrices are held.
class gpu_moment {
public:
    gpu_moment(std::size_t width, std::size_t windows) : width_(width), windows_(windows) {}

    /// += x^T x of windows [first, first + count), all of one shard, x (tokens, width) bf16.
    void add(gpu const& b, std::size_t first, std::size_t count, gpu::const_view x) {
        std::size_t const shard = shard_of(first, windows_);
        std::size_t const end = shard_begin(shard + 1, windows_);
        if (first != next_ || x.cols != width_ || first + count > end) {
            fail_usage("windows out of their order", "gpu_moment::add",
                       "window " + std::to_string(next_) + " on, of one shard",
                       std::to_string(first));
        }
        bool const fresh = open_.empty();
        if (fresh) {
            open_ = gpu_array<float>(b.context, width_ * width_);
        }
        cuda::hessian_args args;
        args.x = x.bf16_matrix().data;
        args.type = float_type::bf16;
        args.tokens = x.rows;
        args.cols = width_;
        args.x_stride = x.stride;
        args.h = open_.data();
        args.accumulate = !fresh;
        require_ok(cuda::launch_hessian(b.context->libraries(), b.context->stream(), args), {});
        next_ = first + count;
        if (next_ == end) {
            close(b, shard);
        }
    }

    /// The sum over all windows. Throws fpq::error (usage) when one is missing.
    [[nodiscard]] gpu::hessian finish(gpu const& b) && {
        if (next_ != windows_) {
            fail_usage("windows are missing", "gpu_moment::finish",
                       std::to_string(windows_) + " windows", std::to_string(next_));
        }
        for (std::size_t s = closed_; s < moment_shards; ++s) {
            close(b, s);  // the last shards may have no windows
        }
        gpu_array<float>& all = nodes_[levels - 1];
        if (all.empty()) {
            all = gpu_array<float>(b.context, width_ * width_);
            require_cuda(
                cudaMemsetAsync(all.data(), 0, all.size() * sizeof(float), b.context->stream()),
                "second moment");
        }
        return {width_, std::move(all)};
    }

private:
    static constexpr std::size_t levels = 4;  // 8 shards, pairs, fours, all
    static_assert(std::size_t{1} << (levels - 1) == moment_shards);

    /// Shard `s` is complete, and so is every one before it: subtrees of one size are added.
    void close(gpu const& b, std::size_t s) {
        while (closed_ <= s) {
            gpu_array<float> sum = closed_ == s ? std::move(open_) : gpu_array<float>();
            ++closed_;
            std::size_t level = 0;
            for (std::size_t bits = closed_; bits % 2 == 0 && level + 1 < levels; bits /= 2) {
                sum = joined(b, std::move(nodes_[level]), std::move(sum));
                nodes_[level++] = {};
            }
            nodes_[level] = std::move(sum);
        }
    }

    static gpu_array<float> joined(gpu const& b, gpu_array<float> left, gpu_array<float> right) {
        if (left.empty() || right.empty()) {
            return left.empty() ? std::move(right) : std::move(left);
        }
        float const one = 1.0F;
        require_ok(cuda::from_cublas(cublasSaxpy_64(b.context->libraries().blas(),
                                                    static_cast<std::int64_t>(left.size()), &one,
                                                    right.data(), 1, left.data(), 1),
                                     "second moment: cublasSaxpy"),
                   {});
        return left;
    }

    std::size_t width_;
    std::size_t windows_;
    std::size_t next_ = 0;    // window
    std::size_t closed_ = 0;  // shards
    gpu_array<float> open_;   // of the shard that is under way
    std::array<gpu_array<float>, levels> nodes_;
};

[[nodiscard]] inline std::unique_ptr<gpu_moment> make_moment(gpu const&, std::size_t width,
                                                             std::size_t windows) {
    return std::make_unique<gpu_moment>(width, windows);
}

inline void accumulate(gpu const& b, gpu_moment& moment, std::size_t first, std::size_t count,
                       gpu::const_view x) {
    moment.add(b, first, count, x);
}

[[nodiscard]] inline gpu::hessian finish(gpu const& b, gpu_moment&& moment) {
    return std::move(moment).finish(b);
}

namespace detail {

/// The diagonal of a moment, on the device.
inline gpu_array<float> diagonal_of(gpu const& b, gpu::hessian const& h) {
    gpu_array<float> out(b.context, h.size);
    require_ok(
        cuda::from_cublas(
            cublasScopy_64(b.context->libraries().blas(), static_cast<std::int64_t>(h.size),
                           h.sum.data(), static_cast<std::int64_t>(h.size + 1), out.data(), 1),
            "diagonal: cublasScopy"),
        {});
    return out;
}

}  // namespace detail

}  // namespace fpq
