// SPDX-License-Identifier: Apache-2.0
// Event files of TensorBoard: every byte, read back by a small decoder of its own.
// tests/interop/logs.sh reads one with TensorBoard itself.
#include "fpq/io/tensorboard/event_file.hpp"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "support/files.hpp"

namespace {

using fpq_test::temporary_directory;

/// One field of a message: its number, how it is encoded, and what it holds.
struct field {
    unsigned number = 0;
    unsigned wire_type = 0;
    std::uint64_t value = 0;  // of a number
    std::string bytes;        // of all else
};

std::uint64_t take(std::string_view& from, std::size_t size) {
    REQUIRE(from.size() >= size);
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < size; ++i) {
        out |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
    }
    from.remove_prefix(size);
    return out;
}

std::uint64_t take_varint(std::string_view& from) {
    std::uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
        std::uint64_t const byte = take(from, 1);
        out |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            return out;
        }
    }
}

std::vector<field> decode(std::string_view from) {
    std::vector<field> out;
    while (!from.empty()) {
        field f;
        std::uint64_t const key = take_varint(from);
        f.number = static_cast<unsigned>(key >> 3);
        f.wire_type = static_cast<unsigned>(key & 7);
        if (f.wire_type == 2) {
            std::uint64_t const size = take_varint(from);
            REQUIRE(from.size() >= size);
            f.bytes = from.substr(0, size);
            from.remove_prefix(size);
        } else {
            f.value = f.wire_type == 0   ? take_varint(from)
                      : f.wire_type == 1 ? take(from, 8)
                                         : take(from, 4);
        }
        out.push_back(f);
    }
    return out;
}

/// The field of that number, which must be there once and be encoded so.
field const& only(std::vector<field> const& fields, unsigned number, unsigned wire_type) {
    field const* found = nullptr;
    for (field const& f : fields) {
        if (f.number == number) {
            REQUIRE(found == nullptr);
            found = &f;
        }
    }
    REQUIRE(found != nullptr);
    REQUIRE(found->wire_type == wire_type);
    return *found;
}

double as_double(std::uint64_t bits) {
    double out = 0;
    std::memcpy(&out, &bits, sizeof out);
    return out;
}

float as_float(std::uint64_t bits) {
    auto const narrow = static_cast<std::uint32_t>(bits);
    float out = 0;
    std::memcpy(&out, &narrow, sizeof out);
    return out;
}

/// The events of a file, their frames checked.
std::vector<std::string> events_of(std::filesystem::path const& path) {
    std::string const all = fpq_test::read_text(path);
    std::string_view left = all;
    std::vector<std::string> out;
    while (!left.empty()) {
        std::string_view const length = left.substr(0, 8);
        std::uint64_t const size = take(left, 8);
        CHECK(take(left, 4) == fpq::detail::masked_crc32c(length));
        REQUIRE(left.size() >= size + 4);
        out.emplace_back(left.substr(0, size));
        left.remove_prefix(size);
        CHECK(take(left, 4) == fpq::detail::masked_crc32c(out.back()));
    }
    return out;
}

}  // namespace

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
    std::vector<std::string> const events = events_of(file.path());
    REQUIRE(events.size() == 4);

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
