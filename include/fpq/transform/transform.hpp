// SPDX-License-Identifier: Apache-2.0
// Floor 3. Block-diagonal transforms of the input dimension: inputs become x M, weights w M^-T, so
// that x' w'^T = x w^T while both are easier to quantize. It decides nothing about where a
// transform is folded; docs/transforms.md says which ones a client can run.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/transform_kind.hpp"
#include "fpq/transform/block_matrices.hpp"
#include "fpq/transform/hadamard.hpp"
#include "fpq/transform/small_matrix.hpp"

namespace fpq {

/// Every kind, in the order of the enum.
inline constexpr std::array<transform_kind, 9> all_transforms{
    transform_kind::identity,  transform_kind::hadamard,   transform_kind::random_hadamard,
    transform_kind::dct,       transform_kind::dst,        transform_kind::gsr,
    transform_kind::fast_food, transform_kind::orthogonal, transform_kind::kronecker};

/// The name on the command line and in files.
constexpr std::string_view transform_name(transform_kind kind) noexcept { return name_of(kind); }

/// True for the kinds built on Sylvester's matrix.
constexpr bool needs_power_of_two(transform_kind kind) noexcept {
    return kind == transform_kind::hadamard || kind == transform_kind::random_hadamard ||
           kind == transform_kind::gsr || kind == transform_kind::fast_food;
}

/// One block matrix with its inverse transpose; a value, safe to share between threads.
/// The widths it is applied to must be multiples of block() (asserted; a short tail is left as it
/// is in release builds).
class block_transform {
public:
    /// Errors: fpq::error (usage) when block is 0, or not a power of two for a Hadamard kind.
    static block_transform make(transform_kind kind, std::size_t block, std::uint64_t seed = 42) {
        if (block == 0 || (needs_power_of_two(kind) && !is_power_of_two(block))) {
            fail_usage("transform block size", transform_name(kind),
                       block == 0 ? "at least 1" : "a power of two", std::to_string(block));
        }
        block_transform t(kind, block);
        if (kind == transform_kind::random_hadamard) {
            t.signs_ = random_signs(block, seed, transform_stream::hadamard_signs);
        }
        if (kind == transform_kind::gsr) {
            t.order_ = sequency_order(block);
        }
        t.fast_ = kind == transform_kind::identity || kind == transform_kind::hadamard ||
                  kind == transform_kind::random_hadamard || kind == transform_kind::gsr;
        t.set_orthogonal(t.build(seed));
        return t;
    }

    /// Any invertible matrix, e.g. one read from a checkpoint. forward (g, g) row-major is M as
    /// the inputs see it: x' = x M. Applied densely, whatever the kind says.
    /// Errors: fpq::error (numeric) when it has no inverse.
    static block_transform from_matrix(std::size_t g, std::vector<float> const& forward,
                                       transform_kind kind) {
        if (g == 0 || forward.size() != g * g) {
            fail_usage("transform matrix", transform_name(kind), std::to_string(g * g) + " values",
                       std::to_string(forward.size()));
        }
        block_transform t(kind, g);
        small_matrix m(g);
        m.data.assign(forward.begin(), forward.end());
        t.orthogonal_ = orthogonality_gap(m) < 1e-5;
        if (!invert(m)) {
            fail_numeric("transform matrix", transform_name(kind), "an invertible matrix",
                         "a singular one");
        }
        t.matrix_ = forward;
        t.weight_matrix_ = to_float(transposed(m));
        t.transpose();
        return t;
    }

    [[nodiscard]] transform_kind kind() const noexcept { return kind_; }
    [[nodiscard]] std::size_t block() const noexcept { return block_; }
    /// M M^T = I, so that M^-T = M and norms are kept.
    [[nodiscard]] bool orthogonal() const noexcept { return orthogonal_; }
    /// M (g, g) row-major: x' = x M on every block of g columns.
    [[nodiscard]] std::vector<float> const& matrix() const noexcept { return matrix_; }
    /// M^-T (g, g) row-major: w' = w M^-T.
    [[nodiscard]] std::vector<float> const& weight_matrix() const noexcept {
        return weight_matrix_;
    }

    /// x (tokens, in) = x M, block by block, in float32. Hadamard kinds use the butterfly.
    void apply_to_inputs(matrix_view<float> x, int threads) const {
        run(x, matrix_, direction::forward, threads);
    }
    /// w (out, in) = w M^-T.
    void apply_to_weights(matrix_view<float> w, int threads) const {
        run(w, weight_matrix_, direction::forward, threads);
    }
    /// w' (out, in) = w' M^T: the inverse of apply_to_weights.
    void undo_on_weights(matrix_view<float> w, int threads) const {
        run(w, transposed_, direction::backward, threads);
    }

private:
    enum class direction { forward, backward };

    block_transform(transform_kind kind, std::size_t block) : kind_(kind), block_(block) {}

    [[nodiscard]] small_matrix build(std::uint64_t seed) const {
        switch (kind_) {
            case transform_kind::hadamard:
                return hadamard_matrix(block_);
            case transform_kind::random_hadamard:
                return random_hadamard_matrix(block_, signs_);
            case transform_kind::dct:
                return dct_matrix(block_);
            case transform_kind::dst:
                return dst_matrix(block_);
            case transform_kind::gsr:
                return gsr_matrix(block_, order_);
            case transform_kind::fast_food:
                return fast_food_matrix(block_, seed);
            case transform_kind::orthogonal:
                return orthogonal_matrix(block_, seed, transform_stream::orthogonal);
            case transform_kind::kronecker:
                return kronecker_matrix(block_, seed);
            case transform_kind::identity:
                break;
        }
        return identity_matrix(block_);
    }

    static std::vector<float> to_float(small_matrix const& m) {
        std::vector<float> out(m.data.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = static_cast<float>(m.data[i]);
        }
        return out;
    }

    void set_orthogonal(small_matrix const& m) {
        matrix_ = to_float(m);
        weight_matrix_ = matrix_;
        orthogonal_ = true;
        transpose();
    }

    void transpose() {
        transposed_.resize(block_ * block_);
        for (std::size_t i = 0; i < block_; ++i) {
            for (std::size_t j = 0; j < block_; ++j) {
                transposed_[j * block_ + i] = matrix_[i * block_ + j];
            }
        }
    }

    void run(matrix_view<float> x, std::vector<float> const& dense, direction way,
             int threads) const {
        assert(x.cols % block_ == 0);
        if (fast_ && kind_ == transform_kind::identity) {
            return;
        }
        parallel_for(x.rows, 16, threads, [&](std::size_t begin, std::size_t end) {
            std::vector<float> scratch(block_);
            for (std::size_t i = begin; i < end; ++i) {
                for (std::size_t j = 0; j + block_ <= x.cols; j += block_) {
                    if (fast_) {
                        fast_block(x.row(i) + j, scratch, way);
                    } else {
                        dense_block(x.row(i) + j, scratch, dense);
                    }
                }
            }
        });
    }

    void dense_block(float* x, std::vector<float>& out, std::vector<float> const& m) const {
        std::fill(out.begin(), out.end(), 0.0F);
        for (std::size_t k = 0; k < block_; ++k) {
            float const v = x[k];
            float const* const row = m.data() + k * block_;
            for (std::size_t j = 0; j < block_; ++j) {
                out[j] += v * row[j];
            }
        }
        std::copy(out.begin(), out.end(), x);
    }

    /// Forward: signs, H, reorder. Backward: the same undone in reverse (H is its own inverse).
    void fast_block(float* x, std::vector<float>& scratch, direction way) const {
        bool const forward = way == direction::forward;
        if (!signs_.empty() && forward) {
            flip(x);
        }
        if (!order_.empty() && !forward) {
            for (std::size_t j = 0; j < block_; ++j) {
                scratch[order_[j]] = x[j];
            }
            std::copy(scratch.begin(), scratch.end(), x);
        }
        hadamard_in_place(x, block_);
        if (!order_.empty() && forward) {
            for (std::size_t j = 0; j < block_; ++j) {
                scratch[j] = x[order_[j]];
            }
            std::copy(scratch.begin(), scratch.end(), x);
        }
        if (!signs_.empty() && !forward) {
            flip(x);
        }
    }

    void flip(float* x) const noexcept {
        for (std::size_t j = 0; j < block_; ++j) {
            x[j] *= signs_[j];
        }
    }

    transform_kind kind_;
    std::size_t block_;
    bool orthogonal_ = false;
    bool fast_ = false;                 // butterfly instead of the dense product
    std::vector<float> matrix_;         // M (g, g)
    std::vector<float> weight_matrix_;  // M^-T
    std::vector<float> transposed_;     // M^T
    std::vector<float> signs_;          // random_hadamard only
    std::vector<std::size_t> order_;    // gsr only
};

}  // namespace fpq
