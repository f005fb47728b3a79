// SPDX-License-Identifier: Apache-2.0
// Floor 3. The (g, g) matrix M of every transform, in double; inputs become x M, block by block.
// All of them are orthogonal. Randomness is Philox by (seed, purpose, index): the same seed gives
// the same matrix everywhere.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "fpq/core/random.hpp"
#include "fpq/transform/hadamard.hpp"
#include "fpq/transform/small_matrix.hpp"

namespace fpq {

/// Philox streams of the transforms, one a purpose.
enum class transform_stream : std::uint64_t {
    hadamard_signs = 0x7401,
    fast_food_b,
    fast_food_g,
    fast_food_s,
    fast_food_order,
    orthogonal,
    kronecker_left,
    kronecker_right
};

inline philox transform_random(std::uint64_t seed, transform_stream stream) noexcept {
    return philox{seed, static_cast<std::uint64_t>(stream)};
}

/// g signs, +1 or -1: the low bit of the random word at the index.
inline std::vector<float> random_signs(std::size_t g, std::uint64_t seed, transform_stream stream) {
    philox const source = transform_random(seed, stream);
    std::vector<float> signs(g);
    for (std::size_t i = 0; i < g; ++i) {
        signs[i] = (source.at(i) & 1u) != 0 ? -1.0F : 1.0F;
    }
    return signs;
}

inline small_matrix identity_matrix(std::size_t g) {
    small_matrix m(g);
    for (std::size_t i = 0; i < g; ++i) {
        m(i, i) = 1.0;
    }
    return m;
}

/// Sylvester's H / sqrt(g), g a power of two.
inline small_matrix hadamard_matrix(std::size_t g) {
    small_matrix m(g);
    double const scale = 1.0 / std::sqrt(static_cast<double>(g));
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            m(i, j) = scale * hadamard_sign(i, j);
        }
    }
    return m;
}

/// diag(signs) H: the inputs' signs are flipped, then H.
inline small_matrix random_hadamard_matrix(std::size_t g, std::vector<float> const& signs) {
    small_matrix m = hadamard_matrix(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            m(i, j) *= static_cast<double>(signs[i]);
        }
    }
    return m;
}

/// H with its columns in sequency order: the Walsh matrix. It comes out symmetric (a test looks),
/// but nothing relies on that: M^-T is stored beside M and the inverse reorders first.
inline small_matrix gsr_matrix(std::size_t g, std::vector<std::size_t> const& order) {
    small_matrix const h = hadamard_matrix(g);
    small_matrix m(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            m(i, j) = h(i, order[j]);
        }
    }
    return m;
}

/// DCT-II: M(n, k) = c_k sqrt(2/g) cos(pi (2n+1) k / 2g), c_0 = sqrt(1/2), else 1.
inline small_matrix dct_matrix(std::size_t g) {
    small_matrix m(g);
    double const n = static_cast<double>(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t k = 0; k < g; ++k) {
            double const angle =
                3.14159265358979323846 * static_cast<double>((2 * i + 1) * k) / (2.0 * n);
            m(i, k) = std::sqrt((k == 0 ? 1.0 : 2.0) / n) * std::cos(angle);
        }
    }
    return m;
}

/// DST-II: M(n, k) = c_k sqrt(2/g) sin(pi (2n+1) (k+1) / 2g), c_(g-1) = sqrt(1/2), else 1.
inline small_matrix dst_matrix(std::size_t g) {
    small_matrix m(g);
    double const n = static_cast<double>(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t k = 0; k < g; ++k) {
            double const angle =
                3.14159265358979323846 * static_cast<double>((2 * i + 1) * (k + 1)) / (2.0 * n);
            m(i, k) = std::sqrt((k + 1 == g ? 1.0 : 2.0) / n) * std::sin(angle);
        }
    }
    return m;
}

/// A permutation of 0..g-1 by Fisher-Yates.
inline std::vector<std::size_t> random_order(std::size_t g, std::uint64_t seed,
                                             transform_stream stream) {
    philox const source = transform_random(seed, stream);
    std::vector<std::size_t> order(g);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = g; i > 1; --i) {
        auto const j = static_cast<std::size_t>(source.below(i, static_cast<std::uint32_t>(i)));
        std::swap(order[i - 1], order[j]);
    }
    return order;
}

/// Fastfood's chain B H P G H S (Le, Sarlos, Smola 2013) with signs for all three diagonals. The
/// paper's Gaussian G and chi-distributed S would make the block ill-conditioned, and its inverse
/// is what the weights are multiplied by; with signs it is orthogonal.
inline small_matrix fast_food_matrix(std::size_t g, std::uint64_t seed) {
    std::vector<float> const b = random_signs(g, seed, transform_stream::fast_food_b);
    std::vector<float> const mid = random_signs(g, seed, transform_stream::fast_food_g);
    std::vector<float> const s = random_signs(g, seed, transform_stream::fast_food_s);
    std::vector<std::size_t> const order = random_order(g, seed, transform_stream::fast_food_order);
    small_matrix const first = random_hadamard_matrix(g, b);
    small_matrix shuffled(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            shuffled(i, j) = first(i, order[j]);
        }
    }
    small_matrix second = random_hadamard_matrix(g, mid);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            second(i, j) *= static_cast<double>(s[j]);
        }
    }
    return product(shuffled, second);
}

/// Haar-distributed: the rows of a Gaussian matrix made orthonormal by Gram-Schmidt, twice for
/// accuracy. (Row norms are positive, which is the sign convention that makes QR unique, hence
/// Haar.)
inline small_matrix orthogonal_matrix(std::size_t g, std::uint64_t seed, transform_stream stream) {
    philox const source = transform_random(seed, stream);
    small_matrix m(g);
    for (std::size_t i = 0; i < g * g; ++i) {
        m.data[i] = static_cast<double>(source.normal_at(i));
    }
    for (std::size_t i = 0; i < g; ++i) {
        double* const row = m.data.data() + i * g;
        for (int pass = 0; pass < 2; ++pass) {
            for (std::size_t k = 0; k < i; ++k) {
                double const* const other = m.data.data() + k * g;
                double const along = std::inner_product(row, row + g, other, 0.0);
                for (std::size_t j = 0; j < g; ++j) {
                    row[j] -= along * other[j];
                }
            }
        }
        double const norm = std::sqrt(std::inner_product(row, row + g, row, 0.0));
        for (std::size_t j = 0; j < g; ++j) {
            row[j] /= norm;
        }
    }
    return m;
}

/// The sizes a, b of kronecker_matrix: a * b = g with a the largest divisor not above sqrt(g).
inline std::pair<std::size_t, std::size_t> kronecker_sizes(std::size_t g) noexcept {
    std::size_t left = 1;
    for (std::size_t a = 1; a * a <= g; ++a) {
        left = g % a == 0 ? a : left;
    }
    return {left, g / left};
}

/// A (x) B with A (a, a), B (b, b) Haar-orthogonal: entry (i b + k, j b + l) = A(i, j) B(k, l).
inline small_matrix kronecker_matrix(std::size_t g, std::uint64_t seed) {
    auto const [a, b] = kronecker_sizes(g);
    small_matrix const left = orthogonal_matrix(a, seed, transform_stream::kronecker_left);
    small_matrix const right = orthogonal_matrix(b, seed, transform_stream::kronecker_right);
    small_matrix m(g);
    for (std::size_t i = 0; i < g; ++i) {
        for (std::size_t j = 0; j < g; ++j) {
            m(i, j) = left(i / b, j / b) * right(i % b, j % b);
        }
    }
    return m;
}

}  // namespace fpq
