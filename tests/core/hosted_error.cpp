// SPDX-License-Identifier: Apache-2.0
// The one-line grammar of errors and their exit codes.
#include "fpq/core/hosted/error.hpp"

#include <string>

#include "catch.hpp"

namespace {

template <class F>
fpq::error caught(F f) {
    try {
        f();
    } catch (fpq::error const& e) {
        return e;
    }
    return {fpq::error_category::usage, "nothing was thrown"};
}

}  // namespace

TEST_CASE("an error says what, where, expected and found, and leaves out what is empty", "[core]") {
    CHECK(std::string(caught([] { fpq::fail_input("bad", "a.json", "1", "2"); }).what()) ==
          "bad: a.json: expected 1, found 2");
    CHECK(std::string(caught([] { fpq::fail_input("bad", "", "1", "2"); }).what()) ==
          "bad: expected 1, found 2");
    CHECK(std::string(caught([] { fpq::fail_input("bad", "a.json", "", "2"); }).what()) ==
          "bad: a.json: found 2");
    CHECK(std::string(caught([] { fpq::fail_input("bad", "a.json", "1"); }).what()) ==
          "bad: a.json: expected 1");
    CHECK(std::string(caught([] { fpq::fail_input("bad"); }).what()) == "bad");
}

TEST_CASE("every category has the exit code of the command line", "[core]") {
    CHECK(caught([] { fpq::fail_usage("x"); }).exit_code() == 2);
    CHECK(caught([] { fpq::fail_input("x"); }).exit_code() == 3);
    CHECK(caught([] { fpq::fail_numeric("x"); }).exit_code() == 4);
    CHECK(caught([] { fpq::fail(fpq::error_category::device, "x"); }).exit_code() == 5);
    CHECK(caught([] { fpq::fail_input("x"); }).category() == fpq::error_category::input);
}

TEST_CASE("control characters of foreign names cannot break the line", "[core]") {
    std::string const line =
        caught([] { fpq::fail_input("bad", "a\nb\tc", "", std::string(1, '\0') + "d"); }).what();
    CHECK(line == "bad: a?b?c: found ?d");
}
