// SPDX-License-Identifier: Apache-2.0
// Floor 3. Dense double-precision helpers for block matrices (g up to about 1024): product,
// inverse, orthogonality. Made once a run; not for anything per token.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace fpq {

/// A square row-major matrix in double.
struct small_matrix {
    std::size_t size = 0;
    std::vector<double> data;  // (size, size)

    explicit small_matrix(std::size_t n = 0) : size(n), data(n * n, 0.0) {}
    double& operator()(std::size_t i, std::size_t j) noexcept { return data[i * size + j]; }
    double operator()(std::size_t i, std::size_t j) const noexcept { return data[i * size + j]; }
};

inline small_matrix transposed(small_matrix const& a) {
    small_matrix t(a.size);
    for (std::size_t i = 0; i < a.size; ++i) {
        for (std::size_t j = 0; j < a.size; ++j) {
            t(j, i) = a(i, j);
        }
    }
    return t;
}

inline small_matrix product(small_matrix const& a, small_matrix const& b) {
    small_matrix c(a.size);
    for (std::size_t i = 0; i < a.size; ++i) {
        for (std::size_t k = 0; k < a.size; ++k) {
            double const x = a(i, k);
            for (std::size_t j = 0; j < a.size; ++j) {
                c(i, j) += x * b(k, j);
            }
        }
    }
    return c;
}

/// Largest |A A^T - I|.
inline double orthogonality_gap(small_matrix const& a) {
    small_matrix const gram = product(a, transposed(a));
    double gap = 0.0;
    for (std::size_t i = 0; i < a.size; ++i) {
        for (std::size_t j = 0; j < a.size; ++j) {
            double const d = std::fabs(gram(i, j) - (i == j ? 1.0 : 0.0));
            gap = d > gap || std::isnan(d) ? d : gap;
        }
    }
    return gap;
}

/// Replaces `a` by its inverse (Gauss-Jordan, partial pivoting). False, and `a` is left half-done,
/// when a pivot is zero or not finite.
inline bool invert(small_matrix& a) {
    std::size_t const n = a.size;
    small_matrix inverse(n);
    for (std::size_t i = 0; i < n; ++i) {
        inverse(i, i) = 1.0;
    }
    for (std::size_t k = 0; k < n; ++k) {
        std::size_t pivot = k;
        for (std::size_t i = k + 1; i < n; ++i) {
            pivot = std::fabs(a(i, k)) > std::fabs(a(pivot, k)) ? i : pivot;
        }
        double const head = a(pivot, k);
        if (head == 0.0 || !std::isfinite(head)) {
            return false;
        }
        for (std::size_t j = 0; j < n; ++j) {
            std::swap(a(k, j), a(pivot, j));
            std::swap(inverse(k, j), inverse(pivot, j));
            a(k, j) /= head;
            inverse(k, j) /= head;
        }
        for (std::size_t i = 0; i < n; ++i) {
            double const factor = a(i, k);
            if (i == k || factor == 0.0) {
                continue;
            }
            for (std::size_t j = 0; j < n; ++j) {
                a(i, j) -= factor * a(k, j);
                inverse(i, j) -= factor * inverse(k, j);
            }
        }
    }
    a = std::move(inverse);
    return true;
}

}  // namespace fpq
