// SPDX-License-Identifier: Apache-2.0
// Floor 5. What is done to one linear: how its weight and its inputs are quantized and how both are
// rotated before. Recipes give schemes to modules, dialects hold or refuse them, backends do them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "fpq/format/quant_args.hpp"
#include "fpq/format/transform_kind.hpp"

namespace fpq {

/// A block-diagonal transform of a linear's input dimension. A client holds the matrix of the kinds
/// that it can run (is_client_transform) in bf16, so these are rounded to bf16 before anything is
/// calibrated or solved, whether or where one exports: what was solved is what a client runs.
struct transform_args {
    transform_kind kind = transform_kind::identity;
    std::size_t block = 128;
    std::uint64_t seed = 42;  // of the random kinds

    [[nodiscard]] bool is_identity() const noexcept { return kind == transform_kind::identity; }
    [[nodiscard]] bool operator==(transform_args const& o) const noexcept {
        return kind == o.kind && (is_identity() || (block == o.block && seed == o.seed));
    }
};

/// Empty operands stay as they are.
struct scheme {
    std::optional<quant_args> weight;
    std::optional<quant_args> input;
    transform_args transform;

    /// A transform alone is undone by its inverse: it is not run.
    [[nodiscard]] bool does_nothing() const noexcept { return !weight && !input; }
    [[nodiscard]] bool operator==(scheme const&) const noexcept = default;
};

}  // namespace fpq
