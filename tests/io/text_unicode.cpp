// SPDX-License-Identifier: Apache-2.0
// The Unicode part of texts: repair and NFC.
#include "fpq/io/text/text_unicode.hpp"

#include <utf8proc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "catch.hpp"
#include "fpq/core/random.hpp"

TEST_CASE("NFC by runs equals NFC of the whole text", "[io]") {
    CHECK(fpq::to_nfc("e\xCC\x81") == "\xC3\xA9");
    CHECK(fpq::to_nfc("plain") == "plain");
    CHECK(fpq::to_nfc("\xE1\x84\x80\xE1\x85\xA1") == "\xEA\xB0\x80");  // Hangul jamo
    char32_t const marks[] = {'e',    'a',    ' ',     0xC9,   0x300,  0x301,
                              0x323,  0x2019, 0x212B,  0x1100, 0x1161, 0x11A8,
                              0x0958, 0xFB1D, 0x1D15E, 0x0341, 0x9C7,  0x9BE};
    fpq::philox_engine random(fpq::philox{3, 3});
    std::size_t wrong = 0;
    for (int trial = 0; trial < 5000; ++trial) {
        std::string text;
        for (std::uint32_t n = random() % 12; n > 0; --n) {
            fpq::append_utf8(text, marks[random() % 18]);
        }
        utf8proc_uint8_t* const whole =
            utf8proc_NFC(reinterpret_cast<utf8proc_uint8_t const*>(text.c_str()));
        wrong += fpq::to_nfc(text) != reinterpret_cast<char const*>(whole);
        std::free(whole);
    }
    CHECK(wrong == 0);
}

TEST_CASE("UTF-8 is repaired as the standard recommends", "[io]") {
    std::string const mark = "\xEF\xBF\xBD";
    CHECK(fpq::repair_utf8("a\xF0\x80\x80\x41") == "a" + mark + mark + mark + "A");
    CHECK(fpq::repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") ==
          mark + mark + mark + mark + "A");  // Unicode 15, table 3-11
    for (char32_t c = 0; c < 0x110000; c += c < 0x900 ? 1 : 61) {
        if (c < 0xD800 || c > 0xDFFF) {
            std::string text;
            fpq::append_utf8(text, c);
            fpq::utf8_char const back = fpq::decode_utf8(text, 0);
            REQUIRE((back.valid && back.value == c && back.length == text.size()));
        }
    }
}
