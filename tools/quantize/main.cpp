// SPDX-License-Identifier: Apache-2.0
// fpq-quantize: options -> recipe -> run -> exit code.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "common/console.hpp"
#include "common/products.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/pipeline/run.hpp"
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
    if (!report.choices.save_path.empty() && report.output_bytes > 0) {
        fmt::print("written          {} ({} bytes of tensors)\n", report.choices.save_path.string(),
                   report.output_bytes);
    }
    if (report.evaluation) {
        print_evaluation(*report.evaluation);
    }
    fmt::print("products         {}\n", products);
    fmt::print("time             {:.1f} s, {} calibration tokens\n", report.seconds,
               report.calibration_tokens);
}

int quantize(fpq::recipe& r, fpq::tools::run_options const& run) {
    for (std::string const& flag : run.ignored) {
        fpq::tools::say("note: {} changes nothing here\n", flag);
    }
    for (std::string const& note : fpq::settle(r)) {
        fpq::tools::say("note: {}\n", note);
    }
    if (r.threads <= 0) {
        r.threads = fpq::tools::default_threads();
    }
    if (run.dry_run) {
        fmt::print("{}", fpq::describe_plan(fpq::plan_run(r)));
        return 0;
    }
    std::string const products = fpq::tools::choose_products(run.products);
    if (!r.save_path.empty()) {
        fpq::tools::on_interruption(fpq::staging_path(r.save_path).string(),
                                    " is left; the next run to the same directory removes it");
    }
    fpq::tools::progress_printer progress(run.verbose);
    fpq::run_report const report =
        fpq::run(r, [&progress](fpq::progress_event const& event) { progress(event); });
    for (std::string const& note : report.notes) {
        fpq::tools::say("note: {}\n", note);
    }
    if (!run.report.empty()) {
        nlohmann::json json = fpq::to_json(report);
        json["products"] = products;
        fpq::write_file_whole(run.report, json.dump(2) + "\n");
    }
    print_report(report, products, run.verbose);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Quantizes the linears of a Llama, Mistral or Qwen checkpoint.");
    fpq::recipe r;
    r.threads = 0;
    fpq::tools::run_options run;
    fpq::tools::declare_options(app, r, run);
    return fpq::tools::run_program(app, argc, argv, [&] { return quantize(r, run); });
}
