// SPDX-License-Identifier: Apache-2.0
// fpq-quantize: options -> recipe -> plan -> run -> exit code.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "common/console.hpp"
#include "common/products.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/pipeline/run.hpp"
#include "line/instances.hpp"
#include "options.hpp"

namespace {

void print_evaluation(fpq::eval_result const& e) {
    fmt::print("perplexity       {:.4f} (original {:.4f}), {} targets\n", e.perplexity,
               e.reference_perplexity, e.targets);
    fmt::print("KL to original   {:.6f} +- {:.6f} nats, 99th percentile {:.4f}\n", e.kl_mean,
               e.kl_se, e.kl_p99);
    fmt::print("top-1 agreement  {:.4f} +- {:.4f}\n", e.top1_agreement, e.top1_se);
}

void print_report(fpq::run_report const& report, std::string const& products, bool verbose) {
    if (verbose) {
        fmt::print("{:<40} {:>6} {:>6} {:>8} {:>12}\n", "linear", "rows", "cols", "SQNR dB",
                   "rel. error");
        for (fpq::linear_report const& l : report.linears) {
            fmt::print("{:<40} {:>6} {:>6} {:>8.2f} {:>12}\n", l.module, l.rows, l.cols, l.sqnr_db,
                       l.relative_error ? fmt::format("{:.6f}", *l.relative_error) : "-");
        }
    }
    fmt::print("linears          {} quantized, {:.4f} bits per weight\n", report.linears.size(),
               report.bits_per_weight());
    if (!report.layout.empty()) {
        fmt::print("written          {} ({}, {} bytes of tensors)\n", report.directory.string(),
                   report.layout, report.output_bytes);
    }
    if (report.evaluation) {
        print_evaluation(*report.evaluation);
    }
    fmt::print("products         {}\n", products);
    fmt::print("time             {:.1f} s, {} calibration tokens\n", report.seconds,
               report.calibration_tokens);
}

int quantize(fpq::harness_flags const& flags, fpq::tools::run_options const& options) {
    for (std::string const& flag : options.ignored) {
        fpq::tools::say("note: {} changes nothing here\n", flag);
    }
    std::vector<std::string> notes;
    fpq::recipe const recipe = fpq::recipe_of(flags, notes);
    for (std::string const& note : notes) {
        fpq::tools::say("note: {}\n", note);
    }
    if (!options.save_recipe.empty()) {
        fpq::write_file_whole(options.save_recipe, fpq::to_json(recipe).dump(2) + "\n");
    }
    fpq::cpu const backend{recipe.threads > 0 ? recipe.threads : fpq::tools::default_threads()};
    fpq::run_plan plan = fpq::plan_run(backend, recipe, fpq::shipped_architectures);
    if (!options.report.empty()) {
        fpq::require_writable_file(options.report);
    }
    if (options.dry_run) {
        (void)fpq::tools::choose_products(options.products);
        fpq::rehearsal const seen = [&] {
            fpq::tools::progress_printer progress(options.verbose);
            return fpq::rehearse(backend, plan, fpq::shipped_architectures, std::ref(progress));
        }();
        fmt::print("{}", fpq::describe_plan(plan, seen));
        return 0;
    }
    std::string const products = fpq::tools::choose_products(options.products);
    if (plan.output) {
        fpq::tools::on_interruption(fpq::staging_path(plan.output->directory).string(),
                                    " is left; the next run to the same directory removes it");
    }
    fpq::run_report report = [&] {
        fpq::tools::progress_printer progress(options.verbose);  // ends its line before the report
        return fpq::run(backend, plan, fpq::shipped_architectures, std::ref(progress));
    }();
    report.commit = FPQ_COMMIT;
    for (std::string const& note : report.notes) {
        fpq::tools::say("note: {}\n", note);
    }
    if (!options.report.empty()) {
        nlohmann::json json = fpq::to_json(report);
        json["products"] = products;
        fpq::write_file_whole(options.report, json.dump(2) + "\n");
    }
    print_report(report, products, options.verbose);
    return 0;
}

/// The value of --recipe, which is wanted before the other options have their defaults.
std::filesystem::path recipe_argument(int argc, char** argv) {
    constexpr std::string_view flag = "--recipe";
    for (int i = 1; i < argc; ++i) {
        std::string_view const word = argv[i];
        if (word == flag && i + 1 < argc) {
            return argv[i + 1];
        }
        if (word.starts_with(flag) && word.size() > flag.size() && word[flag.size()] == '=') {
            return word.substr(flag.size() + 1);
        }
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Quantizes the linears of a Llama, Mistral or Qwen checkpoint.", "fpq-quantize");
    fpq::harness_flags flags;
    fpq::tools::run_options options;
    std::filesystem::path const file = recipe_argument(argc, argv);
    return fpq::tools::run_program(
        app, argc, argv,
        [&] {
            if (!file.empty()) {
                flags =
                    fpq::flags_of(fpq::recipe_from_json(fpq::read_json_file(file), file.string()));
            }
            fpq::tools::declare_options(app, flags, options, !file.empty());
        },
        [&] { return quantize(flags, options); });
}
