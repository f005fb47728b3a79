// SPDX-License-Identifier: Apache-2.0
// What a mapped file takes of memory while it is walked, and memory that lies in a file.
#include "fpq/io/file/mapped_file.hpp"

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "catch.hpp"
#include "fpq/io/file/scratch_memory.hpp"
#include "support/files.hpp"

namespace {

/// Resident KiB of the mapping of a file, as Linux tells; -1 where it does not.
long resident_kib(std::string const& file) {
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
        if (line.ends_with(file)) {
            inside = true;
        } else if (inside && line.starts_with("Rss:")) {
            return std::stol(line.substr(4));
        }
    }
    return -1;
}

}  // namespace

TEST_CASE("pages of pieces of any size are given back as they are done with", "[io]") {
    fpq_test::temporary_directory const dir;
    std::filesystem::path const path = dir.path() / "bytes";
    fpq_test::write_text(path, std::string(std::size_t{16} << 20, 'x'));
    for (std::size_t const piece :
         {std::size_t{5000}, std::size_t{100'000}, std::size_t{1} << 20}) {
        fpq::mapped_file const file(path);
        std::size_t seen = 0;
        for (std::size_t at = 0; at + piece <= file.bytes().size(); at += piece) {
            std::span<std::byte const> const part = file.bytes().subspan(at, piece);
            for (std::byte const b : part) {
                seen += b == std::byte{'x'} ? 1 : 0;
            }
            file.release(part);
        }
        CHECK(seen == file.bytes().size() / piece * piece);
        CHECK(resident_kib("/bytes") < 2048 + 64);
    }
}

TEST_CASE("scratch memory lies under TMPDIR without a name", "[io]") {
    fpq_test::temporary_directory const dir;
    char const* const before = std::getenv("TMPDIR");
    std::string const kept = before != nullptr ? before : "";
    ::setenv("TMPDIR", dir.path().c_str(), 1);
    {
        constexpr std::size_t size = (std::size_t{1} << 20) + 5;
        fpq::scratch_memory memory(size);
        CHECK(std::filesystem::is_empty(dir.path()));
        CHECK(memory.size() == size);
        CHECK(std::to_integer<int>(memory.data()[size - 1]) == 0);
        memory.data()[size - 1] = std::byte{7};
        fpq::scratch_memory const moved = std::move(memory);
        CHECK(std::to_integer<int>(moved.data()[size - 1]) == 7);
    }
    CHECK_THROWS_WITH(fpq::scratch_memory(std::size_t{1} << 60),
                      Catch::Contains("cannot reserve") && Catch::Contains(dir.path().string()));
    ::setenv("TMPDIR", (dir.path() / "absent").c_str(), 1);
    CHECK_THROWS_WITH(fpq::scratch_memory(1), Catch::Contains("TMPDIR"));
    before != nullptr ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
}
