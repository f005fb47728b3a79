// SPDX-License-Identifier: Apache-2.0
#include "quantize/print.hpp"

#include <fmt/format.h>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::tools {

namespace {

void print_evaluation(run_report const& report) {
    eval_result const& e = *report.evaluation;
    fmt::print("perplexity       {:.4f} (original {:.4f}), {} targets{}\n", e.perplexity,
               e.reference_perplexity, e.targets,
               report.evaluates == evaluated_text::calibration ? ", of the calibration text"
               : report.evaluates == evaluated_text::both      ? ", in part of the calibration text"
                                                               : "");
    fmt::print("KL to original   {:.6f} +- {:.6f} nats, 99th percentile {:.4f}\n", e.kl_mean,
               e.kl_se, e.kl_p99);
    fmt::print("top-1 agreement  {:.4f} +- {:.4f}\n", e.top1_agreement, e.top1_se);
    for (eval_result const& apart : e.texts) {
        if (apart.targets == 0) {
            fmt::print("  {}: 0 targets\n", fpq::detail::printable(apart.text));
            continue;
        }
        fmt::print("  {}: perplexity {:.4f} (original {:.4f}), KL {:.6f}, {} targets\n",
                   fpq::detail::printable(apart.text), apart.perplexity, apart.reference_perplexity,
                   apart.kl_mean, apart.targets);
    }
}

}  // namespace

void print_report(run_report const& report, std::string const& products, bool verbose) {
    if (verbose) {
        fmt::print("{:<40} {:>6} {:>6} {:>8} {:>12}\n", "linear", "rows", "cols", "SQNR dB",
                   "rel. error");
        for (linear_report const& l : report.linears) {
            fmt::print("{:<40} {:>6} {:>6} {:>8} {:>12}\n", fpq::detail::printable(l.module),
                       l.rows, l.cols, l.sqnr_db ? fmt::format("{:.2f}", *l.sqnr_db) : "-",
                       l.relative_error ? fmt::format("{:.6f}", *l.relative_error) : "-");
        }
    }
    if (report.linears.empty()) {
        fmt::print("linears          0 quantized{}\n",
                   report.quantized_inputs == 0
                       ? std::string()
                       : fmt::format(", inputs of {}", report.quantized_inputs));
    } else {
        fmt::print("linears          {} quantized, {:.4f} bits per weight{}\n",
                   report.linears.size(), report.bits_per_weight(),
                   report.is_pseudoquant() ? " (pseudoquant: decoded values in the file)" : "");
    }
    if (!report.layout.empty()) {
        fmt::print("written          {} ({}, {} bytes of tensors)\n",
                   fpq::detail::printable(report.directory.string(), 200), report.layout,
                   report.output_bytes);
    }
    if (report.evaluation) {
        print_evaluation(report);
    }
    fmt::print("products         {}\n", products);
    fmt::print("time             {:.1f} s, {} calibration tokens\n", report.seconds,
               report.calibration_tokens);
}

}  // namespace fpq::tools
