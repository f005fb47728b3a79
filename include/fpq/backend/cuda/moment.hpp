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
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/linalg/sharded_second_moment.hpp"

namespace fpq {

/// The second moment (width, width) of a known number of windows over all ranks, of which those of
/// one rank come in order. At most log2(8) + 1 = 4 matrices are held.
class gpu_moment {
public:
    gpu_moment(std::size_t width, std::size_t windows, std::size_t rank, std::size_t ranks)
        : width_(width),
          windows_(windows),
          next_(windows_of_rank(rank, ranks, windows).first),
          end_(next_ + windows_of_rank(rank, ranks, windows).count),
          closed_(rank * moment_shards / ranks),
          shards_end_((rank + 1) * moment_shards / ranks) {}

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

    [[nodiscard]] std::size_t width() const noexcept { return width_; }

    /// The sum over the rank's windows. Throws fpq::error (usage) when one is missing.
    [[nodiscard]] gpu_array<float> total(gpu const& b) && {
        if (next_ != end_) {
            fail_usage("windows are missing", "gpu_moment::total",
                       std::to_string(end_) + " windows", std::to_string(next_));
        }
        for (std::size_t s = closed_; s < shards_end_; ++s) {
            close(b, s);  // the last shards may have no windows
        }
        for (gpu_array<float>& node : nodes_) {
            if (!node.empty()) {
                return std::move(node);  // the only one: a rank's shards are a subtree
            }
        }
        gpu_array<float> none(b.context, width_ * width_);
        require_cuda(
            cudaMemsetAsync(none.data(), 0, none.size() * sizeof(float), b.context->stream()),
            "second moment");
        return none;
    }

    /// left + right, in the memory of one of them; an empty one is 0.
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

    std::size_t width_;
    std::size_t windows_;
    std::size_t next_;        // window
    std::size_t end_;         // of the rank's windows
    std::size_t closed_;      // shards
    std::size_t shards_end_;  // of the rank's
    gpu_array<float> open_;   // of the shard that is under way
    std::array<gpu_array<float>, levels> nodes_;
};

[[nodiscard]] inline std::unique_ptr<gpu_moment> make_moment(gpu const&, rank_group const& ranks,
                                                             std::size_t width,
                                                             std::size_t windows) {
    return std::make_unique<gpu_moment>(width, windows, ranks.rank(), ranks.size());
}

inline void accumulate(gpu const& b, gpu_moment& moment, std::size_t first, std::size_t count,
                       gpu::const_view x) {
    moment.add(b, first, count, x);
}

namespace detail {

/// Sends `out` to `peer`, whose array of the same size comes to `in`.
inline void exchange(gpu const& b, rank_group& ranks, std::size_t peer, gpu_array<float> const& out,
                     gpu_array<float>& in) {
    std::size_t const size = out.size();
    if (ranks.takes_device_memory()) {
        b.context->wait();
        ranks.exchange(peer, std::as_bytes(std::span(out.data(), size)),
                       std::as_writable_bytes(std::span(in.data(), size)));
        return;
    }
    std::vector<float> mine(size);
    std::vector<float> other(size);
    b.context->staging().to_host(mine.data(), out.data(), size * sizeof(float), b.context->stream(),
                                 b.threads);
    ranks.exchange(peer, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(other)));
    in = array_of(b, other.data(), size);
}

}  // namespace detail

/// The sum over the windows of all ranks, each of which has added its own: the same bytes for any
/// number of ranks.
[[nodiscard]] inline gpu::hessian finish(gpu const& b, rank_group& ranks, gpu_moment&& moment) {
    std::size_t const width = moment.width();
    gpu_array<float> own = std::move(moment).total(b);
    for_each_peer(ranks, [&](std::size_t peer, bool lower) {
        gpu_array<float> other(b.context, own.size());
        detail::exchange(b, ranks, peer, own, other);
        own = lower ? gpu_moment::joined(b, std::move(own), std::move(other))
                    : gpu_moment::joined(b, std::move(other), std::move(own));
    });
    return {width, std::move(own)};
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

/// Of a finished second moment, on the host.
[[nodiscard]] inline std::vector<float> diagonal(gpu const& b, gpu::hessian const& h) {
    gpu_array<float> const on_device = detail::diagonal_of(b, h);
    std::vector<float> out(h.size);
    b.context->staging().to_host(out.data(), on_device.data(), out.size() * sizeof(float),
                                 b.context->stream(), b.threads);
    return out;
}

}  // namespace fpq
