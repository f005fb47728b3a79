// SPDX-License-Identifier: Apache-2.0
// fpq/adapt/npy.hpp: round trips, a file as NumPy writes it, and every malformed one refused.
#include "fpq/adapt/npy.hpp"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"

namespace {

/// A file in the temporary directory that goes away with the object.
class scratch_file {
public:
    explicit scratch_file(std::string const& name)
        : path_(std::filesystem::temp_directory_path() /
                ("fpq-npy-" + std::to_string(::getpid()) + "-" + name)) {}
    ~scratch_file() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    scratch_file(scratch_file const&) = delete;
    scratch_file& operator=(scratch_file const&) = delete;
    std::filesystem::path const& path() const { return path_; }
    void write(std::string const& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
    std::string read() const {
        std::ifstream in(path_, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

private:
    std::filesystem::path path_;
};

/// Version 1.0 with this header dictionary and data.
std::string npy(std::string const& dictionary, std::string const& data) {
    std::string out("\x93NUMPY\x01\x00", 8);
    out.push_back(static_cast<char>(dictionary.size() & 0xFF));
    out.push_back(static_cast<char>(dictionary.size() >> 8));
    return out + dictionary + data;
}

std::string message_of(scratch_file const& f) {
    try {
        static_cast<void>(fpq::read_npy<float>(f.path()));
    } catch (fpq::error const& e) {
        CHECK(e.category() == fpq::error_category::input);
        CHECK(std::string(e.what()).find(f.path().string()) != std::string::npos);
        return e.what();
    }
    return "accepted";
}

template <class T>
void round_trip(std::vector<std::size_t> const& shape, std::vector<T> const& data) {
    scratch_file const f("trip");
    fpq::write_npy(f.path(), data.data(), shape);
    auto const back = fpq::read_npy<T>(f.path());
    CHECK(back.shape == shape);
    CHECK(back.data == data);
    // The data begin at a multiple of 64 bytes.
    CHECK((f.read().size() - data.size() * sizeof(T)) % 64 == 0);
}

}  // namespace

TEST_CASE("arrays of any rank and number type come back", "[adapt]") {
    round_trip<float>({2, 3}, {1, 2, 3, 4, 5, -0.0F});
    round_trip<double>({4}, {1, 2, 3, 1e300});
    round_trip<float>({}, {7});
    round_trip<std::int8_t>({1, 2, 2}, {-128, 127, 0, 1});
    round_trip<std::uint16_t>({3, 0}, {});
    round_trip<std::int64_t>({1}, {-5});
}

TEST_CASE("the header is what NumPy writes", "[adapt]") {
    scratch_file const f("header");
    std::vector<float> const data{1, 2};
    fpq::write_npy(f.path(), data.data(), {2});
    std::string const bytes = f.read();
    std::string const expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, ), }";
    CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
    CHECK(bytes.substr(10, expected.size()) == expected);
    CHECK(bytes[127] == '\n');
    // As numpy.save puts it: no blank after a lone comma, keys in any order.
    scratch_file const g("numpy");
    g.write(npy("{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}\n",
                std::string(reinterpret_cast<char const*>(data.data()), 8)));
    CHECK(fpq::read_npy<float>(g.path()).data == data);
}

TEST_CASE("malformed files are refused, naming the file", "[adapt]") {
    scratch_file const f("bad");
    std::string const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
    std::string const data(8, '\0');
    f.write(npy(good, data));
    CHECK(message_of(f) == "accepted");
    CHECK_THROWS_AS(fpq::read_npy<float>("/nowhere/at.npy"), fpq::error);
    f.write("");
    CHECK(message_of(f).find("not a .npy file") == 0);
    f.write("PK\x03\x04 and more than eight bytes");
    CHECK(message_of(f).find("not a .npy file") == 0);
    f.write(std::string("\x93NUMPY\x09\x00", 8) + "xxxxxxxx");
    CHECK(message_of(f).find(".npy version") == 0);
    f.write(npy(good, data).substr(0, 40));
    CHECK(message_of(f).find("truncated .npy header") == 0);
    f.write(npy(good, data.substr(1)));
    CHECK(message_of(f).find(".npy data") == 0);
    f.write(npy(good, data + "x"));
    CHECK(message_of(f).find(".npy data") == 0);
    f.write(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", data));
    CHECK(message_of(f).find(".npy element type") == 0);
    f.write(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }\n", data));
    CHECK(message_of(f).find(".npy order") == 0);
    for (std::string const shape : {"2", "(2, x)", "(-2,)", "(99999999999999999999,)", "(2",
                                    "(1000000000, 1000000000, 1000000000)"}) {
        f.write(npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}\n", data));
        INFO(shape);
        CHECK(message_of(f).find(".npy shape") == 0);
    }
    f.write(npy("{}\n", data));
    CHECK(message_of(f).find(".npy element type") == 0);
}

TEST_CASE("a file that cannot be written is an input error", "[adapt]") {
    float const x = 1;
    CHECK_THROWS_AS(fpq::write_npy("/nowhere/at.npy", &x, {1}), fpq::error);
}
