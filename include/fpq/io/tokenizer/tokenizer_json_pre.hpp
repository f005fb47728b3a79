// SPDX-License-Identifier: Apache-2.0
// Floor 5. The "pre_tokenizer" of a tokenizer.json: which steps it stands for, or a refusal by
// name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/tokenizer/pretokenizer.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq::detail {

/// Refuses a component that this library does not have, by its name.
[[noreturn]] inline void refuse_component(std::string_view kind, json_value const& at,
                                          std::string_view supported, std::string_view found) {
    fail_input("unsupported " + std::string(kind), at.where(), supported, found);
}

inline metaspace_prefix read_metaspace(json_value const& at) {
    if (auto const mark = at.find("replacement");
        mark && mark->as<std::string>() != metaspace_mark) {
        mark->refuse(metaspace_mark);
    }
    if (at.optional<bool>("split").value_or(false)) {
        refuse_component("pre_tokenizer Metaspace", at, "split false", "split true");
    }
    if (auto const scheme = at.find("prepend_scheme")) {
        std::string const s = scheme->as<std::string>();
        if (s == "always") {
            return metaspace_prefix::always;
        }
        if (s == "first") {
            return metaspace_prefix::first;
        }
        if (s == "never") {
            return metaspace_prefix::never;
        }
        scheme->refuse("always, first or never");
    }
    return at.optional<bool>("add_prefix_space").value_or(true) ? metaspace_prefix::always
                                                                : metaspace_prefix::never;
}

/// The quoted form of a literal string for PCRE2.
inline std::string quote_regex(std::string_view text) {
    return "\\Q" + replace_all(text, "\\E", "\\E\\\\E\\Q") + "\\E";
}

struct pre_tokenizer_facts {
    std::vector<pretokenizer_step> steps;
    std::optional<metaspace_prefix> metaspace;
    bool byte_level = false;
};

/// Every number, or run of numbers, is a piece (any of Unicode's numbers, not its digits alone).
inline void read_digits(json_value const& at, pre_tokenizer_facts& out) {
    bool const individual = at.optional<bool>("individual_digits").value_or(false);
    if (out.byte_level) {
        out.steps.emplace_back(byte_digits{individual});
    } else {
        out.steps.push_back(make_split(individual ? R"(\p{N})" : R"(\p{N}+)", at.where()));
    }
}

/// Every punctuation character, or run of them, is a piece: Unicode's and all of ASCII's marks.
inline void read_punctuation(json_value const& at, pre_tokenizer_facts& out) {
    std::string const behavior = at.optional<std::string>("behavior").value_or("Isolated");
    if (behavior != "Isolated" && behavior != "Contiguous") {
        refuse_component("pre_tokenizer Punctuation behavior", at, "Isolated or Contiguous",
                         behavior);
    }
    std::string const mark = R"([!-/:-@\[-`{-~\p{P}])";
    out.steps.push_back(make_split(behavior == "Isolated" ? mark : mark + "+", at.where()));
}

inline void read_split(json_value const& at, pre_tokenizer_facts& out) {
    if (at.optional<bool>("invert").value_or(false)) {
        refuse_component("pre_tokenizer Split", at, "invert false", "invert true");
    }
    std::string const behavior = at.required<std::string>("behavior");
    if (behavior != "Isolated") {
        refuse_component("pre_tokenizer Split behavior", at, "Isolated", behavior);
    }
    json_value const pattern = at.at("pattern");
    if (auto const regex = pattern.find("Regex")) {
        out.steps.push_back(make_split(regex->as<std::string>(), regex->where()));
    } else {
        out.steps.push_back(
            make_split(quote_regex(pattern.required<std::string>("String")), pattern.where()));
    }
}

inline void read_pre_tokenizer(json_value const& at, pre_tokenizer_facts& out) {
    std::string const type = at.required<std::string>("type");
    if (out.byte_level && type != "Digits" && type != "Sequence") {
        refuse_component("pre_tokenizer", at, "nothing but Digits after ByteLevel", type);
    }
    if (type == "Sequence") {
        for (json_value const& item : at.at("pretokenizers").elements()) {
            read_pre_tokenizer(item, out);
        }
    } else if (type == "Split") {
        read_split(at, out);
    } else if (type == "Digits") {
        read_digits(at, out);
    } else if (type == "Punctuation") {
        read_punctuation(at, out);
    } else if (type == "ByteLevel") {
        out.byte_level = true;
        if (at.optional<bool>("add_prefix_space").value_or(true)) {
            out.steps.emplace_back(prefix_space{});
        }
        if (at.optional<bool>("use_regex").value_or(true)) {
            out.steps.emplace_back(split_pattern::gpt2);
        }
    } else if (type == "Metaspace" && out.steps.empty() && !out.metaspace) {
        out.metaspace = read_metaspace(at);
    } else {
        refuse_component("pre_tokenizer", at,
                         "Sequence, Split, Digits, Punctuation, ByteLevel, Metaspace alone", type);
    }
}

}  // namespace fpq::detail
