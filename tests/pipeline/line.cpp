// SPDX-License-Identifier: Apache-2.0
#include "pipeline/line.hpp"

#include <vector>

#include "fpq/linalg/openblas.hpp"
#include "fpq/linalg/products.hpp"
#include "pipeline/models.hpp"
#include "support/sanitized.hpp"

namespace fpq_test {

std::filesystem::path repo_model(std::string const& name) {
    return repo_dir() / "examples" / "models" / name;
}

fpq::harness_flags small_run(fpq::format_family family) {
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
#if defined(FPQ_TEST_SANITIZED)  // the same code as with more windows, which take minutes
    f.calibration.num_sequences = 4;
    f.evaluation.windows = 2;
#endif
    return f;
}

void take_fast_products() {
    static fpq::loaded_openblas const& library = fpq::load_openblas();
    if (library.there) {
        fpq::use_products(&library.products);
    }
}

fpq::run_report go(fpq::recipe const& r, fpq::architecture_list known) {
    take_fast_products();
    fpq::cpu const b{r.threads};
    return fpq::run(b, fpq::plan_run(b, r, known), known, no_progress);
}

fpq::run_report go(fpq::harness_flags const& f) {
    std::vector<std::string> notes;
    return go(fpq::recipe_of(f, notes), fpq::shipped_architectures);
}

double written_kl(fpq::harness_flags const& f) {
    fpq::cpu const b{2};
    model_on_cpu const written(b, f.output.directory, fpq::shipped_architectures);
    model_on_cpu const original(b, f.model, fpq::shipped_architectures);
    fpq::evaluation_text const text{f.evaluation.texts, f.calibration.sequence_length, 0,
                                    f.evaluation.windows, true};
    return fpq::evaluate_models(b, written, &original, fpq::evaluation_windows(original, text),
                                no_progress)
        .result.kl_mean;
}

}  // namespace fpq_test
