// SPDX-License-Identifier: Apache-2.0
// The hand-written scanners against the regular expressions themselves, run by PCRE2: on the public
// vectors, on books where they are at hand, on all code points and on random Unicode strings.
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/tokenizer/pretokenizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"
#include "support/shared_data.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using pieces = std::vector<std::string>;
constexpr fpq::split_pattern patterns[] = {fpq::split_pattern::gpt2, fpq::split_pattern::llama3,
                                           fpq::split_pattern::qwen2};

pieces scanned(fpq::split_pattern pattern, std::string_view text) {
    pieces out;
    fpq::scan_pieces(pattern, text, [&](std::string_view p) { out.emplace_back(p); });
    return out;
}

pieces matched(fpq::split_regex const& regex, std::string_view text) {
    pieces out;
    regex(text, [&](std::string_view p) { out.emplace_back(p); });
    return out;
}

/// True when all three scanners agree with their patterns; says where they do not.
bool agree(std::string const& text) {
    static std::vector<fpq::split_regex> const regexes = [] {
        std::vector<fpq::split_regex> out;
        for (auto const pattern : patterns) {
            out.emplace_back(fpq::regex_of(pattern));
        }
        return out;
    }();
    for (std::size_t i = 0; i < 3; ++i) {
        pieces const got = scanned(patterns[i], text);
        pieces const want = matched(regexes[i], text);
        if (got != want) {
            auto const at = std::mismatch(got.begin(), got.end(), want.begin(), want.end());
            UNSCOPED_INFO("pattern " << i << ": scanner ["
                                     << (at.first == got.end() ? "" : *at.first) << "], regex ["
                                     << (at.second == want.end() ? "" : *at.second) << "]");
            return false;
        }
    }
    return true;
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

/// Whether the regex takes this one code point as a piece of its own.
bool takes(fpq::split_regex const& regex, char32_t c) {
    std::string text;
    fpq::append_utf8(text, c);
    return matched(regex, text + "~~").size() == 2;
}

/// Unassigned in the Unicode version of either library: they need not agree on it.
bool is_unassigned(char32_t c) {
    static fpq::split_regex const regex(R"(\p{Cn})");
    return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_CN ||
           takes(regex, c);
}

}  // namespace

TEST_CASE("utf8proc and PCRE2 class every code point alike that both know", "[io]") {
    std::vector<fpq::split_regex> by_class;
    for (char const* regex : {R"(\p{L})", R"(\p{N})", R"(\s)"}) {
        by_class.emplace_back(regex);
    }
    std::size_t different = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
        if (is_surrogate(c) || (c >= 0x32000 && c < 0xE0000 && c % 256 != 0) ||
            (c > 0xE01FF && c % 256 != 0)) {
            continue;  // the far planes are empty: a sample of them does
        }
        unsigned theirs = 0;
        for (std::size_t i = 0; i < by_class.size(); ++i) {
            theirs |= takes(by_class[i], c) ? 1U << i : 0U;
        }
        if ((fpq::char_classes()[c] & 7U) != theirs && !is_unassigned(c)) {
            ++different;
            UNSCOPED_INFO("code point " << static_cast<std::uint32_t>(c));
        }
    }
    CHECK(different == 0);
}

TEST_CASE("Scanners cut chosen texts as their patterns do", "[io]") {
    for (char const* text : {"",
                             " ",
                             "  ",
                             "\n",
                             " \n ",
                             "\n\n\n",
                             "a",
                             " a",
                             "  a",
                             "   a",
                             "\ta",
                             "a  \n  b",
                             "a \r\n\r\n  b",
                             "I've 'told he's there, 'RE you 'M 'D We'Ve a'lL it'\xC5\xBF 's",
                             "'s's's",
                             "''s",
                             "'",
                             "' s",
                             "1",
                             "12345678",
                             " 12",
                             "a1b2",
                             "3.14",
                             "x_y",
                             "!!!\n\n x",
                             " !?\r\nq",
                             "\xE3\x80\x80\xE3\x80\x80x",
                             "e\xCC\x81t\xC3\xA9",
                             "\xC2\xA0\xC2\xA0z",
                             "\xE1\xA0\x8E \xE1\xA0\x8E",
                             "\xC2\x85x",
                             "\xF0\x9F\x98\x80\xE2\x80\x8D \xF0\x9F\x98\x80",
                             "-\xE0\xB8\x81\xE0\xB8\xB3",
                             "\xEF\xBC\x91\xEF\xBC\x92\xEF\xBC\x93\xEF\xBC\x94",
                             "\xEF\xBF\xBD"}) {
        INFO("[" << text << "]");
        CHECK(agree(text));
    }
    CHECK(scanned(fpq::split_pattern::llama3, "I'LL pay 12345  now!\n\n ok") ==
          pieces{"I", "'LL", " pay", " ", "123", "45", " ", " now", "!\n\n", " ok"});
    CHECK(scanned(fpq::split_pattern::qwen2, "x 12") == pieces{"x", " ", "1", "2"});
    CHECK(scanned(fpq::split_pattern::gpt2, "I'LL 12\n\n ok") ==
          pieces{"I", "'", "LL", " 12", "\n\n", " ok"});
}

TEST_CASE("Scanners cut random Unicode strings as their patterns do", "[io]") {
    std::string const favourites = "  \n\r\t''sStTmMdDlLreRvVE aZ09.,!-_";
    char32_t const ranges[] = {0x80, 0x250, 0x800, 0x3100, 0x10000, 0x110000};
    fpq::philox_engine random(fpq::philox{7, 1});
    std::size_t wrong = 0;
    for (int trial = 0; trial < 20000; ++trial) {
        std::string text;
        for (std::uint32_t n = random() % 24; n > 0; --n) {
            char32_t c = static_cast<unsigned char>(favourites[random() % favourites.size()]);
            if (random() % 3 == 0) {
                c = random() % ranges[random() % 6];
            } else if (random() % 8 == 0) {
                c = U"\u0085\u00A0\u2003\u2028\u3000\u180E\u017F\u0301\u0661\u2460\u02B0\uFFFD"
                    [random() % 12];
            }
            fpq::append_utf8(text, is_surrogate(c) || (c > 0x7F && is_unassigned(c)) ? U'~' : c);
        }
        wrong += !agree(text);
    }
    CHECK(wrong == 0);
}

TEST_CASE("Scanners cut books and the public vectors as their patterns do", "[io]") {
    for (char const* file :
         {"data/tokenizers/vectors/ggml-vocab-llama-bpe.gguf.inp", "data/text/eval-Carroll.txt",
          "data/text/eval-Doyle.txt", "data/wikitext2/wikitext2-test.joined.txt"}) {
        if (fpq_test::have_shared(file)) {
            INFO(file);
            CHECK(agree(fpq::detail::read_whole_file(fpq_test::shared_path(file))));
        }
    }
}

TEST_CASE("Matches and gaps of any pattern are pieces, and they cover the text", "[io]") {
    CHECK(matched(fpq::split_regex("b+"), "abbbcb") == pieces{"a", "bbb", "c", "b"});
    CHECK(matched(fpq::split_regex("x*"), "axx") == pieces{"a", "xx"});  // empty matches pass
    CHECK(matched(fpq::split_regex("z"), "abc") == pieces{"abc"});
    CHECK(matched(fpq::split_regex(fpq::detail::quote_regex("a.\\E+")), "ab a.\\E+") ==
          pieces{"ab ", "a.\\E+"});
    CHECK(matched(fpq::split_regex(R"([^\s]+|\S)"), "a\xE1\xA0\x8E b") ==
          pieces{"a\xE1\xA0\x8E", " ", "b"});
    fpq::pretokenizer const chain({fpq::make_split("-", ""), fpq::prefix_space{}});
    pieces out;
    chain("a- b", [&](std::string_view p) { out.emplace_back(p); });
    CHECK(out == pieces{" a", " -", " b"});
}

TEST_CASE("A known pattern has its scanner only in its exact spelling", "[io]") {
    CHECK(fpq::known_pattern(fpq::qwen2_regex) == fpq::split_pattern::qwen2);
    CHECK_FALSE(fpq::known_pattern(std::string(fpq::qwen2_regex) + " "));
}
