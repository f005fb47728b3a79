// SPDX-License-Identifier: Apache-2.0
// Edge. NumPy's .npy files, versions 1 to 3, of float32, float64 and the integer types: small
// matrices from and to a researcher's script. By hand because xtensor's reader takes a truncated
// file for a whole one. Not for checkpoints (io), not for pickled objects, not for Fortran order.
// Source: NumPy's numpy/lib/format.py, "Format Version 1.0".
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

static_assert(std::endian::native == std::endian::little, "written for little-endian machines");

/// An array in C order: data[..., last dimension adjacent].
template <class T>
struct npy_array {
    std::vector<std::size_t> shape;
    std::vector<T> data;
};

namespace detail {

inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};

/// NumPy's name of an element type, such as "<f4".
template <class T>
std::string npy_type() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>,
                  "numbers only: .npy has no name for this type");
    char const kind = std::is_floating_point_v<T> ? 'f' : (std::is_signed_v<T> ? 'i' : 'u');
    return std::string(sizeof(T) == 1 ? "|" : "<") + kind + std::to_string(sizeof(T));
}

/// The text after `'key':`, without leading blanks; empty when there is no such key.
inline std::string_view npy_field(std::string_view header, std::string_view key) {
    std::size_t at = header.find("'" + std::string(key) + "'");
    if (at == std::string_view::npos) {
        return {};
    }
    at = header.find(':', at);
    if (at == std::string_view::npos) {
        return {};
    }
    at = header.find_first_not_of(' ', at + 1);
    return at == std::string_view::npos ? std::string_view{} : header.substr(at);
}

/// "(3, 4)" to {3, 4}; "()" to {}. False on anything else or more than 2^40 elements.
inline bool npy_shape(std::string_view text, std::vector<std::size_t>& shape) {
    std::size_t const end = text.find(')');
    if (text.empty() || text[0] != '(' || end == std::string_view::npos) {
        return false;
    }
    constexpr std::size_t limit = std::size_t{1} << 40;
    std::size_t total = 1;
    std::size_t value = 0;
    bool digits = false;
    for (char const c : text.substr(1, end)) {
        if (c >= '0' && c <= '9') {
            value = value * 10 + static_cast<std::size_t>(c - '0');
            digits = true;
        } else if (c == ',' || c == ')') {
            if (digits) {
                if (value != 0 && total > limit / value) {
                    return false;
                }
                shape.push_back(value);
                total *= value;
            }
            value = 0;
            digits = false;
        } else if (c != ' ') {
            return false;
        }
        if (value > limit) {
            return false;
        }
    }
    return true;
}

/// Reads the preamble and returns the header text; the stream then stands at the data.
inline std::string npy_header(std::ifstream& in, std::string const& where) {
    char start[8] = {};
    in.read(start, 8);
    if (!in || std::string_view(start, 6) != npy_magic) {
        fail_input("not a .npy file", where, "the magic string \\x93NUMPY", "other bytes");
    }
    int const version = start[6];
    if (version < 1 || version > 3) {
        fail_input(".npy version", where, "1, 2 or 3", std::to_string(version));
    }
    unsigned char size[4] = {};
    in.read(reinterpret_cast<char*>(size), version == 1 ? 2 : 4);
    std::size_t const length = size[0] | (std::size_t{size[1]} << 8) |
                               (std::size_t{size[2]} << 16) | (std::size_t{size[3]} << 24);
    if (!in || length > (1u << 20)) {
        fail_input(".npy header", where, "at most 1 MiB", std::to_string(length) + " bytes");
    }
    std::string header(length, '\0');
    in.read(header.data(), static_cast<std::streamsize>(length));
    if (!in) {
        fail_input("truncated .npy header", where, std::to_string(length) + " bytes",
                   std::to_string(in.gcount()));
    }
    return header;
}

}  // namespace detail

/// Reads an array of exactly T in C order.
/// Throws fpq::error (input), naming the file: not there, not .npy, another element type, Fortran
/// order, a shape that is not one, fewer or more data bytes than the shape says.
template <class T>
[[nodiscard]] npy_array<T> read_npy(std::filesystem::path const& path) {
    std::string const where = path.string();
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        fail_input("cannot open", where);
    }
    std::string const header = detail::npy_header(in, where);
    std::string const type = "'" + detail::npy_type<T>() + "'";
    std::string_view const descr = detail::npy_field(header, "descr");
    if (descr.substr(0, type.size()) != type) {
        fail_input(".npy element type", where, type, descr.substr(0, descr.find(',')));
    }
    if (detail::npy_field(header, "fortran_order").substr(0, 5) != "False") {
        fail_input(".npy order", where, "C order", "Fortran order");
    }
    npy_array<T> out;
    std::string_view const shape = detail::npy_field(header, "shape");
    if (!detail::npy_shape(shape, out.shape)) {
        fail_input(".npy shape", where, "a tuple of at most 2^40 elements", shape.substr(0, 40));
    }
    std::size_t count = 1;
    for (std::size_t const d : out.shape) {
        count *= d;
    }
    auto const begin = static_cast<std::uintmax_t>(in.tellg());
    std::error_code failed;
    std::uintmax_t const size = std::filesystem::file_size(path, failed);
    if (failed) {
        fail_input("cannot read", where, "its size", failed.message());
    }
    std::uintmax_t const bytes = size - begin;
    if (bytes != count * sizeof(T)) {
        fail_input(".npy data", where, std::to_string(count * sizeof(T)) + " bytes",
                   std::to_string(bytes));
    }
    out.data.resize(count);
    in.read(reinterpret_cast<char*>(out.data.data()), static_cast<std::streamsize>(bytes));
    if (!in) {
        fail_input("cannot read", where);
    }
    return out;
}

/// Writes count(shape) values in C order as .npy version 1.0, data aligned to 64 bytes.
/// Throws fpq::error (input) when the file cannot be written.
template <class T>
void write_npy(std::filesystem::path const& path, T const* data,
               std::vector<std::size_t> const& shape) {
    std::size_t count = 1;
    std::string dims;
    for (std::size_t const d : shape) {
        count *= d;
        dims += std::to_string(d) + (shape.size() == 1 || &d != &shape.back() ? ", " : "");
    }
    std::string header = "{'descr': '" + detail::npy_type<std::remove_const_t<T>>() +
                         "', 'fortran_order': False, 'shape': (" + dims + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');
    header.push_back('\n');
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << detail::npy_magic << '\x01' << '\x00' << static_cast<char>(header.size() & 0xFFu)
        << static_cast<char>(header.size() >> 8) << header;
    out.write(reinterpret_cast<char const*>(data), static_cast<std::streamsize>(count * sizeof(T)));
    out.flush();
    if (!out) {
        fail_input("cannot write", path.string());
    }
}

}  // namespace fpq
