// SPDX-License-Identifier: Apache-2.0
#include "serve/completion_request.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "serve/api_error.hpp"

namespace fpq::tools {

namespace {

constexpr std::size_t most_alternatives = 20;  // more would be most of an answer
constexpr std::size_t most_stops = 64;
constexpr std::size_t longest_stop = 1024;  // bytes
constexpr std::size_t most_of_n = 128;

[[noreturn]] void refuse(std::string const& param, std::string const& message,
                         std::string const& code = {}) {
    throw api_error(400, message, param, code);
}

std::vector<std::int32_t> read_tokens(json_value const& list, request_limits const& limits) {
    json_range<std::int32_t> const ids{0, static_cast<std::int32_t>(limits.vocabulary) - 1};
    std::vector<std::int32_t> out;
    out.reserve(list.json().size());
    for (nlohmann::json const& item : list.json()) {
        out.push_back(json_value(item, list.where()).as<std::int32_t>(ids));
    }
    if (out.empty()) {
        list.refuse("at least one token");
    }
    return out;
}

/// A string, token ids, or a list of either.
std::vector<completion_prompt> read_prompts(json_value const& prompt,
                                            request_limits const& limits) {
    if (prompt.json().is_string()) {
        return {{prompt.as<std::string>(), {}}};
    }
    if (!prompt.json().is_array() || prompt.json().empty()) {
        prompt.refuse("a string, token ids, or a list of strings or of lists of token ids");
    }
    if (prompt.json().front().is_number()) {
        return {{std::nullopt, read_tokens(prompt, limits)}};
    }
    if (prompt.json().size() > limits.choices) {
        prompt.refuse("at most " + std::to_string(limits.choices) + " prompts");
    }
    bool const texts = prompt.json().front().is_string();
    std::vector<completion_prompt> out;
    for (json_value const& one : prompt.elements()) {
        if (texts) {
            out.push_back({one.as<std::string>(), {}});
        } else {
            one.json().is_array() ? void() : one.refuse("a list of token ids");
            out.push_back({std::nullopt, read_tokens(one, limits)});
        }
    }
    return out;
}

/// A string or a list of them; an empty list is none.
std::vector<std::string> read_stop(json_value const& stop) {
    std::vector<std::string> out = stop.json().is_string()
                                       ? std::vector<std::string>{stop.as<std::string>()}
                                       : stop.as<std::vector<std::string>>();
    if (out.size() > most_stops) {
        stop.refuse("at most " + std::to_string(most_stops) + " strings");
    }
    for (std::string const& one : out) {
        if (one.empty() || one.size() > longest_stop) {
            stop.refuse("strings of 1 to " + std::to_string(longest_stop) + " bytes");
        }
    }
    return out;
}

std::size_t read_top_k(json_value const& value) {  // -1 is all, as elsewhere
    auto const k = value.as<std::int32_t>({-1, std::numeric_limits<std::int32_t>::max()});
    return k < 0 ? 0 : static_cast<std::size_t>(k);
}

float read_top_p(json_value const& value) {
    auto const p = value.as<float>({0.0F, 1.0F});
    if (!(p > 0.0F)) {
        value.refuse("a number above 0, at most 1");
    }
    return p;
}

/// A member of the request: its name, and what takes a value that is not null.
struct field {
    std::string_view name;
    std::function<void(json_value const&)> take;
};

/// Members that other servers know and this one does not serve: accepted with the value that asks
/// for nothing.
struct neutral_field {
    std::string_view name;
    nlohmann::json neutral;
};

std::vector<neutral_field> const& neutral_fields() {
    static std::vector<neutral_field> const fields{{"presence_penalty", 0},
                                                   {"frequency_penalty", 0},
                                                   {"repetition_penalty", 1},
                                                   {"min_p", 0},
                                                   {"min_tokens", 0},
                                                   {"suffix", ""},
                                                   {"length_penalty", 1},
                                                   {"use_beam_search", false},
                                                   {"logit_bias", nlohmann::json::object()},
                                                   {"best_of", 1},
                                                   {"include_stop_str_in_output", false}};
    return fields;
}

void take_neutral(std::string const& name, nlohmann::json const& value) {
    auto const& fields = neutral_fields();
    auto const known = std::find_if(fields.begin(), fields.end(),
                                    [&](neutral_field const& f) { return f.name == name; });
    if (known == fields.end()) {
        refuse(name, "unknown member: " + fpq::detail::printable(name), "unknown_member");
    }
    if (!value.is_null() && value != known->neutral) {
        refuse(name, name + ": not served; expected " + known->neutral.dump() + ", found " +
                         fpq::detail::printed_json(value));
    }
}

void take_model(json_value const& value, request_limits const& limits) {
    auto const name = value.as<std::string>();
    if (name != limits.model) {
        throw api_error(404,
                        "no such model: expected " + fpq::detail::printable(limits.model) +
                            ", found " + fpq::detail::printable(name),
                        "model", "model_not_found");
    }
}

std::vector<field> fields_of(completion_request& r, request_limits const& limits) {
    auto const flag = [](bool& to) { return [&to](json_value const& v) { to = v.as<bool>(); }; };
    return {
        {"model", [&](json_value const& v) { take_model(v, limits); }},
        {"prompt", [&](json_value const& v) { r.prompts = read_prompts(v, limits); }},
        {"n",
         [&](json_value const& v) {
             r.n = v.as<std::size_t>({1, most_of_n});
         }},
        {"max_tokens",
         [&](json_value const& v) {
             r.max_tokens = v.as<std::size_t>({0, limits.longest});
         }},
        {"temperature",
         [&](json_value const& v) {
             r.temperature = v.as<float>({0.0F, 2.0F});
         }},
        {"top_p", [&](json_value const& v) { r.top_p = read_top_p(v); }},
        {"top_k", [&](json_value const& v) { r.top_k = read_top_k(v); }},
        {"seed",
         [&](json_value const& v) {
             r.seed = v.json().is_number_unsigned()
                          ? v.as<std::uint64_t>()
                          : static_cast<std::uint64_t>(v.as<std::int64_t>());
         }},
        {"stop", [&](json_value const& v) { r.stop = read_stop(v); }},
        {"logprobs",
         [&](json_value const& v) {
             r.logprobs = v.as<std::size_t>({0, most_alternatives});
         }},
        {"echo", flag(r.echo)},
        {"stream", flag(r.stream)},
        {"stream_options",
         [&](json_value const& v) {
             for (auto const& [name, value] : v.members()) {
                 if (name != "include_usage") {
                     refuse("stream_options." + name, "unknown member: stream_options." + name,
                            "unknown_member");
                 }
                 r.include_usage = value.as<bool>();
             }
         }},
        {"add_special_tokens", flag(r.add_special_tokens)},
        {"skip_special_tokens", flag(r.skip_special_tokens)},
        {"ignore_eos", flag(r.ignore_eos)},
        {"user", [](json_value const& v) { (void)v.as<std::string>(); }},  // nobody is told
    };
}

void take_fields(json_value const& root, completion_request& out, request_limits const& limits,
                 std::string& reading) {
    std::vector<field> const fields = fields_of(out, limits);
    for (auto const& [name, value] : root.members()) {
        reading = name;
        auto const known = std::find_if(fields.begin(), fields.end(),
                                        [&n = name](field const& f) { return f.name == n; });
        if (known == fields.end()) {
            take_neutral(name, value.json());
        } else if (!value.json().is_null()) {  // null is the default
            known->take(value);
        }
    }
    reading.clear();
}

}  // namespace

completion_request read_completion_request(std::string_view body, request_limits const& limits) {
    completion_request out;
    std::string reading;
    try {
        nlohmann::json const json = parse_json(body, "body");
        take_fields(json_value(json, "body"), out, limits, reading);
    } catch (error const& fault) {
        refuse(reading, fault.what());
    }
    if (out.prompts.empty()) {
        refuse("prompt", "prompt: expected text or token ids, found nothing");
    }
    if (out.include_usage && !out.stream) {
        refuse("stream_options", "stream_options: expected \"stream\": true, found none");
    }
    if (out.prompts.size() * out.n > limits.choices) {
        refuse("n", "prompts times n: expected at most " + std::to_string(limits.choices) +
                        ", found " + std::to_string(out.prompts.size() * out.n));
    }
    if (out.max_tokens == 0 && !out.echo) {
        refuse("max_tokens", "max_tokens: expected at least 1, or \"echo\": true, found 0");
    }
    return out;
}

void require_length(std::size_t prompt_tokens, completion_request const& request,
                    request_limits const& limits) {
    if (prompt_tokens == 0) {
        refuse("prompt", "prompt: expected at least one token, found none");
    }
    if (prompt_tokens + request.max_tokens > limits.longest) {
        refuse(prompt_tokens >= limits.longest ? "prompt" : "max_tokens",
               "prompt and max_tokens: expected at most " + std::to_string(limits.longest) +
                   " tokens together, found " + std::to_string(prompt_tokens) + " + " +
                   std::to_string(request.max_tokens),
               "context_length_exceeded");
    }
}

}  // namespace fpq::tools
