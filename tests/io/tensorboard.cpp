// SPDX-License-Identifier: Apache-2.0
// Event files of TensorBoard: every byte, read back by a decoder of our own (support/events.hpp).
// tests/interop/logs.sh reads one with TensorBoard itself.
#include "fpq/io/tensorboard/event_file.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/events.hpp"
#include "support/files.hpp"

using fpq_test::as_double;
using fpq_test::as_float;
using fpq_test::decode;
using fpq_test::events_of;
using fpq_test::only;
using fpq_test::temporary_directory;
using field = fpq_test::event_field;

TEST_CASE("CRC-32C has the values of RFC 3720", "[io][log]") {
    CHECK(fpq::detail::crc32c("") == 0);
    CHECK(fpq::detail::crc32c("123456789") == 0xE3069283U);
    CHECK(fpq::detail::crc32c(std::string(32, '\0')) == 0x8A9136AAU);
    CHECK(fpq::detail::crc32c(std::string(32, '\xff')) == 0x62A8AB43U);
    std::string rising;
    for (char c = 0; c < 32; ++c) {
        rising.push_back(c);
    }
    CHECK(fpq::detail::crc32c(rising) == 0x46DD794EU);
    // The mask is a rotation and a sum: undone, it gives the value back.
    std::uint32_t const moved = fpq::detail::masked_crc32c("123456789") - 0xA282EAD8U;
    CHECK((moved >> 17 | moved << 15) == 0xE3069283U);
}

TEST_CASE("an event file holds what was added, field by field", "[io][log]") {
    temporary_directory const dir;
    fpq::event_file file(dir.path() / "a" / "b", 1234.5);
    file.add_scalar("error/q_proj", 300, 0.25, 1235.0);
    file.add_scalar("error/q_proj", 0, 1e300, 1236.0);
    std::string const markdown = "# recipe\n" + std::string(300, 'x');
    file.add_text("recipe", markdown, 1237.0);
    CHECK(file.path().parent_path() == dir.path() / "a" / "b");
    CHECK(file.path().filename().string().starts_with("events.out.tfevents.1234."));
    file.add_scalar("x", 128, 1.0, 1238.0);  // the least of two bytes
    std::vector<std::string> const events = events_of(file.path());
    REQUIRE(events.size() == 5);

    std::vector<field> const first = decode(events[0]);
    CHECK(first.size() == 2);
    CHECK(as_double(only(first, 1, 1).value) == 1234.5);
    CHECK(only(first, 3, 2).bytes == "brain.Event:2");

    std::vector<field> const scalar = decode(events[1]);
    CHECK(scalar.size() == 3);
    CHECK(as_double(only(scalar, 1, 1).value) == 1235.0);
    CHECK(only(scalar, 2, 0).value == 300);
    std::vector<field> const summary = decode(only(scalar, 5, 2).bytes);
    REQUIRE(summary.size() == 1);
    std::vector<field> const value = decode(only(summary, 1, 2).bytes);
    CHECK(value.size() == 2);
    CHECK(only(value, 1, 2).bytes == "error/q_proj");
    CHECK(as_float(only(value, 2, 5).value) == 0.25F);

    std::vector<field> const infinite =
        decode(only(decode(only(decode(events[2]), 5, 2).bytes), 1, 2).bytes);
    CHECK(as_float(only(infinite, 2, 5).value) == std::numeric_limits<float>::infinity());
    CHECK(decode(events[2]).size() == 2);  // step 0 is the default

    CHECK(only(decode(events[4]), 2, 0).value == 128);

    std::vector<field> const text =
        decode(only(decode(only(decode(events[3]), 5, 2).bytes), 1, 2).bytes);
    CHECK(text.size() == 3);
    CHECK(only(text, 1, 2).bytes == "recipe");
    std::vector<field> const tensor = decode(only(text, 8, 2).bytes);
    CHECK(tensor.size() == 3);
    CHECK(only(tensor, 1, 0).value == 7);  // DT_STRING
    std::vector<field> const shape = decode(only(tensor, 2, 2).bytes);
    CHECK(only(decode(only(shape, 2, 2).bytes), 1, 0).value == 1);
    CHECK(only(tensor, 8, 2).bytes == markdown);
    std::vector<field> const metadata = decode(only(text, 9, 2).bytes);
    CHECK(only(decode(only(metadata, 1, 2).bytes), 1, 2).bytes == "text");
}

TEST_CASE("two files of one second have two names; what cannot be made is refused", "[io][log]") {
    temporary_directory const dir;
    fpq::event_file const one(dir.path(), 7.0);
    fpq::event_file const two(dir.path(), 7.9);
    CHECK(two.path() == one.path().string() + ".1");
    CHECK(events_of(two.path()).size() == 1);
    auto const plain = dir.write("plain", "x");
    CHECK_THROWS_WITH(fpq::event_file(plain / "logs", 7.0),
                      Catch::Contains("cannot make a directory: " + (plain / "logs").string()));
    CHECK_THROWS_WITH(fpq::event_file(plain, 7.0), Catch::Contains("cannot make a directory"));
}
