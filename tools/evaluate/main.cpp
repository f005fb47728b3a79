// SPDX-License-Identifier: Apache-2.0
// fpq-evaluate: perplexity of a checkpoint, and its distance to a reference checkpoint, on text;
// tasks of lm-evaluation-harness.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/console.hpp"
#include "common/do_both.hpp"
#include "common/places.hpp"
#include "common/products.hpp"
#include "evaluate/measure.hpp"
#include "evaluate/options.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/pipeline/flags.hpp"
#include "logs/run_logs.hpp"
#include "tasks/lm_eval.hpp"
#include "tasks/print_scores.hpp"

namespace {

void print_measurement(fpq::tools::measurement const& m,
                       fpq::tools::evaluate_options const& options, std::string const& products) {
    fpq::eval_result const& e = m.result;
    fmt::print("perplexity       {:.6f}\n", e.perplexity);
    fmt::print("targets          {} in {} windows of {}\n", e.targets, m.windows,
               options.sequence_length);
    fmt::print("bits per weight  {:.4f}{}\n", m.bits_per_weight,
               m.stored_bits_per_weight == m.bits_per_weight
                   ? std::string()
                   : fmt::format(" (pseudoquant: {:.4f} in the file)", m.stored_bits_per_weight));
    fmt::print("products         {}\n", products);
    if (e.has_reference) {
        fmt::print("reference        {:.6f}\n", e.reference_perplexity);
        fmt::print("KL mean          {:.8f} +- {:.8f} nats\n", e.kl_mean, e.kl_se);
        fmt::print("KL 99 %          {:.8f} nats\n", e.kl_p99);
        fmt::print("top-1 agreement  {:.6f} +- {:.6f}\n", e.top1_agreement, e.top1_se);
    }
    for (fpq::eval_result const& apart : e.texts) {
        if (apart.targets == 0) {
            fmt::print("  {}: 0 targets\n", fpq::detail::printable(apart.text));
            continue;
        }
        fmt::print("  {}: perplexity {:.6f}{}, {} targets\n", fpq::detail::printable(apart.text),
                   apart.perplexity,
                   apart.has_reference ? fmt::format(" (reference {:.6f}), KL {:.8f}",
                                                     apart.reference_perplexity, apart.kl_mean)
                                       : std::string(),
                   apart.targets);
    }
}

/// `config`: every flag with its value, for a log.
int evaluate(fpq::tools::evaluate_options const& options, nlohmann::json const& config) {
    fpq::tools::enter_device_program(options.device);
    if (options.texts.empty() && options.tasks.names.empty()) {
        fpq::fail_usage("--text", {}, "text of the evaluation, or --lm_eval_tasks", "nothing");
    }
    if (options.tasks.names.empty() && options.tasks != fpq::task_args{}) {
        fpq::fail_usage("--lm_eval_tasks", {}, "names of tasks, which other flags are about",
                        "none");
    }
    if (options.texts.empty() && !options.reference.empty()) {
        fpq::fail_usage("--reference", {}, "--text, on which the two are compared", "no text");
    }
    int const threads = options.threads > 0 ? options.threads : fpq::tools::default_threads();
    fpq::tools::chosen_device const device = fpq::tools::choose_device(options.device);
    std::string const products =
        device.gpu ? device.name : fpq::tools::choose_products(options.products, threads);
    if (!device.note.empty()) {
        fpq::tools::say("note: {}\n", device.note);
    }
    fpq::tools::check_json_file(options);
    fpq::tools::check_log_directory(options);
    fpq::tools::check_apart("log_dir", options.logs.directory, "--json", options.json);
    if (options.openllm && !std::ranges::equal(options.tasks.names, fpq::openllm_tasks)) {
        fpq::tools::say("note: --eval_openllm: --lm_eval_tasks names the tasks\n");
    }
    fpq::tools::check_tasks(options.tasks, fpq::model_directory(options.model),
                            [](std::string const& line) { fpq::tools::say("note: {}\n", line); });
    fpq::tools::run_logs logs(options.logs, config, [](std::string const& line) {
        fpq::tools::say("note: {}\n", fpq::detail::printable(line, 400));
    });
    logs.open();
    std::optional<fpq::tools::measurement> measured;
    if (!options.texts.empty()) {
        measured = fpq::tools::measure(options, device, threads);
        print_measurement(*measured, options, products);
        static_cast<void>(std::fflush(stdout));
    }
    std::optional<fpq::task_scores> tasks;
    auto const save = [&] {
        // The results first: a log may wait for a network, and can be interrupted there.
        fpq::tools::do_both(
            [&] {
                if (!options.json.empty()) {
                    fpq::tools::save_results(measured, tasks, options, products);
                }
            },
            [&] { logs.finish(fpq::tools::values_of(measured, tasks)); });
    };
    if (!options.tasks.names.empty()) {
        try {
            tasks = fpq::tools::run_tasks(
                options.tasks,
                {fpq::model_directory(options.model), options.device, options.threads},
                [](std::string const& line) { fpq::tools::say("{}\n", line); });
        } catch (...) {
            measured ? save() : void();
            throw;
        }
        fpq::tools::print_scores(*tasks);
    }
    save();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return fpq::tools::run_program("fpq-evaluate", [&] {
        fpq::tools::evaluate_options options;
        fpq::tools::program_spec const program = fpq::tools::evaluate_program(options);
        return fpq::tools::take_all(program, argc, argv, [&] {
            auto const line = fpq::tools::read_command_line(program, argc, argv);
            return evaluate(options, fpq::tools::flag_values(program, line, false));
        });
    });
}
