// SPDX-License-Identifier: Apache-2.0
// Test support. What a command line of fpq-quantize comes to, without a run.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "quantize/options.hpp"

namespace fpq_test {

using namespace fpq;
using namespace fpq::tools;

using words = std::vector<std::string>;

/// What a command line of fpq-quantize comes to, or why not.
struct taken {
    harness_flags flags;
    run_options run;
    recipe what;
    std::vector<std::string> notes;
    std::string refused;

    [[nodiscard]] bool says(std::string const& part) const {
        return std::any_of(notes.begin(), notes.end(), [&](std::string const& note) {
            return note.find(part) != std::string::npos;
        });
    }
};

inline command_line line_of(program_spec const& program, words const& arguments) {
    std::vector<char const*> argv{program.name.c_str()};
    for (std::string const& word : arguments) {
        argv.push_back(word.c_str());
    }
    return read_command_line(program, static_cast<int>(argv.size()), argv.data());
}

inline taken take(words const& arguments, recipe const* file = nullptr) {
    taken out;
    try {
        program_spec const program = quantize_program(out.flags, out.run);
        command_line const line = line_of(program, arguments);
        if (file != nullptr) {
            out.flags = flags_of(*file);
        }
        given_options const given = take_quantize_flags(program, line, out.flags, file != nullptr);
        out.notes = given.notes;
        out.what = recipe_of(out.flags, out.notes);
        for (std::string const& note : idle_flags(given, out.what, schemes_of(out.what), out.run)) {
            out.notes.push_back(note);
        }
    } catch (error const& why) {
        REQUIRE(why.category() == error_category::usage);
        out.refused = why.what();
    }
    return out;
}

inline words with(words base, words const& more) {
    base.insert(base.end(), more.begin(), more.end());
    return base;
}

inline words const nothing{"--model_name_or_path", "m", "--w_bits", "16"};
inline words const small{"--model_name_or_path", "m", "--format", "nvfp", "--w_bits", "4"};

inline bool has(std::string const& text, std::string const& part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
}

inline std::vector<flag_spec> flags_of_program(program_spec const& program) {
    std::vector<flag_spec> out;
    for (flag_group const& group : program.groups) {
        out.insert(out.end(), group.flags.begin(), group.flags.end());
    }
    return out;
}

/// Accepted from model_quant.py with any value; a note tells what is not done.
inline std::set<std::string> const unread{"parametrization"};

/// A value that is not the default, for every flag.
inline std::string some_value(flag_spec const& flag) {
    static std::map<std::string, std::string> const special{
        {"format", "nvfp"},
        {"w_granularity", "channel"},
        {"a_granularity", "tensor"},
        {"scale_precision", "e4m3"},
        {"element", "e3m2"},
        {"global_scale", "exact"},
        {"w_observer", "sweep"},
        {"a_observer", "sweep"},
        {"mx_rule", "floor"},
        {"rule", "model.layers.0.mlp.up_proj=bf16"},
        {"ignore", "x"},
        {"quantization_order", "activation"},
        {"rel_damp", "0.02"},
        {"smooth", "awq"},
        {"smooth_alpha", "0.5"},
        {"transform_class", "hadamard"},
        {"export_quantized_model", "realquant"},
        {"export_format", "fp_quant"},
        {"max_shard_size", "2GB"},
        {"gpu_memory", "16GB"},
        {"host_memory", "16GB"},
        {"eval_bos", "never"},
        {"products", "own"},
        {"device", "cpu"},
        {"dtype", "float16"},
        {"a_bits", "4"}};
    auto const at = special.find(flag.name);
    return at != special.end() ? at->second : flag.value == "N" ? "8" : "x";
}

inline words given(flag_spec const& flag) {
    return flag.value.empty() ? words{"--" + flag.name} : words{"--" + flag.name, some_value(flag)};
}

}  // namespace fpq_test
