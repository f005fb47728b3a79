// SPDX-License-Identifier: Apache-2.0
// Test support. The line on the CPU as tests call it, on the small models of the repository.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fpq/graph/families.hpp"
#include "fpq/linalg/openblas.hpp"
#include "fpq/linalg/products.hpp"
#include "fpq/pipeline/flags.hpp"
#include "line/calls.hpp"
#include "support/shared_data.hpp"

namespace fpq_test {

inline void no_progress(fpq::progress_event const&) {}

inline std::filesystem::path repo_model(std::string const& name) {
    return repo_dir() / "examples" / "models" / name;
}

/// A small run on tiny-llama with an evaluation.
inline fpq::harness_flags small_run(fpq::format_family family) {
    fpq::harness_flags f;
    f.model = repo_model("tiny-llama");
    f.calibration.dataset = (repo_dir() / "examples" / "text" / "calib.txt").string();
    f.calibration.sequence_length = 96;
    f.calibration.num_sequences = 8;
    f.scheme.family = family;
    f.threads = 2;
    f.evaluation.perplexity = true;
    f.evaluation.texts = {repo_dir() / "examples" / "text" / "eval.txt"};
    f.evaluation.windows = 4;
    return f;
}

/// As the programs do: OpenBLAS where it is there, which sanitizers do not slow down.
inline void take_fast_products() {
    static fpq::loaded_openblas const& library = fpq::load_openblas();
    if (library.there) {
        fpq::use_products(&library.products);
    }
}

inline fpq::run_report go(fpq::recipe const& r, fpq::architecture_list known) {
    take_fast_products();
    fpq::cpu const b{r.threads};
    return fpq::run(b, fpq::plan_run(b, r, known), known, no_progress);
}
inline fpq::run_report go(fpq::harness_flags const& f) {
    std::vector<std::string> notes;
    return go(fpq::recipe_of(f, notes), fpq::shipped_architectures);
}

}  // namespace fpq_test
