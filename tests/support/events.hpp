// SPDX-License-Identifier: Apache-2.0
// Test support. Event files of TensorBoard read back: frames, checks, protocol buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/io/tensorboard/crc32c.hpp"
#include "support/files.hpp"

namespace fpq_test {

/// One field of a message: its number, how it is encoded, and what it holds.
struct event_field {
    unsigned number = 0;
    unsigned wire_type = 0;
    std::uint64_t value = 0;  // of a number
    std::string bytes;        // of all else
};

inline std::uint64_t take(std::string_view& from, std::size_t size) {
    REQUIRE(from.size() >= size);
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < size; ++i) {
        out |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
    }
    from.remove_prefix(size);
    return out;
}

inline std::uint64_t take_varint(std::string_view& from) {
    std::uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
        std::uint64_t const byte = take(from, 1);
        out |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            return out;
        }
    }
}

inline std::vector<event_field> decode(std::string_view from) {
    std::vector<event_field> out;
    while (!from.empty()) {
        event_field f;
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
inline event_field const& only(std::vector<event_field> const& fields, unsigned number,
                               unsigned wire_type) {
    event_field const* found = nullptr;
    for (event_field const& f : fields) {
        if (f.number == number) {
            REQUIRE(found == nullptr);
            found = &f;
        }
    }
    REQUIRE(found != nullptr);
    REQUIRE(found->wire_type == wire_type);
    return *found;
}

inline double as_double(std::uint64_t bits) {
    double out = 0;
    std::memcpy(&out, &bits, sizeof out);
    return out;
}

inline float as_float(std::uint64_t bits) {
    auto const narrow = static_cast<std::uint32_t>(bits);
    float out = 0;
    std::memcpy(&out, &narrow, sizeof out);
    return out;
}

/// The events of a file, their frames checked.
inline std::vector<std::string> events_of(std::filesystem::path const& path) {
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

/// A scalar of a file, or a text.
struct logged {
    std::string tag;
    std::int64_t step = 0;
    double value = 0.0;
    std::string text;
};

/// What is behind the first event of a file.
inline std::vector<logged> logged_in(std::filesystem::path const& path) {
    std::vector<logged> out;
    std::vector<std::string> const events = events_of(path);
    for (std::size_t i = 1; i < events.size(); ++i) {
        logged one;
        std::string bytes;
        for (event_field const& f : decode(events[i])) {
            one.step = f.number == 2 ? static_cast<std::int64_t>(f.value) : one.step;
            bytes = f.number == 5 ? f.bytes : bytes;
        }
        for (event_field const& f : decode(only(decode(bytes), 1, 2).bytes)) {
            one.tag = f.number == 1 ? f.bytes : one.tag;
            one.value = f.number == 2 ? static_cast<double>(as_float(f.value)) : one.value;
            one.text = f.number == 8 ? only(decode(f.bytes), 8, 2).bytes : one.text;
        }
        out.push_back(one);
    }
    return out;
}

}  // namespace fpq_test
