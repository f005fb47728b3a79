// SPDX-License-Identifier: Apache-2.0
// Floor 2. The blocks of a matrix product of one thread, around a kernel of some instruction set:
// both operands are copied into panels that the kernel reads in order, and it keeps the sums of one
// panel of a against one of b in registers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "fpq/linalg/vector_type.hpp"

namespace fpq::kernels {

/// An operand as it is read: element (i, j) lies at data[i * down + j * across].
template <class Scalar>
struct strided {
    Scalar const* data;
    std::size_t down;
    std::size_t across;
};

/// Copies Side values, vector by vector: gcc 12 makes a string instruction of a plain copy of so
/// many bytes, which costs as much as a tenth of a product.
template <std::size_t Side, class Scalar>
void copy_side(Scalar const* from, Scalar* to) {
    using vector = vector_of<Scalar, 16>;
    constexpr std::size_t width = 16 / sizeof(Scalar);
    auto const copy = [&](std::size_t i) {
        vector v;
        std::memcpy(&v, from + i, sizeof v);
        std::memcpy(to + i, &v, sizeof v);
    };
    [&]<std::size_t... I>(std::index_sequence<I...>) { (copy(I * width), ...); }
    (std::make_index_sequence<Side / width>{});
    for (std::size_t i = Side / width * width; i < Side; ++i) {
        to[i] = from[i];
    }
}

/// Copies x (depth, count) to panels of Side: for every depth Side values, zeros past `count`.
template <std::size_t Side, class Scalar>
void pack_panels(strided<Scalar> x, std::size_t depth, std::size_t count, Scalar* to) {
    for (std::size_t first = 0; first < count; first += Side, to += Side * depth) {
        std::size_t const some = std::min(Side, count - first);
        Scalar const* const from = x.data + first * x.across;
        if (some < Side) {
            std::fill_n(to, Side * depth, Scalar{0});
        }
        if (x.across == 1 && some == Side) {
            for (std::size_t p = 0; p < depth; ++p) {
                copy_side<Side>(from + p * x.down, to + p * Side);
            }
            continue;
        }
        if (x.across == 1) {
            for (std::size_t p = 0; p < depth; ++p) {
                std::copy_n(from + p * x.down, some, to + p * Side);
            }
            continue;
        }
        constexpr std::size_t step = 16;  // depths of one line of memory
        for (std::size_t p = 0; p < depth; p += step) {
            for (std::size_t s = 0; s < some; ++s) {
                for (std::size_t d = p; d < std::min(p + step, depth); ++d) {
                    to[d * Side + s] = from[d * x.down + s * x.across];
                }
            }
        }
    }
}

/// c (m, n) = alpha * a b, added to c when `more`; a is (m, k), b is (k, n), c is row-major. None
/// of the sizes is 0. The order of the sums depends on k alone. Kernel: rows, cols, and
/// multiply(a, b, depth, alpha, c, ldc, more), which does a block of them out of two panels.
template <class Kernel, class Scalar>
void product_by_panels(std::size_t m, std::size_t n, std::size_t k, Scalar alpha, strided<Scalar> a,
                       strided<Scalar> b, Scalar* c, std::size_t ldc, bool more) {
    // A panel of b stays in the first cache, the blocks of a and b in the second.
    constexpr std::size_t rows = Kernel::rows;
    constexpr std::size_t cols = Kernel::cols;
    constexpr std::size_t depth_block = 1024 / sizeof(Scalar);
    constexpr std::size_t row_block = 20 * rows;
    constexpr std::size_t col_block = 16 * cols;
    auto const whole = [](std::size_t size, std::size_t side) {
        return (size + side - 1) / side * side;
    };
    std::size_t const deepest = std::min(k, depth_block);
    std::vector<Scalar> a_panels(whole(std::min(m, row_block), rows) * deepest);
    std::vector<Scalar> b_panels(whole(std::min(n, col_block), cols) * deepest);
    Scalar edge[rows * cols];
    for (std::size_t p = 0; p < k; p += depth_block) {
        std::size_t const depth = std::min(depth_block, k - p);
        bool const add = more || p > 0;
        for (std::size_t j = 0; j < n; j += col_block) {
            std::size_t const wide = std::min(col_block, n - j);
            pack_panels<cols>(strided<Scalar>{b.data + p * b.down + j * b.across, b.down, b.across},
                              depth, wide, b_panels.data());
            for (std::size_t i = 0; i < m; i += row_block) {
                std::size_t const high = std::min(row_block, m - i);
                pack_panels<rows>(
                    strided<Scalar>{a.data + i * a.down + p * a.across, a.across, a.down}, depth,
                    high, a_panels.data());
                for (std::size_t jj = 0; jj < wide; jj += cols) {
                    for (std::size_t ii = 0; ii < high; ii += rows) {
                        Scalar const* const left = a_panels.data() + ii * depth;
                        Scalar const* const right = b_panels.data() + jj * depth;
                        Scalar* const out = c + (i + ii) * ldc + j + jj;
                        if (high - ii >= rows && wide - jj >= cols) {
                            Kernel::multiply(left, right, depth, alpha, out, ldc, add);
                            continue;
                        }
                        Kernel::multiply(left, right, depth, alpha, edge, cols, false);
                        for (std::size_t r = 0; r < std::min(rows, high - ii); ++r) {
                            for (std::size_t s = 0; s < std::min(cols, wide - jj); ++s) {
                                Scalar const sum = edge[r * cols + s];
                                out[r * ldc + s] = add ? out[r * ldc + s] + sum : sum;
                            }
                        }
                    }
                }
            }
        }
    }
}

}  // namespace fpq::kernels
