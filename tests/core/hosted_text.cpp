// SPDX-License-Identifier: Apache-2.0
// Text for people: names of files and tensors made printable, and the order of numbered names.
#include <algorithm>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/natural_order.hpp"
#include "fpq/core/hosted/printable.hpp"

using fpq::detail::printable;

TEST_CASE("no byte that a terminal would obey is printed", "[core]") {
    for (int c = 0; c < 256; ++c) {
        std::string const text = printable(std::string("a") + static_cast<char>(c) + "z");
        bool const plain = c >= 0x20 && c < 0x7F;
        CHECK(text == (plain ? std::string("a") + static_cast<char>(c) + "z" : "a?z"));
    }
    CHECK(printable("\x1b[31mred") == "?[31mred");
    CHECK(printable("\xC2\x9B"
                    "31m") == "?31m");  // the 8-bit form of ESC [
    CHECK(printable("a\xE2\x80\xAE"
                    "b") == "a?b");  // right-to-left override
    CHECK(printable("\xEF\xBB\xBFx") == "?x");
    CHECK(printable("\xE2\x80\xA8") == "?");
}

TEST_CASE("well-formed characters stay, others become one mark a byte", "[core]") {
    CHECK(printable("Žluťoučký 日本 😀") == "Žluťoučký 日本 😀");
    CHECK(printable("\xC0\xAF") == "??");            // overlong
    CHECK(printable("\xED\xA0\x80") == "???");       // a surrogate
    CHECK(printable("\xF4\x90\x80\x80") == "????");  // beyond U+10FFFF
    CHECK(printable("\xE6\x97") == "??");            // cut
}

TEST_CASE("what is too long loses its middle, never half a character", "[core]") {
    CHECK(printable(std::string(50, 'a') + std::string(50, 'b'), 10) == "aaaaa...bbbbb");
    CHECK(printable("0123456789", 10) == "0123456789");
    std::string const wide = printable("ééééééééééééé", 11);
    CHECK(wide == "éé...ééé");
    std::string const big(100000, 'x');
    try {
        fpq::fail_input(big, big, big, big);
    } catch (fpq::error const& e) {
        CHECK(std::string(e.what()).size() < 1000);
    }
}

TEST_CASE("numbered names are in the order of their numbers", "[core]") {
    std::vector<std::string> names{"layers.10.b", "layers.2.b",  "layers.2.a", "layers.1",
                                   "layers",      "layers.02.c", "head",       "layers.10.a"};
    std::sort(names.begin(), names.end(), fpq::natural_less);
    CHECK(names == std::vector<std::string>{"head", "layers", "layers.1", "layers.2.a",
                                            "layers.2.b", "layers.02.c", "layers.10.a",
                                            "layers.10.b"});
    CHECK_FALSE(fpq::natural_less("a.1", "a.1"));
    CHECK(fpq::natural_less("a.99999999999999999998", "a.99999999999999999999"));
    CHECK(fpq::natural_less("", "a"));
}
