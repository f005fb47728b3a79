// SPDX-License-Identifier: Apache-2.0
// Floor 1. Which block transform: one list for recipes, files and kernels. The matrices are in
// transform/transform.hpp; docs/transforms.md compares.
#pragma once

#include <cstdint>

namespace fpq {

enum class transform_kind : std::uint8_t {
    identity,
    hadamard,
    random_hadamard,
    dct,
    dst,
    gsr,
    fast_food,
    orthogonal,
    kronecker
};

/// As the command line and files write it.
constexpr char const* name_of(transform_kind kind) noexcept {
    constexpr char const* names[] = {"identity", "hadamard",  "random_hadamard", "dct",      "dst",
                                     "gsr",      "fast_food", "orthogonal",      "kronecker"};
    return names[static_cast<int>(kind)];
}

/// True for the kinds that the clients of a checkpoint can make or load.
constexpr bool is_client_transform(transform_kind kind) noexcept {
    return kind == transform_kind::identity || kind == transform_kind::hadamard ||
           kind == transform_kind::gsr;
}

}  // namespace fpq
