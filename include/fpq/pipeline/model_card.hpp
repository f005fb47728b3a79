// SPDX-License-Identifier: Apache-2.0
// Floor 8. What an export tells about itself: the recipe that made it, without this machine's
// paths, and a model card. The same run gives the same bytes wherever it ran.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/version.hpp"

namespace fpq {

namespace detail {

/// The last name of a path, of what it points to where it exists; `self` and ids of data sets stay.
inline std::string last_name(std::filesystem::path const& path) {
    std::error_code failed;
    std::filesystem::path const whole = std::filesystem::canonical(path, failed);
    std::filesystem::path const named = failed ? path.lexically_normal() : whole;
    return named.has_filename() ? named.filename().string()
                                : named.parent_path().filename().string();
}

}  // namespace detail

/// The recipe of a plan with names for paths, and without threads: `--recipe` reads it back, the
/// model and texts are then given beside it.
inline nlohmann::json shared_recipe(run_plan const& plan) {
    nlohmann::json recipe = plan.recipe;
    recipe.erase("threads");
    auto const name_of_path = [](std::filesystem::path const& path) {
        return utf8_escaped(detail::last_name(path));
    };
    recipe["model"] = name_of_path(plan.model);
    nlohmann::json& dataset = recipe["calibration"]["dataset"];
    if (dataset.is_string() && !dataset.get<std::string>().empty()) {
        dataset = name_of_path(utf8_unescaped(dataset.get<std::string>()));
    }
    for (nlohmann::json& text : recipe["evaluation"]["texts"]) {
        text = name_of_path(utf8_unescaped(text.get<std::string>()));
    }
    recipe["output"].erase("directory");
    if (!plan.strangers.empty()) {
        recipe["carried"] = plan.strangers;
    }
    return recipe;
}

/// A model card in Markdown: base model, recipe, figures, and what loads it. Figures are those of
/// `report`; nothing in it depends on time, threads or paths.
inline std::string model_card(run_plan const& plan, run_report const& report) {
    std::string const base = detail::printable(detail::last_name(plan.model));
    std::string_view const layout = plan.output->layout->name;
    std::string text = fmt::format(
        "---\nbase_model: {}\nbase_model_relation: quantized\ntags:\n- fpq\n- {}\n---\n\n"
        "# {}, quantized\n\nMade by fpq {} from `{}`, layout `{}`. `recipe.json` is what made it: "
        "`fpq-quantize --recipe recipe.json --model_name_or_path MODEL ...` makes it again.\n\n"
        "## Figures\n\n| figure | value |\n| --- | --- |\n",
        nlohmann::json(base).dump(), layout, base, FPQ_VERSION_STRING, base, layout);
    std::uint64_t before = 0;
    for (plan_entry const& e : plan.entries) {
        before += e.bytes_in;
    }
    constexpr double mebi = 1 << 20;
    auto const row = [&](std::string const& what, std::string const& value) {
        text += "| " + what + " | " + value + " |\n";
    };
    row("quantized linears", std::to_string(report.linears.size()));
    row("bits per quantized weight",
        fmt::format("{:.4f}{}", report.bits_per_weight(),
                    plan.output->linears.pseudo ? " (pseudoquant: stored decoded, in bf16)" : ""));
    row("tensors, before", fmt::format("{:.1f} MiB", static_cast<double>(before) / mebi));
    row("tensors, after",
        fmt::format("{:.1f} MiB", static_cast<double>(plan.output->bytes) / mebi));
    if (report.calibration_tokens > 0) {
        row("calibration tokens", std::to_string(report.calibration_tokens));
    }
    if (report.evaluation) {
        eval_result const& e = *report.evaluation;
        row("perplexity, original", fmt::format("{:.4f}", e.reference_perplexity));
        row("perplexity, quantized", fmt::format("{:.4f}", e.perplexity));
        row("KL(original, quantized)", fmt::format("{:.6f} nats", e.kl_mean));
        row("same most likely token", fmt::format("{:.2f} %", 100.0 * e.top1_agreement));
        text += report.evaluates == evaluated_text::calibration
                    ? "\nPerplexity and KL are of the calibration text.\n"
                : report.evaluates == evaluated_text::both
                    ? "\nPerplexity and KL are in part of the calibration text.\n"
                    : "";
    }
    text += "\n## Use\n\n";
    if (layout == "fp_quant") {
        text +=
            "Transformers with `fp_quant` and QuTLASS reads this layout; inputs are quantized by "
            "the client.\n";
    } else if (layout == "modelopt") {
        text += "TensorRT-LLM, vLLM and SGLang read this layout.\n";
    } else if (layout == "gguf") {
        text +=
            "llama.cpp reads `model.gguf` (`llama-cli -m model.gguf`) and chooses itself how it "
            "rounds inputs. `fpq-inspect DIRECTORY --verify` checks it.\n";
        return text;
    } else {
        text +=
            "vLLM (`vllm serve DIRECTORY`), SGLang and Transformers with `compressed-tensors` read "
            "this layout.\n";
    }
    text +=
        "`fpq-inspect DIRECTORY --verify` checks it, `fpq-evaluate --model DIRECTORY --text FILE` "
        "measures it.\n";
    return text;
}

}  // namespace fpq
