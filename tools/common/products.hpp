// SPDX-License-Identifier: Apache-2.0
// Which matrix products a program runs with: --products and FPQ_PRODUCTS.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fpq::tools {

/// Declares --products (or FPQ_PRODUCTS in the environment) on `app`; `choice` gets the word.
inline void add_products_option(CLI::App& app, std::string& choice) {
    app.add_option("--products", choice, "matrix products: auto, own, openblas, eigen")
        ->check(CLI::IsMember({"auto", "own", "openblas", "eigen"}))
        ->capture_default_str()
        ->envname("FPQ_PRODUCTS");
}

/// Makes the process multiply with them; returns their name for a report. auto: OpenBLAS when it
/// loads, else our own. Call it before threads start. Throws fpq::error (usage) when what was named
/// is not there.
std::string choose_products(std::string const& choice);

}  // namespace fpq::tools
