// SPDX-License-Identifier: Apache-2.0
// Floor 6. The backward verbs of a CUDA device; meanings are those of backend/cpu/backward, the
// oracle. Gradients are bf16; products have float32 sums on the tensor cores.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/generate.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/labels.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/api/backward.hpp"

namespace fpq {

namespace detail {

/// How one of a product's row-major matrices is read.
enum class operand : std::uint8_t { plain, transposed };

/// Products that are made in one call: matrices of one lie so many values behind those of another.
struct product_batch {
    std::size_t count = 1;
    std::size_t a_step = 0, b_step = 0, c_step = 0;
};

/// out = or += x y on the tensor cores, sums in float32. x and y are bf16, out bf16 or fp32.
inline void multiply_nn(gpu const& b, gpu::const_view x, operand x_as, gpu::const_view y,
                        operand y_as, bool add, gpu::view out, product_batch const& batch = {}) {
    float const one = 1.0F;
    float const beta = add ? 1.0F : 0.0F;
    auto const number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    auto const op = [](operand as) { return as == operand::plain ? CUBLAS_OP_N : CUBLAS_OP_T; };
    std::size_t const depth = x_as == operand::plain ? x.cols : x.rows;
    // Row-major (rows, cols) is column-major (cols, rows): the product comes transposed.
    require_ok(
        cuda::from_cublas(
            cublasGemmStridedBatchedEx_64(
                b.context->libraries().blas(), op(y_as), op(x_as), number(out.cols),
                number(out.rows), number(depth), &one, y.data, CUDA_R_16BF, number(y.stride),
                number(batch.b_step), x.data, CUDA_R_16BF, number(x.stride), number(batch.a_step),
                &beta, out.data, out.type == float_type::fp32 ? CUDA_R_32F : CUDA_R_16BF,
                number(out.stride), number(batch.c_step), number(batch.count), CUBLAS_COMPUTE_32F,
                CUBLAS_GEMM_DEFAULT),
            "backward pass: cublasGemmStridedBatchedEx"),
        {});
}

/// The weight as products read it.
template <class F>
void with_bf16(gpu const& b, gpu::const_view weight, F const& f) {
    if (weight.type == float_type::bf16) {
        f(weight);
    } else {
        f(converted(b, weight, float_type::bf16, nullptr).view());
    }
}

}  // namespace detail

/// dx (tokens, in) = or += dy (tokens, out) weight (out, in).
inline void linear_backward(gpu const& b, gpu::const_view dy, gpu::const_view weight, bool add,
                            gpu::view dx) {
    static_cast<void>(dy.bf16_matrix());
    static_cast<void>(dx.bf16_matrix());
    detail::with_bf16(b, weight, [&](gpu::const_view w) {
        detail::multiply_nn(b, dy, detail::operand::plain, w, detail::operand::plain, add, dx);
    });
}

inline void rms_norm_backward(gpu const& b, gpu::const_view x, gpu::vector const& weight, float eps,
                              gpu::const_view dy, gpu::view dx) {
    require_ok(
        cuda::launch_rms_norm_backward(x.bf16_matrix(), weight.data(), eps, x.rows, x.cols,
                                       dy.bf16_matrix(), dx.bf16_matrix(), b.context->stream()),
        {});
}

inline void rotate_backward(gpu const& b, gpu::const_view q, gpu::const_view k,
                            std::size_t head_dim, gpu::vector const& q_norm,
                            gpu::vector const& k_norm, float eps, gpu::rope const& table,
                            row_positions const& at, gpu::view dq, gpu::view dk) {
    if (at.first != 0 || at.step != 1) {
        fail_usage("positions of rows", "gpu: rotate_backward", "those of whole windows", "others");
    }
    auto const back = [&](gpu::view d, gpu::const_view x, gpu::vector const& norm) {
        cuda::rotate_back_args args;
        args.d = d.bf16_matrix();
        args.tokens = d.rows;
        args.heads = d.cols / head_dim;
        args.head_dim = head_dim;
        args.cos = table.cos.data();
        args.sin = table.sin.data();
        args.length = at.length;
        args.eps = eps;
        if (!norm.empty()) {
            args.norm = norm.data();
            args.x = x.bf16_matrix();
        }
        require_ok(cuda::launch_rotate_back(args, b.context->stream()), {});
    };
    back(dq, q, q_norm);
    back(dk, k, k_norm);
}

inline void silu_mul_backward(gpu const& b, gpu::const_view dy, gpu::view gate, gpu::view up) {
    require_ok(
        cuda::launch_silu_mul_backward(dy.bf16_matrix(), gate.bf16_matrix(), up.bf16_matrix(),
                                       dy.rows, dy.cols, b.context->stream()),
        {});
}

[[nodiscard]] inline gpu::vector mean_squares(gpu const& b, gpu::const_view x) {
    gpu::vector out(b.context, x.rows);
    require_ok(
        cuda::launch_mean_squares(x.bf16_matrix(), x.rows, x.cols, out.data(), b.context->stream()),
        {});
    return out;
}

inline void weigh_rows(gpu const& b, gpu::const_view x, gpu::vector const& weights, gpu::view y) {
    require_ok(cuda::launch_weigh_rows(x.bf16_matrix(), weights.data(), x.rows, x.cols,
                                       y.bf16_matrix(), b.context->stream()),
               {});
}

namespace detail {

/// Queries whose scores are held at a time, of the heads that share keys.
inline constexpr std::size_t backward_queries = 1024;

/// One window; see attention_backward.
class window_backward {
public:
    window_backward(gpu const& b, attention_shape const& shape, std::size_t length)
        : b_(b),
          shape_(shape),
          group_(shape.heads / shape.kv_heads),
          length_(length),
          tile_(std::min(backward_queries, length)),
          scores_(b.context, float_type::fp32, group_ * tile_, length),
          dp_(b.context, float_type::fp32, group_ * tile_, length),
          p_(b.context, float_type::bf16, group_ * tile_, length),
          ds_(b.context, float_type::bf16, group_ * tile_, length),
          dk_(b.context, float_type::fp32, length, shape.kv_heads * shape.head_dim),
          dv_(b.context, float_type::fp32, length, shape.kv_heads * shape.head_dim) {}

    void run(gpu::const_view q, gpu::const_view k, gpu::const_view v, gpu::const_view dout,
             gpu::view dq, gpu::view dk, gpu::view dv) {
        for (std::size_t kv = 0; kv < shape_.kv_heads; ++kv) {
            for (std::size_t t = 0; t < length_; t += tile_) {
                tile(kv, t, std::min(tile_, length_ - t), q, k, v, dout, dq);
            }
        }
        copy(b_, dk_.view(), dk);
        copy(b_, dv_.view(), dv);
    }

private:
    /// Queries [first, first + count) of the heads that share keys `kv`.
    void tile(std::size_t kv, std::size_t first, std::size_t count, gpu::const_view q,
              gpu::const_view k, gpu::const_view v, gpu::const_view dout, gpu::view dq) {
        std::size_t const width = shape_.head_dim;
        std::size_t const keys = first + count;
        auto const head = [&](gpu::view x, std::size_t h) {
            return x.rows_at(first, count).cols_at((kv * group_ + h) * width, width);
        };
        auto const shared = [&](gpu::view x) {
            return x.rows_at(0, keys).cols_at(kv * width, width);
        };
        auto const square = [&](gpu::tensor const& x) {  // of the first head
            return gpu::view{x.view().data, x.view().type, count, keys, keys};
        };
        product_batch const scores{group_, width, 0, count * keys};
        multiply_nn(b_, head(q, 0), operand::plain, shared(k), operand::transposed, false,
                    square(scores_), scores);
        multiply_nn(b_, head(dout, 0), operand::plain, shared(v), operand::transposed, false,
                    square(dp_), scores);
        cuda::attention_scores_args args;
        args.scores = static_cast<float const*>(scores_.view().data);
        args.dp = static_cast<float const*>(dp_.view().data);
        args.p = static_cast<bf16*>(p_.view().data);
        args.ds = static_cast<bf16*>(ds_.view().data);
        args.heads = group_;
        args.queries = count;
        args.first = first;
        args.scale = 1.0F / std::sqrt(static_cast<float>(width));
        require_ok(cuda::launch_attention_scores_backward(args, b_.context->stream()), {});
        multiply_nn(b_, square(ds_), operand::plain, shared(k), operand::plain, false, head(dq, 0),
                    {group_, count * keys, 0, width});
        // Keys and values take what all heads and tiles give, always in this order.
        for (std::size_t h = 0; h < group_; ++h) {
            auto const of_head = [&](gpu::tensor const& x) {
                gpu::view all = square(x);
                all.data = static_cast<bf16*>(all.data) + h * count * keys;
                return all;
            };
            add_to(dk_, kv, first, keys, h, of_head(ds_), head(q, h));
            add_to(dv_, kv, first, keys, h, of_head(p_), head(dout, h));
        }
    }

    /// sum's rows [0, keys) of head kv += x^T y; rows that no tile before has reached are new.
    void add_to(gpu::tensor const& sum, std::size_t kv, std::size_t first, std::size_t keys,
                std::size_t h, gpu::const_view x, gpu::const_view y) {
        gpu::view const all = sum.view().cols_at(kv * shape_.head_dim, shape_.head_dim);
        auto const part = [&](std::size_t begin, std::size_t count, bool add) {
            if (count != 0) {
                multiply_nn(b_, x.cols_at(begin, count), operand::transposed, y, operand::plain,
                            add, all.rows_at(begin, count));
            }
        };
        if (h > 0) {
            part(0, keys, true);
            return;
        }
        part(0, first, true);
        part(first, keys - first, false);
    }

    gpu const& b_;
    attention_shape shape_;
    std::size_t group_;
    std::size_t length_;
    std::size_t tile_;
    gpu::tensor scores_, dp_, p_, ds_, dk_, dv_;
};

}  // namespace detail

inline void attention_backward(gpu const& b, gpu::const_view q, gpu::const_view k,
                               gpu::const_view v, gpu::const_view dout,
                               attention_shape const& shape, std::size_t length, gpu::view dq,
                               gpu::view dk, gpu::view dv) {
    detail::window_backward work(b, shape, length);
    for (std::size_t row = 0; row < q.rows; row += length) {
        auto const of = [&](gpu::view x) { return x.rows_at(row, length); };
        work.run(of(q), of(k), of(v), of(dout), of(dq), of(dk), of(dv));
    }
}

namespace detail {

/// Positions whose logits are held at a time.
inline constexpr std::size_t backward_logit_rows = 512;

}  // namespace detail

/// Labels are drawn on the device, by the CPU's random numbers.
inline void head_backward(gpu const& b, gpu::const_view x, gpu::table const& head,
                          label_draw const* draw, std::span<std::int32_t> labels,
                          std::span<label_score> scores, gpu::view dx, gpu::score_workspace&) {
    std::size_t const most = std::min(detail::backward_logit_rows, x.rows);
    gpu::view const table = detail::table_on_device(b, head);
    gpu::tensor const all = make_logits(b, most, head.rows());
    gpu::tensor const d = make(b, most, head.rows());
    gpu_array<float> const nll(b.context, x.rows);
    gpu_array<float> const square(b.context, x.rows);
    gpu_array<std::int32_t> const chosen = detail::array_of(b, labels.data(), x.rows);
    gpu_array<float> uniforms;
    if (draw != nullptr) {
        std::vector<float> host(x.rows);
        for (std::size_t t = 0; t < x.rows; ++t) {
            host[t] = uniform(philox{draw->seed, draw->stream + t}.at(draw->step));
        }
        uniforms = detail::array_of(b, host.data(), host.size());
    }
    for (std::size_t begin = 0; begin < x.rows; begin += most) {
        std::size_t const count = std::min(most, x.rows - begin);
        detail::multiply(b, x.rows_at(begin, count), table, all.view().rows_at(0, count));
        cuda::cross_entropy_args args;
        args.logits = static_cast<float const*>(all.view().data);
        args.rows = count;
        args.vocab = head.rows();
        args.uniform = draw == nullptr ? nullptr : uniforms.data() + begin;
        args.labels = chosen.data() + begin;
        args.gradient = d.view().bf16_matrix().data;
        args.nll = nll.data() + begin;
        args.square = square.data() + begin;
        require_ok(cuda::launch_cross_entropy_backward(args, b.context->stream()), {});
        detail::multiply_nn(b, d.view().rows_at(0, count), detail::operand::plain, table,
                            detail::operand::plain, false, dx.rows_at(begin, count));
    }
    std::vector<float> host_nll(x.rows);
    std::vector<float> host_square(x.rows);
    auto const take = [&](void* to, void const* from, std::size_t bytes) {
        b.context->staging().to_host(to, from, bytes, b.context->stream(), b.threads);
    };
    take(host_nll.data(), nll.data(), x.rows * sizeof(float));
    take(host_square.data(), square.data(), x.rows * sizeof(float));
    take(labels.data(), chosen.data(), x.rows * sizeof(std::int32_t));
    for (std::size_t t = 0; t < x.rows; ++t) {
        if (!std::isfinite(host_nll[t])) {
            fail_numeric("backward pass", "logits", "finite values", "NaN or infinity");
        }
        scores[t] = {host_nll[t], host_square[t]};
    }
}

}  // namespace fpq
