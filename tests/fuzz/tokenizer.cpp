// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the tokenizer readers: the first byte picks the file kind (j tokenizer.json,
// p a patch of a small one,
// c tokenizer_config.json, t tiktoken, m merges.txt, else a text for a known tokenizer). Whatever
// is read must end in fpq::error or in a tokenizer that encodes and decodes without a crash.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fpq/io/tokenizer/tokenizer.hpp"
#include "io/tokenizer_fixture.hpp"
#include "support/byte_tokens.hpp"

namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void use(fpq::tokenizer const& t, std::string_view text) {
    auto const ids = t.encode(text);
    for (std::int32_t const id : ids) {
        require(id >= 0 && static_cast<std::size_t>(id) < t.vocab_size());
    }
    (void)t.decode(ids);
}

/// Pieces of every scanner cover the text, and the byte-level round trip gives it back.
void check_text(std::string_view bytes) {
    static fpq::tokenizer const t = fpq_test::make_tokenizer(fpq_test::tiny_tokenizer_json());
    std::string const text = fpq::repair_utf8(bytes);
    require(fpq::valid_utf8_prefix(text) == text.size());
    require(t.decode(t.encode(bytes, false)) == text);
    for (auto const pattern :
         {fpq::split_pattern::gpt2, fpq::split_pattern::llama3, fpq::split_pattern::qwen2}) {
        static fpq::split_regex const regexes[] = {fpq::split_regex(fpq::gpt2_regex),
                                                   fpq::split_regex(fpq::llama3_regex),
                                                   fpq::split_regex(fpq::qwen2_regex)};
        std::size_t at = 0;
        fpq::scan_pieces(pattern, text, [&](std::string_view piece) {
            require(!piece.empty() && piece.data() == text.data() + at);
            at += piece.size();
        });
        require(at == text.size());
        at = 0;
        regexes[static_cast<std::size_t>(pattern)](text,
                                                   [&](std::string_view p) { at += p.size(); });
        require(at == text.size());
    }
    (void)fpq::to_nfc(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    std::string_view const body(reinterpret_cast<char const*>(data) + 1, size - 1);
    static constexpr std::string_view sample = "Hello, <s>'re 123 w\xC3\xB6rld\n\n </s>\xFF";
    try {
        switch (data[0]) {
            case 'j': {
                auto const json = nlohmann::json::parse(body, nullptr, false);
                use(fpq::tokenizer(fpq::parse_tokenizer_json(json, {}, "fuzz")), sample);
                break;
            }
            case 'p': {  // a patch of the fixture: reaches past the vocabulary at once
                auto json = fpq_test::tiny_tokenizer_json();
                json.merge_patch(nlohmann::json::parse(body, nullptr, false));
                use(fpq::tokenizer(fpq::parse_tokenizer_json(json, {}, "fuzz")), sample);
                break;
            }
            case 'c':
                (void)fpq::parse_tokenizer_config(nlohmann::json::parse(body, nullptr, false),
                                                  "fuzz");
                break;
            case 't':
                use(fpq::tokenizer(fpq::parse_tiktoken(body, {}, "fuzz")), sample);
                break;
            case 'm': {
                fpq::bpe_builder builder("fuzz");
                for (int b = 0; b < 256; ++b) {
                    builder.add_token(
                        fpq_test::token_of_bytes(std::string(1, static_cast<char>(b))), b);
                }
                fpq::detail::read_merges_text(body, builder, "fuzz");
                break;
            }
            default:
                check_text(body);
        }
    } catch (fpq::error const&) {
    }
    return 0;
}
