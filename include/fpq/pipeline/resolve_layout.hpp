// SPDX-License-Identifier: Apache-2.0
// Floor 8. Which layout an export has: the one that was named, or the first that holds the plan. A
// layout changes no scheme, it holds them or is refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/layouts.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::detail {

/// What a layout holds and its clients run in another way.
inline std::optional<refusal> runs_otherwise(dialect const& d, export_plan const& linears) {
    if (&d == &fp_quant) {
        for (export_linear const& linear : linears.linears) {
            if (auto why = fp_quant_runs_otherwise(linear, linears.scheme_of(linear))) {
                return why;
            }
        }
    }
    return std::nullopt;
}

/// Why `auto` passes a layout by.
inline std::optional<refusal> passes_by(dialect const& d, export_plan const& linears) {
    std::optional<refusal> const why = refuses(d, linears);
    return why ? why : runs_otherwise(d, linears);
}

/// The layout of that name, or for "auto" the first one that holds all and whose clients run it as
/// it is; what is worth knowing about the choice goes into `notes`. Errors: fpq::error (usage) by
/// module for what the layout, or any, cannot hold.
inline dialect const* choose_layout(std::string const& name, export_plan const& linears,
                                    std::vector<std::string>& notes) {
    if (name == "auto") {
        std::optional<refusal> const first = passes_by(*dialects.front(), linears);
        for (dialect const* const d : dialects) {
            if (!passes_by(*d, linears)) {
                notes.push_back("layout: " + std::string(d->name) +
                                (first ? " (" + std::string(dialects.front()->name) +
                                             " cannot hold this: " + first->where + " is " +
                                             first->found + ")"
                                       : std::string()));
                return d;
            }
        }
        // The reason of the layout that comes nearest.
        bool const only_fp_quant =
            linears.pseudo || !linears.schemes.front().transform.is_identity();
        refusal const why = *passes_by(only_fp_quant ? fp_quant : compressed_tensors, linears);
        fail_usage("no layout can hold this", why.where, why.expected, why.found);
    }
    dialect const* const d =
        find_dialect(layout_words[read_word("export_format", layout_words, layout_synonyms, name)]);
    if (std::optional<refusal> const why = refuses(*d, linears)) {
        fail_usage(std::string(d->name) + " cannot hold this", why->where, why->expected,
                   why->found);
    }
    if (std::optional<refusal> const why = runs_otherwise(*d, linears)) {
        notes.push_back("its clients run " + std::string(d->name) + " as W4A4: " + why->where +
                        " should be " + why->expected);
    }
    return d;
}

}  // namespace fpq::detail
