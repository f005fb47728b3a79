// SPDX-License-Identifier: Apache-2.0
// fpq-evaluate: perplexity of a checkpoint, and its distance to a reference checkpoint, on text.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/console.hpp"
#include "common/products.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "line/instances.hpp"

namespace {

struct arguments {
    std::filesystem::path model;
    std::filesystem::path reference;
    std::vector<std::filesystem::path> texts;
    std::filesystem::path json;
    std::size_t sequence_length = 2048;
    std::size_t max_characters = 0;
    std::size_t max_windows = 0;
    std::string bos = "auto";
    int threads = 0;
    std::string products = "auto";
    bool verbose = false;
};

int evaluate(arguments const& args) {
    int const threads = args.threads > 0 ? args.threads : fpq::tools::default_threads();
    std::string const products = fpq::tools::choose_products(args.products);
    fpq::cpu const backend{threads};
    using model_type = fpq::opened_model<fpq::cpu>;
    model_type const model(backend, fpq::model_directory(args.model), fpq::shipped_architectures);
    std::optional<model_type> reference;
    if (!args.reference.empty()) {
        reference.emplace(backend, args.reference, fpq::shipped_architectures);
    }
    fpq::evaluation_text const text{args.texts, args.sequence_length, args.max_characters,
                                    args.max_windows, args.bos != "never"};
    fpq::token_windows const windows = fpq::evaluation_windows(model, text);
    fpq::tools::progress_printer progress(args.verbose);
    fpq::eval_result const e =
        fpq::evaluate_models(backend, model, reference ? &*reference : nullptr, windows,
                             [&progress](fpq::progress_event const& event) { progress(event); });
    double const bits = model.bits_per_weight();
    fmt::print("perplexity       {:.6f}\n", e.perplexity);
    fmt::print("targets          {} in {} windows of {}\n", e.targets, windows.size(),
               args.sequence_length);
    fmt::print("bits per weight  {:.4f}\n", bits);
    fmt::print("products         {}\n", products);
    if (e.has_reference) {
        fmt::print("reference        {:.6f}\n", e.reference_perplexity);
        fmt::print("KL mean          {:.8f} +- {:.8f} nats\n", e.kl_mean, e.kl_se);
        fmt::print("KL 99 %          {:.8f} nats\n", e.kl_p99);
        fmt::print("top-1 agreement  {:.6f} +- {:.6f}\n", e.top1_agreement, e.top1_se);
    }
    if (!args.json.empty()) {
        nlohmann::json json = fpq::to_json(e);
        json["bits_per_weight"] = bits;
        json["products"] = products;
        json["model"] = args.model.string();
        json["sequence_length"] = args.sequence_length;
        fpq::write_file_whole(args.json, json.dump(2) + "\n");
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    using fpq::tools::both_spellings;
    CLI::App app("Perplexity of a checkpoint, and KL to a reference.", "fpq-evaluate");
    arguments args;
    auto const declare = [&] {
        app.add_option("--model", args.model, "checkpoint directory, quantized or not")->required();
        app.add_option("--reference", args.reference, "the original checkpoint: adds KL and top-1");
        app.add_option("--text", args.texts, "text file; may be repeated")->required();
        app.add_option(both_spellings("--sequence_length"), args.sequence_length,
                       "tokens of a window")
            ->capture_default_str();
        app.add_option(both_spellings("--max_characters"), args.max_characters,
                       "use only the first N characters of each text; 0: all");
        app.add_option(both_spellings("--max_windows"), args.max_windows,
                       "use only the first N windows of each text; 0: all");
        app.add_option("--bos", args.bos, "auto: special tokens as the tokenizer adds them; never")
            ->check(CLI::IsMember({"auto", "never"}))
            ->capture_default_str();
        app.add_option("--json", args.json, "write the results here");
        app.add_option("--threads", args.threads, "0: all processors");
        fpq::tools::add_products_option(app, args.products);
        app.add_flag("--verbose", args.verbose, "a line a step");
    };
    return fpq::tools::run_program(app, argc, argv, declare, [&] { return evaluate(args); });
}
