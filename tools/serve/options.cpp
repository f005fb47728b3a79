// SPDX-License-Identifier: Apache-2.0
#include "serve/options.hpp"

#include <string_view>

#include "common/device.hpp"
#include "common/flag_kinds.hpp"
#include "common/products.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "serve/loopback.hpp"

namespace fpq::tools {

namespace {

constexpr count_bounds port_bounds{0, 65535, "0: a free one"};
constexpr count_bounds longest_bounds{0, std::uint64_t{1} << 24, "0: what the model allows"};
constexpr count_bounds sequence_bounds{1, 4096, {}};
constexpr count_bounds batch_bounds{1, std::uint64_t{1} << 20, {}};
constexpr count_bounds cache_bounds{0, std::uint64_t{1} << 32, "0: what memory allows"};
constexpr count_bounds waiting_bounds{1, std::uint64_t{1} << 20, {}};
constexpr count_bounds choice_bounds{1, std::uint64_t{1} << 16, {}};
constexpr count_bounds body_bounds{1024, std::uint64_t{1} << 32, "bytes, or 16MB, 16MiB"};
constexpr count_bounds connection_bounds{1, 900, {}};  // below the 1,024 files of a process
constexpr count_bounds second_bounds{1, 1000000, {}};

flag_spec text_flag(std::string const& name, std::string& field, std::string const& value,
                    std::string const& help, std::string const& fallback) {
    return {name, value, help, fallback, [name, value, &field](std::string const& text) {
                if (text.empty()) {
                    fail_usage("--" + name, {}, value, "nothing");
                }
                field = text;
            }};
}

flag_group address_flags(serve_options& o) {
    return {"Model and address",
            {required(path_flag("model", o.model, "DIR", "checkpoint, quantized or not")),
             text_flag("served_model_name", o.name, "NAME", "what clients call it",
                       "the directory's name"),
             text_flag("host", o.host, "ADDRESS",
                       "to listen at; other than loopback it wants an API key", o.host),
             count_flag("port", o.port, port_bounds, "to listen at"),
             text_flag("api_key", o.api_key, "KEY",
                       "clients must give it; others on this machine see it in the list of "
                       "processes",
                       {}),
             path_flag("api_key_file", o.api_key_file, "FILE", "its first line is the key")}};
}

flag_group limit_flags(serve_options& o) {
    return {
        "Limits",
        {count_flag("max_model_len", o.longest, longest_bounds,
                    "tokens of a prompt and its answer"),
         count_flag("max_num_seqs", o.sequences, sequence_bounds, "sequences side by side"),
         count_flag("max_num_batched_tokens", o.batch_tokens, batch_bounds, "tokens of one step"),
         count_flag("cache_tokens", o.cache_tokens, cache_bounds,
                    "tokens whose keys and values are held"),
         count_flag("max_waiting", o.waiting, waiting_bounds,
                    "sequences that wait or run; more are answered 429"),
         count_flag("max_choices", o.choices, choice_bounds,
                    "answers of one request: prompts times n"),
         {"max_body", "BYTES", "of one request", std::to_string(o.body),
          [&o](std::string const& text) { o.body = read_bytes("--max_body", body_bounds, text); }},
         count_flag("connections", o.connections, connection_bounds, "served at once"),
         count_flag("request_seconds", o.request_seconds, second_bounds, "for one request"),
         count_flag("shutdown_seconds", o.shutdown_seconds, second_bounds,
                    "that running requests get at the end")}};
}

}  // namespace

program_spec serve_program(serve_options& o) {
    return {
        "fpq-serve",
        "Serves a checkpoint over HTTP: /v1/completions, with log-probabilities.",
        {address_flags(o),
         limit_flags(o),
         {"Run",
          {count_flag("threads", o.threads, bounds::threads, "worker threads"),
           device_flag(o.device, false),
           {"gpu_memory", "BYTES", "of the card that it may take; 16GB is understood",
            "all that is free",
            [&o](std::string const& text) {
                o.memory.device = read_bytes("--gpu_memory", bounds::memory_bytes, text);
            }},
           products_flag(o.products)}}},
        {"fpq-serve --model OUT", "fpq-serve --model OUT --port 0 --max_num_seqs 16 --device cpu",
         "fpq-serve --model OUT --host 0.0.0.0 --api_key_file key.txt"},
        {{"model_name_or_path", "--model"}, {"pretrained", "--model"}}};
}

std::string api_key_of(serve_options const& o) {
    if (!o.api_key.empty() && !o.api_key_file.empty()) {
        fail_usage("--api_key", {}, "a key or --api_key_file", "both");
    }
    std::string key = o.api_key;
    if (!o.api_key_file.empty()) {
        std::string const text = fpq::detail::read_whole_file(o.api_key_file);
        key = text.substr(0, text.find_first_of("\r\n"));
        if (key.empty()) {
            fail_input("API key", o.api_key_file.string(), "a key in the first line", "nothing");
        }
    }
    if (key.empty() && !is_loopback(o.host)) {
        fail_usage("--host " + o.host, {}, "--api_key or --api_key_file, or a loopback address",
                   "no key");
    }
    return key;
}

}  // namespace fpq::tools
